"""An in-process log as a Source. I know nothing of what the bytes mean."""

from collections.abc import Iterable, Mapping

import numpy as np

from connectors.contracts import RevokeCallback, Source
from connectors.embedded.log import Group, Log, Shelf, find_log
from connectors.embedded.settings import EmbeddedSettings
from connectors.records import Bounds, Partition, Polled, Position, RecordBatch
from connectors.retry import Deadline


class EmbeddedSource(Source):
    """One member of a group; owned by one thread, from `open` to `close`."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._group_name = settings.required_group
        self._log: Log | None = None
        self._on_revoke: RevokeCallback = _ignore
        self._held: set[int] = set()
        self._positions: dict[int, Position] = {}

    def open(self, on_revoke: RevokeCallback, timeout_s: float) -> None:
        """Join the group; the log must exist."""
        self._log = log = find_log(self._settings.topic)
        self._on_revoke = on_revoke
        with log.changed:
            log.group(self._group_name).members.append(self)
            log.changed.notify_all()

    @property
    def num_partitions(self) -> int:
        """How many partitions the log has."""
        return self._open_log().num_partitions

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """Hand out what is there, and take part in the sharing of partitions."""
        log = self._open_log()
        deadline = Deadline.after(timeout_s)
        lost = self._let_go(self._too_many())
        with log.changed:
            assigned, outside = self._take_free(), self._hold_back()
            batches = self._read(max_records)
            while not (batches or assigned or lost or outside or deadline.is_over or self._wants_change()):
                log.changed.wait(deadline.remaining_s)
                assigned, outside = self._take_free(), self._hold_back()
                batches = self._read(max_records)
        return Polled(tuple(batches), frozenset(map(self._partition, assigned)), lost, outside)

    def _group(self) -> Group:
        return self._open_log().group(self._group_name)

    def _too_many(self) -> set[int]:
        with self._open_log().changed:
            return self._held - self._group().share(self, self.num_partitions)

    def _wants_change(self) -> bool:
        return bool(self._held - self._group().share(self, self.num_partitions))

    def _let_go(self, numbers: set[int]) -> frozenset[Partition]:
        """Let the engine commit, then free the partitions."""
        gone = frozenset(map(self._partition, numbers))
        try:
            if gone:
                self._on_revoke(gone)
        finally:
            log = self._open_log()
            with log.changed:
                for number in numbers:
                    del self._group().owners[number]
                    self._positions.pop(number, None)
                self._held -= numbers
                log.changed.notify_all()
        return gone

    def _take_free(self) -> set[int]:
        owners = self._group().owners
        free = {number for number in self._group().share(self, self.num_partitions) if number not in owners}
        owners.update(dict.fromkeys(free, self))
        self._held |= free
        return free

    def _hold_back(self) -> frozenset[Partition]:
        """Stop reading where the log does not hold the position."""
        shelves = self._open_log().shelves
        outside = [n for n, at in self._positions.items() if not shelves[n].first <= at <= shelves[n].end]
        for number in outside:
            del self._positions[number]
        return frozenset(map(self._partition, outside))

    def _read(self, max_records: int) -> list[RecordBatch]:
        batches = []
        for number, position in self._positions.items():
            shelf = self._open_log().shelves[number]
            end = min(shelf.end, position + max_records)
            if position < end:
                batches.append(_as_batch(self._partition(number), shelf, position, end))
                self._positions[number] = end
                max_records -= end - position
            if max_records <= 0:
                break
        # the partition read last comes first next time, after all others: none waits for ever
        for batch in batches:
            self._positions[batch.partition.number] = self._positions.pop(batch.partition.number)
        return batches

    def seek(self, partition: Partition, position: Position) -> None:
        """Read on from position; the first one after an assignment starts the reading."""
        if partition.number in self._held:
            self._positions[partition.number] = position

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Position | None]:
        """The group's committed positions."""
        with self._open_log().changed:
            committed = self._group().committed
            return {partition: committed.get(partition.number) for partition in partitions}

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit positions for the group."""
        self._open_log().commit(self._group_name, self, positions)

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, Bounds]:
        """What each partition holds now."""
        return self._open_log().bounds(partitions)

    def positions_at(self, partitions: Iterable[Partition], time_ns: int) -> dict[Partition, Position]:
        """The first records of that time or later."""
        return self._open_log().positions_at(partitions, time_ns)

    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The latest timestamps."""
        return self._open_log().newest_ns(partitions)

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """The latest positions."""
        return {partition: bounds.latest for partition, bounds in self.bounds(partitions).items()}

    def close(self) -> None:
        """Give the partitions back and leave the group."""
        if self._log is None:
            return
        try:
            self._let_go(set(self._held))
        finally:
            log, self._log = self._log, None
            with log.changed:
                log.group(self._group_name).members.remove(self)
                log.changed.notify_all()

    def _partition(self, number: int) -> Partition:
        return Partition(self._settings.topic, number)

    def _open_log(self) -> Log:
        if self._log is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return self._log


def _ignore(_partitions: frozenset[Partition]) -> None:
    """Before `open` nothing can be revoked."""


def _as_batch(partition: Partition, shelf: Shelf, first: Position, end: Position) -> RecordBatch:
    rows = slice(first - shelf.first, end - shelf.first)
    headers = shelf.headers[rows]
    return RecordBatch(
        partition=partition,
        offsets=np.arange(first, end, dtype=np.int64),
        timestamps_ns=np.asarray(shelf.times_ns[rows], np.int64),
        keys=shelf.keys[rows],
        values=shelf.values[rows],
        headers=headers if any(headers) else None,
        next_position=end,
    )
