"""Logs held in this process's memory: partitions, consumer groups, committed positions. No server, no files.

    source = EmbeddedSource("embedded://readings?group=g")      sink = EmbeddedSink("embedded://readings")

Logs are shared by name between all sources and sinks of the process and end with it. I know nothing of what the
bytes mean.
"""

import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from connectors.errors import LostPartitionsError, MissingTopicError, nearest_names
from connectors.records import Bounds, Headers, Partition, Position, SinkRecord

RETAIN_RECORDS = 2_000_000


@dataclass(slots=True)
class Shelf:
    """One partition's records as columns, from offset `first` on."""

    first: Position = 0
    keys: list[bytes | None] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[Headers | None] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)

    @property
    def end(self) -> Position:
        """The position after the last record."""
        return self.first + len(self.values)

    def append(self, record: SinkRecord, now_ns: int) -> None:
        """Add a record at the end."""
        self.keys.append(record.key)
        self.values.append(record.value)
        self.headers.append(tuple(record.headers) or None)
        self.times_ns.append(now_ns if record.timestamp_ns is None else record.timestamp_ns)

    def remove_before(self, position: Position) -> None:
        """Drop the records before position."""
        num_records = max(0, min(position, self.end) - self.first)
        for column in (self.keys, self.values, self.headers, self.times_ns):
            del column[:num_records]
        self.first += num_records

    def position_at(self, time_ns: int) -> Position:
        """The first record of that time or later; the end if there is none."""
        rows = (row for row, at_ns in enumerate(self.times_ns) if at_ns >= time_ns)
        return self.first + next(rows, len(self.times_ns))


@dataclass(slots=True)
class Group:
    """A consumer group of one log: who wants partitions, who holds them, what is committed."""

    members: list[object] = field(default_factory=list)
    owners: dict[int, object] = field(default_factory=dict)
    committed: dict[int, Position] = field(default_factory=dict)

    def share(self, member: object, num_partitions: int) -> set[int]:
        """The partitions a member is to hold: dealt out in turn, in the order members joined."""
        place = self.members.index(member)
        return {number for number in range(num_partitions) if number % len(self.members) == place}


class Log:
    """One topic; lives as long as the process, guarded by one lock.

    Attributes:
        changed: notified whenever records or members come or go.
    """

    def __init__(self, topic: str, num_partitions: int, retain_records: int = RETAIN_RECORDS) -> None:
        self.topic = topic
        self.shelves = [Shelf() for _ in range(num_partitions)]
        self.groups: dict[str, Group] = {}
        self.changed = threading.Condition()
        self._retain = retain_records
        self._turn = 0

    @property
    def num_partitions(self) -> int:
        """How many partitions the log has."""
        return len(self.shelves)

    def append(self, records: Sequence[SinkRecord]) -> None:
        """Add records in order; a key always goes to one partition."""
        now_ns = time.time_ns()
        with self.changed:
            for record in records:
                self.shelves[self._place(record.key)].append(record, now_ns)
            for shelf in self.shelves:
                if len(shelf.values) > 2 * self._retain:
                    shelf.remove_before(shelf.end - self._retain)
            self.changed.notify_all()

    def _place(self, key: bytes | None) -> int:
        if key is None:
            self._turn += 1
            return self._turn % len(self.shelves)
        return zlib.crc32(key) % len(self.shelves)

    def remove_before(self, number: int, position: Position) -> None:
        """Drop the head of a partition, as a topic's retention does."""
        with self.changed:
            self.shelves[number].remove_before(position)

    def group(self, name: str) -> Group:
        """The group of that name; a new one has committed nothing."""
        return self.groups.setdefault(name, Group())

    def commit(self, name: str, member: object, positions: Mapping[Partition, Position]) -> None:
        """Commit a member's positions: all of them, or none.

        Raises:
            LostPartitionsError: some of the partitions are held by another member, or by none.
        """
        with self.changed:
            group = self.group(name)
            foreign = [item for item in positions if group.owners.get(item.number) is not member]
            if foreign:
                names = ", ".join(map(str, sorted(foreign)))
                raise LostPartitionsError(f"{names}: not committed, no longer ours; another member of {name!r} goes on")
            group.committed.update({item.number: position for item, position in positions.items()})

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, Bounds]:
        """What each partition holds now."""
        with self.changed:
            shelves = {item: self.shelves[item.number] for item in partitions}
            return {item: Bounds(shelf.first, shelf.end) for item, shelf in shelves.items()}

    def positions_at(self, partitions: Iterable[Partition], time_ns: int) -> dict[Partition, Position]:
        """The first record of each partition of that time or later; its end if there is none."""
        with self.changed:
            return {item: self.shelves[item.number].position_at(time_ns) for item in partitions}

    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The latest time in each partition that holds records."""
        with self.changed:
            shelves = {item: self.shelves[item.number] for item in partitions}
            return {item: max(shelf.times_ns) for item, shelf in shelves.items() if shelf.times_ns}


_logs: dict[str, Log] = {}
_lock = threading.Lock()


def create_log(topic: str, num_partitions: int, retain_records: int = RETAIN_RECORDS) -> Log:
    """The log of that name, made now if there is none."""
    with _lock:
        if topic not in _logs:
            _logs[topic] = Log(topic, num_partitions, retain_records)
        return _logs[topic]


def find_log(topic: str) -> Log:
    """The log of that name.

    Raises:
        MissingTopicError: there is none.
    """
    with _lock:
        if topic not in _logs:
            raise MissingTopicError(
                f"embedded://{topic}: this process has no log {topic!r}; {nearest_names(topic, _logs)} "
                "Open a sink of that name first"
            )
        return _logs[topic]


def drop_log(topic: str) -> None:
    """Forget a log and its groups; whoever has it open keeps the old one."""
    with _lock:
        _logs.pop(topic, None)
