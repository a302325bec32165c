"""Where a partition begins: the two positions, *folded* (with the state) and *emitted* (committed).

    earliest ≤ folded ──silent replay──▶ emitted ──live──▶ latest

Values in, values out: I ask nobody.
"""

from dataclasses import dataclass

from connectors.records import Bounds, Position
from stream_engine.config import EARLIEST, Since
from stream_engine.errors import PositionError


@dataclass(frozen=True, slots=True)
class Choice:
    """What the configuration says where the two positions do not.

    Attributes:
        start: where a group begins that has never committed, `earliest` or `latest`.
        reset: where forecasts go on whose position the log does not hold: `earliest`, `latest`, or nowhere (`fail`).
        rebuild_from: where a state begins that is not stored.
    """

    start: str = "earliest"
    reset: str = "earliest"
    rebuild_from: Since = EARLIEST


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a partition begins.

    Attributes:
        folded: the first record to read; up to emitted nothing is sent.
        emitted: the first record whose forecasts are to be sent.
        losses: what the log no longer holds of what was to be read; empty where all is well.
    """

    folded: Position
    emitted: Position
    losses: tuple[str, ...] = ()


def where_to_begin(
    stored: Position | None,
    committed: Position | None,
    bounds: Bounds,
    rebuilt: Position,
    choice: Choice,
    *,
    is_anew: bool = False,
) -> Begin:
    """Decide from what the store, the group and the log say.

    Args:
        stored: position of the stored state, at most committed and latest; None if there is no state.
        committed: the group's committed position, or what stands for it; None if there is none.
        bounds: what the log still holds.
        rebuilt: where the state begins that is not stored, unless more is to be sent; at least bounds.earliest.
        choice: what is configured.
        is_anew: whether committed is of a log that this one has taken the place of.
    Raises:
        PositionError: a position lies outside the log, and the choice is to fail.
    """
    losses = _losses(stored, committed, bounds, is_anew)
    if losses and choice.reset == "fail":
        raise PositionError(
            f"{'; '.join(losses)}; reset is fail: set it to earliest or latest to go on there, or move the group's "
            "committed offsets, and start again"
        )
    if committed is None:
        beginning = bounds.latest if choice.start == "latest" else bounds.earliest
        emitted = beginning if stored is None else max(stored, bounds.earliest)
    elif bounds.earliest <= committed <= bounds.latest and not is_anew:
        emitted = committed
    else:
        emitted = bounds.latest if choice.reset == "latest" else bounds.earliest
        skipped = f", {bounds.latest - bounds.earliest} records are skipped" if emitted > bounds.earliest else ""
        losses += (f"forecasts go on at {emitted} (reset is {choice.reset}{skipped})",)
    folded = rebuilt if stored is None else max(stored, bounds.earliest)
    return Begin(min(folded, emitted), emitted, losses)


def _losses(stored: Position | None, committed: Position | None, bounds: Bounds, is_anew: bool) -> tuple[str, ...]:
    """A sentence for each position that the log does not hold."""
    earliest, latest = bounds
    if is_anew:
        return (f"reading stood at {committed} of a topic that has been deleted and made anew since",)
    losses = []
    if committed is not None and committed > latest:
        losses.append(
            f"reading stood at {committed}, {committed - latest} records beyond the log's end {latest}: the "
            "topic was recreated or truncated, and its state is rebuilt from the log"
        )
    if committed is not None and committed < earliest:
        losses.append(
            f"reading stood at {committed}, before the earliest record {earliest}: {earliest - committed} "
            "records were removed before they were read (raise the topic's retention)"
        )
    if stored is not None and stored < earliest:
        losses.append(
            f"the stored state stands at {stored}, before the earliest record {earliest}: its sensors miss the "
            f"{earliest - stored} records removed in between (raise the topic's retention)"
        )
    return tuple(losses)
