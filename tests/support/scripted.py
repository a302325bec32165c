"""A source, a sink and a store made of lists, for tests of the pipeline that read like a story.

They keep the contracts' promises in memory and remember across restarts: a log and a group's commits
outlive the source that read them, as a store's content outlives its client.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from connectors.contracts import Delivery, RevokeCallback, Sink, Source, StateStore
from connectors.errors import LostPartitionsError, ServerUnavailableError, StaleEpochError
from connectors.records import (
    Bounds,
    Epoch,
    Partition,
    Polled,
    Position,
    RecordBatch,
    SinkRecord,
    StateBlob,
    StateWrite,
    StoredPartition,
)

RECORD_NS = 60_000_000_000
"""Record number n has the timestamp n minutes."""


@dataclass
class Log:
    """One topic: partitions of (key, value) and the commits of one group."""

    partitions: dict[Partition, list[tuple[bytes | None, bytes | None]]]
    commits: dict[Partition, Position] = field(default_factory=dict)
    earliest: Position = 0
    log_id: str = ""

    def append(self, partition: Partition, *values: bytes | None) -> None:
        self.partitions[partition].extend((None, value) for value in values)


class ScriptedSource(Source):
    """Reads a Log; partitions are assigned and revoked by the test."""

    def __init__(self, log: Log, max_per_poll: int = 1_000_000) -> None:
        self._log = log
        self._max_per_poll = max_per_poll
        self._assigned: set[Partition] = set()
        self._mine: set[Partition] = set()
        self._lost: set[Partition] = set()
        self._positions: dict[Partition, Position] = {}
        self._on_revoke: RevokeCallback = lambda partitions: None

    def open(self, on_revoke: RevokeCallback, timeout_s: float) -> None:
        self._on_revoke = on_revoke
        self._assigned = set(self._log.partitions)
        self._num_partitions = len(self._assigned)

    @property
    def num_partitions(self) -> int:
        return self._num_partitions

    def log_id(self) -> str:
        return self._log.log_id

    def holds(self, partition: Partition) -> bool:
        """Whether it has been handed out by a poll, and neither revoked nor lost since."""
        return partition in self._mine

    def revoke(self, *partitions: Partition) -> None:
        """What the group's coordinator does when another member joins."""
        self._on_revoke(frozenset(partitions))
        for partition in partitions:
            self._mine.remove(partition)
            self._positions.pop(partition, None)

    def lose(self, *partitions: Partition) -> None:
        """What happens after a session timeout."""
        self._lost |= set(partitions)
        for partition in partitions:
            self._mine.remove(partition)
            self._positions.pop(partition, None)

    def assign(self, *partitions: Partition) -> None:
        self._assigned |= set(partitions)

    def unassign(self, *partitions: Partition) -> None:
        """Take back what was assigned and has not been polled yet."""
        self._assigned -= set(partitions)

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        assigned, self._assigned = frozenset(self._assigned), set()
        self._mine |= assigned
        lost, self._lost = frozenset(self._lost), set()
        held = self.bounds(self._positions)
        outside = frozenset(p for p, at in self._positions.items() if not held[p].earliest <= at <= held[p].latest)
        for partition in outside:
            del self._positions[partition]
        batches = []
        for partition, position in self._positions.items():
            end = position + min(max_records, self._max_per_poll)
            records = self._log.partitions[partition][position:end]
            if records:
                batches.append(
                    RecordBatch(
                        partition=partition,
                        offsets=np.arange(position, position + len(records)),
                        timestamps_ns=np.arange(position, position + len(records)) * RECORD_NS,
                        keys=[key for key, _ in records],
                        values=[value for _, value in records],
                        headers=None,
                        next_position=position + len(records),
                    )
                )
                self._positions[partition] = position + len(records)
        return Polled(tuple(batches), assigned, lost, outside)

    def seek(self, partition: Partition, position: Position) -> None:
        if partition in self._mine:
            self._positions[partition] = position

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Position | None]:
        return {partition: self._log.commits.get(partition) for partition in partitions}

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        for partition in positions:
            if partition not in self._mine:
                raise LostPartitionsError(f"{partition} is no longer ours")
        self._log.commits.update(positions)

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, Bounds]:
        return {p: Bounds(self._log.earliest, len(self._log.partitions[p])) for p in partitions}

    def positions_at(self, partitions: Iterable[Partition], time_ns: int) -> dict[Partition, Position]:
        first = -(-time_ns // RECORD_NS)
        return {p: min(max(first, bounds.earliest), bounds.latest) for p, bounds in self.bounds(partitions).items()}

    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        held = {p: bounds for p, bounds in self.bounds(partitions).items() if bounds.earliest < bounds.latest}
        return {p: (bounds.latest - 1) * RECORD_NS for p, bounds in held.items()}

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        return {partition: bounds.latest for partition, bounds in self.bounds(partitions).items()}

    def close(self) -> None:
        self._positions.clear()


class ListSink(Sink):
    """Keeps what is written; what is not flushed is lost with it. May be told to fail."""

    def __init__(self) -> None:
        self.kept: list[SinkRecord] = []
        self._waiting: list[SinkRecord] = []
        self.is_failing = False

    def open(self, num_partitions: int, timeout_s: float) -> None:
        self._waiting.clear()

    @property
    def max_record_bytes(self) -> int:
        return 1_000_000

    def write(self, records: Sequence[SinkRecord]) -> None:
        self._waiting.extend(records)

    def flush(self, timeout_s: float) -> None:
        if self.is_failing:
            raise ServerUnavailableError("the sink does not answer")
        self.kept.extend(self._waiting)
        self._waiting.clear()

    def forget(self) -> None:
        """Drop what was written and not flushed."""
        self._waiting.clear()

    def close(self) -> None:
        self._waiting.clear()


class ListTransactions(Delivery):
    """Keeps what is written and the positions in one step, or neither; may be told to refuse."""

    def __init__(self, source: ScriptedSource, forecasts: ListSink, dead_letters: ListSink) -> None:
        self._source = source
        self._forecasts = forecasts
        self._dead_letters = dead_letters
        self.num_aborts = 0
        self.is_stale = False

    @property
    def forecasts(self) -> ListSink:
        return self._forecasts

    @property
    def dead_letters(self) -> ListSink:
        return self._dead_letters

    def open(self, num_partitions: int, timeout_s: float) -> None:
        self._forecasts.open(num_partitions, timeout_s)
        self._dead_letters.open(num_partitions, timeout_s)

    def commit(self, positions: Mapping[Partition, Position], timeout_s: float) -> None:
        if self.is_stale:
            raise LostPartitionsError("this member was put out of the group")
        if self._forecasts.is_failing:
            raise ServerUnavailableError("the transaction came to nothing")
        self._source.commit(positions)
        self._forecasts.flush(timeout_s)
        self._dead_letters.flush(timeout_s)

    def abort(self) -> bool:
        self._forecasts.forget()
        self._dead_letters.forget()
        self.num_aborts += 1
        return True

    def close(self) -> None:
        self._forecasts.close()
        self._dead_letters.close()


class DictStore(StateStore):
    """Keeps partitions in dicts; may be told to be away, and emptied."""

    def __init__(self) -> None:
        self.meta: dict[Partition, bytes] = {}
        self.shards: dict[Partition, dict[int, StateBlob]] = {}
        self.epochs: dict[Partition, Epoch] = {}
        self.is_away = False
        self.num_loads = 0

    def clear(self) -> None:
        self.meta.clear()
        self.shards.clear()
        self.epochs.clear()

    def open(self, timeout_s: float) -> None:
        self._check()

    def _check(self) -> None:
        if self.is_away:
            raise ServerUnavailableError("the store does not answer")

    def acquire(self, partition: Partition) -> StoredPartition:
        self._check()
        before = self.epochs.get(partition)
        counter = 1 if before is None else before.counter + 1
        self.epochs[partition] = Epoch(counter, f"token-{counter}")
        return StoredPartition(self.meta.get(partition), self._shards(partition), self.epochs[partition])

    def _shards(self, partition: Partition) -> tuple[int, ...]:
        return tuple(sorted(self.shards.get(partition, {})))

    def look(self, partition: Partition) -> StoredPartition | None:
        self._check()
        if partition not in self.epochs:
            return None
        return StoredPartition(self.meta.get(partition), self._shards(partition), self.epochs[partition])

    def load(self, partition: Partition, shards: Sequence[int]) -> list[StateBlob | None]:
        self._check()
        self.num_loads += len(shards)
        return [self.shards.get(partition, {}).get(number) for number in shards]

    def save(self, partition: Partition, epoch: Epoch, write: StateWrite) -> None:
        self._check()
        if self.epochs.get(partition) != epoch:
            raise StaleEpochError(f"{partition} has another owner")
        kept = {} if write.is_full else self.shards.get(partition, {})
        self.shards[partition] = {**kept, **write.shards}
        self.meta[partition] = write.meta

    def partitions(self) -> list[Partition]:
        return sorted(self.meta)

    def warnings(self) -> list[str]:
        return []

    def close(self) -> None:
        pass
