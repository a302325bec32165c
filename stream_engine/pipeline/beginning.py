"""Begins a partition: its epoch, its state, then the place where its reading goes on.

I ask the store, the group and the log; what follows from their answers is decided in `positions`.
"""

import logging
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from connectors.records import Bounds, Partition, Position
from stream_engine.config import Since
from stream_engine.errors import PositionError
from stream_engine.pipeline.parts import Parts
from stream_engine.pipeline.positions import Choice, where_to_begin
from stream_engine.watermark import Progress

logger = logging.getLogger(__name__)

NOTHING = -1
"""Before every position: no state is of use."""


@dataclass(slots=True)
class Held:
    """A partition we hold."""

    position: Position
    emitted: Position
    saved: Position | None
    progress: Progress = field(default_factory=Progress)


def begin(
    parts: Parts, choice: Choice, partition: Partition, committed: Position | None
) -> Generator[None, None, Held]:
    """Take a partition, slice by slice, and let its reading go on.

    Raises:
        ServerUnavailableError: the store or the log cannot be asked.
        LostPartitionsError: it is no longer ours.
        PositionError: the log does not hold its position, and the choice is to fail.
    """
    began_s = parts.clock.monotonic_s()
    bounds = parts.source.bounds([partition])[partition]
    if committed is not None and committed > bounds.latest:
        usable = NOTHING  # another log than the one that was read: no state of it is of use
    else:
        usable = bounds.latest if committed is None else committed
    log_id = parts.source.log_id()
    restored = yield from parts.checkpointer.restore(partition, usable, log_id)
    stored, restored.progress.log_id = restored.position, log_id
    is_anew = restored.is_of_another_log and committed is None
    if committed is None and stored is None and partition.number >= parts.source.num_partitions:
        choice = replace(choice, start="earliest")  # what came before it was noticed is not left out
        logger.warning(
            "%s was added to the topic, which had %d partitions: sensors whose keys lead here now have moved, and "
            "their states start afresh",
            partition,
            parts.source.num_partitions,
        )
    rebuilt = bounds.earliest if stored is not None else _rebuilt_from(parts, choice.rebuild_from, partition, bounds)
    last = restored.discarded if committed is None else committed  # with a topic its group's offsets are deleted
    try:
        found = where_to_begin(stored, last, bounds, rebuilt, choice, is_anew=is_anew)
    except PositionError as error:
        raise PositionError(f"{partition}: {error}") from None
    if found.losses:
        logger.warning("%s: %s", partition, "; ".join(found.losses))
        parts.metrics.position_resets.inc()
    if found.emitted != (bounds.earliest if committed is None else committed):
        parts.source.commit({partition: found.emitted})  # a crash on the way must not make old readings new
    parts.source.seek(partition, found.folded)
    parts.metrics.restore_seconds.observe(parts.clock.monotonic_s() - began_s)
    logger.info(
        "%s: %d sensors restored; %d records to replay in silence, then %d to catch up",
        partition,
        restored.num_series,
        found.emitted - found.folded,
        bounds.latest - found.emitted,
    )
    return Held(found.folded, found.emitted, stored, restored.progress)


def _rebuilt_from(parts: Parts, since: Since, partition: Partition, bounds: Bounds) -> Position:
    """Where a state that is not stored begins.

    A length of time is measured back from the newest record, so that the log decides alone; a record ahead of the
    clock counts as one of now, so that one bad stamp cannot make the state short.
    """
    at_ns = since.at_ns
    if since.back is not None:
        now_ns = parts.clock.now_ns()
        at_ns = min(parts.source.newest_ns([partition]).get(partition, now_ns), now_ns) - since.back.ns
    if at_ns is None:
        return bounds.earliest
    return max(bounds.earliest, parts.source.positions_at([partition], at_ns)[partition])
