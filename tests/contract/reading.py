"""Drive sources in tests: open, wait for the assignment, read a number of records."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from connectors.contracts import RevokeCallback, Source
from connectors.records import Partition, Polled, RecordBatch, SinkRecord
from tests.contract.cases import LogCase
from tests.support.waiting import poll_for

OPEN_S = 20.0


def numbered(first: int, end: int, tag: str = "v") -> list[SinkRecord]:
    """Records that say their own number."""
    return [SinkRecord(None, f"{tag}{row}".encode()) for row in range(first, end)]


@contextmanager
def opened(source: Source, on_revoke: RevokeCallback = lambda gone: None) -> Iterator[Source]:
    """An open source, closed after."""
    try:
        source.open(on_revoke, OPEN_S)
        yield source
    finally:
        source.close()


def until_assigned(source: Source, num_partitions: int) -> set[Partition]:
    """Poll until this many partitions are ours; nothing may be handed out before they are sought."""
    mine: set[Partition] = set()

    def step() -> bool:
        polled = source.poll(1000, 0.05)
        assert not polled.batches, "records came before the first seek"
        mine.difference_update(polled.lost)
        mine.update(polled.assigned)
        return len(mine) == num_partitions

    poll_for(step, 30.0, every_s=0.0, what=f"{num_partitions} partitions")
    return mine


def seek_all(source: Source, partitions: Iterable[Partition], position: int = 0) -> None:
    """Read all partitions on from one position."""
    for partition in partitions:
        source.seek(partition, position)


class Reader:
    """What was read so far of each partition: offset -> value, in order, checked for gaps and repeats."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.read: dict[Partition, dict[int, bytes | None]] = {}
        self.next: dict[Partition, int] = {}
        self.assigned: set[Partition] = set()
        self.lost: set[Partition] = set()
        self.batches: list[RecordBatch] = []

    def poll(self, max_records: int = 1000, timeout_s: float = 0.05) -> Polled:
        """One poll, noted."""
        polled = self.source.poll(max_records, timeout_s)
        assert len(polled) <= max_records
        self.assigned |= polled.assigned
        self.lost |= polled.lost
        for batch in polled.batches:
            self._note(batch)
        return polled

    def _note(self, batch: RecordBatch) -> None:
        self.batches.append(batch)
        offsets = batch.offsets.tolist()
        seen = self.read.setdefault(batch.partition, {})
        assert offsets == sorted(set(offsets))
        assert not seen.keys() & set(offsets), "a record came twice"
        if batch.partition in self.next and offsets:
            assert offsets[0] >= self.next[batch.partition]
        seen.update(zip(offsets, batch.values, strict=True))
        self.next[batch.partition] = batch.next_position
        assert not offsets or batch.next_position > offsets[-1]

    def until(self, num_records: int, max_records: int = 1000) -> "Reader":
        """Poll until that many records were read in all."""

        def step() -> bool:
            self.poll(max_records)
            return self.num_records >= num_records

        poll_for(step, 30.0, every_s=0.0, what=f"{num_records} records")
        return self

    @property
    def num_records(self) -> int:
        """Records read in all."""
        return sum(map(len, self.read.values()))


def bodies(log: LogCase, read: Mapping[int, bytes | None]) -> list[bytes | None]:
    """The values put, in order of offset."""
    return [log.body(read[offset]) for offset in sorted(read)]
