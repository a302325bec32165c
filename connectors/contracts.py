"""The contracts every connector keeps: Source, Sink, Delivery and StateStore.

I know nothing of sensors, readings or tensors. Each promise is a sentence that a test in
`tests/contract/` can break; it is run against every implementation on real servers.
All calls block, are made from one thread, and turn their library's faults into `connectors.errors`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from connectors.records import (
    Bounds,
    Epoch,
    Partition,
    Polled,
    Position,
    SinkRecord,
    StateBlob,
    StateWrite,
    StoredPartition,
)

RevokeCallback: TypeAlias = Callable[[frozenset[Partition]], None]
"""Called while the partitions are still ours: the last chance to commit their positions."""


class Source(ABC):
    """A log of records that is read by position.

    Promises:
        1. `poll` returns within about `timeout_s`; nothing new is a fine answer.
        2. Records of one partition come in log order, none twice, none left out, from the position
           last sought.
        3. Nothing of a newly assigned partition is handed out before its first `seek`.
        4. After `seek(p, x)` the next record of p has the smallest offset >= x that the log holds. Where x lies before
           the log's earliest record or beyond its end, also because that has changed since, p comes in
           `Polled.outside`, and nothing of it is handed out until it is sought again.
        5. `committed(p)` is what the last `commit` of any owner said, or None.
        6. `on_revoke` runs inside `poll` or `close`, while a commit of these partitions still succeeds;
           after it nothing more of them is handed out. Partitions lost without warning (a session
           timeout) come in `Polled.lost` without a callback.
        7. `next_position` counts what a consumer never sees (transaction markers, removed records) as read;
           where nothing else has come, in a batch without records.
        8. After `close` no thread, socket or file is left.
        9. A log that was made anew under the same name has another `log_id`.
    """

    @abstractmethod
    def open(self, on_revoke: RevokeCallback, timeout_s: float) -> None:
        """Connect and subscribe.

        Raises:
            MissingTopicError: the topic does not exist (nothing is created by asking).
            ServerUnavailableError: no server answered within timeout_s.
        """

    @property
    @abstractmethod
    def num_partitions(self) -> int:
        """How many partitions the topic has (known once open)."""

    def log_id(self) -> str:
        """Which log it is that is read (known once open); "" where it cannot be told."""
        return ""

    @abstractmethod
    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """Hand out what is there, at most max_records, waiting up to timeout_s for the first.

        Raises:
            ServerUnavailableError: no server has answered for the connector's own patience.
        """

    @abstractmethod
    def seek(self, partition: Partition, position: Position) -> None:
        """Read on from position; on a newly assigned partition this starts the reading."""

    @abstractmethod
    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Position | None]:
        """The group's committed positions."""

    @abstractmethod
    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit positions for the group, and wait until that is done, a rebalance included.

        Partitions asked back during that wait are committed and given up; the next poll reports them lost.

        Raises:
            LostPartitionsError: some of the partitions are no longer ours.
            ServerUnavailableError: it could not be done in time.
        """

    @abstractmethod
    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, Bounds]:
        """The earliest and the latest position of each partition now."""

    @abstractmethod
    def positions_at(self, partitions: Iterable[Partition], time_ns: int) -> dict[Partition, Position]:
        """The position of each partition's first record whose own timestamp is time_ns or later; the end if none is."""

    @abstractmethod
    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The latest timestamp of any record of each partition, or of one just removed; empty ones are left out."""

    @abstractmethod
    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """The latest positions as last heard, without asking a server; partitions nothing was heard of are left out."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group and free everything; may be called twice."""


class Outlet(ABC):
    """A log that is written to; when what was written is kept for good is its owner's matter."""

    @property
    @abstractmethod
    def max_record_bytes(self) -> int:
        """Largest key + value + headers that one record may have."""

    @abstractmethod
    def write(self, records: Sequence[SinkRecord]) -> None:
        """Hand records over for sending, in order.

        Raises:
            RecordTooLargeError: one is larger than max_record_bytes; those before it are on their way.
            ServerUnavailableError: an earlier record was lost, or there was no room for the client's own deadline.
        """


class Sink(Outlet):
    """An outlet of its own.

    Promises:
        1. Records of one key come to one partition, in the order written.
        2. When `flush` returns, every record written before it is kept by the server.
        3. A record that cannot be delivered makes `flush` raise, this one and every later one, until the sink is
           opened anew; none is dropped in silence. A flush that was merely too short may be tried again.
        4. `write` never waits longer than the client's own deadline.
        5. After `close` no thread, socket or file is left.
    """

    @abstractmethod
    def open(self, num_partitions: int, timeout_s: float) -> None:
        """Connect; create the topic with num_partitions where it is missing."""

    @abstractmethod
    def flush(self, timeout_s: float) -> None:
        """Wait until everything written is kept by the server.

        Raises:
            ServerUnavailableError: some record was not acknowledged within timeout_s.
        """

    @abstractmethod
    def close(self) -> None:
        """Free everything; what was not flushed may be lost; may be called twice."""


class Delivery(ABC):
    """Forecasts, dead letters and the source's positions: how they are made final together.

    Promises:
        1. When `commit` returns, every record written before it and the positions are kept by the servers.
        2. Records are kept before the positions that cover them, or in one step with them.
        3. Where `abort` answers True, nothing written since the last commit is ever seen by a reader of committed
           records, and the positions stand where that commit put them.
        4. A commit that raises has committed nothing or all of it; a transaction that failed for good, or was refused
           to a stale member of the group, is never committed later.
        5. After `close` no thread, socket or file is left; what was not committed may be lost.
    """

    @property
    @abstractmethod
    def forecasts(self) -> Outlet:
        """Where forecasts are written."""

    @property
    @abstractmethod
    def dead_letters(self) -> Outlet:
        """Where records are written that cannot be readings."""

    @abstractmethod
    def open(self, num_partitions: int, timeout_s: float) -> None:
        """Connect, after the source; create topics that are missing, with num_partitions."""

    @abstractmethod
    def commit(self, positions: Mapping[Partition, Position], timeout_s: float) -> None:
        """Make everything written final, and these positions with it.

        Raises:
            LostPartitionsError: some of the partitions are no longer ours; the next poll says which.
            StaleEpochError: another process writes in our place.
            ServerUnavailableError: it could not be done within timeout_s.
        """

    @abstractmethod
    def abort(self) -> bool:
        """Take back what was written since the last commit; False where that cannot be done."""

    @abstractmethod
    def close(self) -> None:
        """Free everything; may be called twice."""


class StateStore(ABC):
    """A cache of the fold over each partition, written by one owner at a time.

    Promises:
        1. `acquire` raises the partition's epoch; from then on every `save` of an older epoch
           raises StaleEpochError and changes nothing.
        2. `save` is atomic: a reader sees all of one save or all of the one before.
        3. What is loaded equals, byte for byte, what was saved.
        4. Partitions do not touch each other, and neither do different groups or prefixes.
        5. A store that is emptied looks like one that never held anything; a `save` with an epoch
           the store no longer knows raises StaleEpochError.
        6. `save` may run on one thread while others acquire, look and load; it asks for the shards one by one.
        7. After `close` no thread, socket or file is left.
    """

    @abstractmethod
    def open(self, timeout_s: float) -> None:
        """Connect.

        Raises:
            ServerUnavailableError: no server answered within timeout_s.
        """

    @abstractmethod
    def acquire(self, partition: Partition) -> StoredPartition:
        """Take ownership of a partition and return what is stored of it."""

    @abstractmethod
    def look(self, partition: Partition) -> StoredPartition | None:
        """What is stored of a partition, without taking it; None if nobody has ever acquired it."""

    @abstractmethod
    def load(self, partition: Partition, shards: Sequence[int]) -> list[StateBlob | None]:
        """The named shards' bytes in the order asked; None for one that is not there."""

    @abstractmethod
    def save(self, partition: Partition, epoch: Epoch, write: StateWrite) -> None:
        """Write one checkpoint in one atomic, fenced step.

        Raises:
            StaleEpochError: the partition has another owner; nothing was written.
            ServerUnavailableError: it could not be done; nothing or all of it was written.
        """

    @abstractmethod
    def partitions(self) -> list[Partition]:
        """Every partition that something is stored of, in order."""

    @abstractmethod
    def warnings(self) -> list[str]:
        """Sentences about settings of the server that endanger what is stored, with the way out."""

    @abstractmethod
    def close(self) -> None:
        """Free everything; may be called twice."""
