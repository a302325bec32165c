"""What travels between connectors and the engine: bytes, keys and positions.

I know nothing of sensors, readings or tensors. All values are frozen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Headers: TypeAlias = Sequence[tuple[str, bytes]]
"""Record headers in the order they were sent."""

Position: TypeAlias = int
"""Where to read next in a partition: the offset after the last record handled."""

StateBlob: TypeAlias = bytes
"""One packed shard of state; only the engine can read it."""


class Partition(NamedTuple):
    """One partition of one topic (or the only one of a file)."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch:
    """Records of one partition in log order, as parallel columns of equal length (none, where only the position moved).

    Attributes:
        partition: where they come from.
        offsets: [n] int64, strictly increasing (gaps are allowed).
        timestamps_ns: [n] int64 UTC nanoseconds of each record itself; -1 where it has none.
        keys, values: n entries each; None where the record has none.
        headers: n entries, or None where no record of the batch has any.
        next_position: the position after the last record (the next offset to read).
    """

    partition: Partition
    offsets: NDArray[np.int64]
    timestamps_ns: NDArray[np.int64]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers | None] | None
    next_position: Position

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll brought; false where it brought no records, whatever else it says.

    Attributes:
        batches: records, at most one batch a partition.
        assigned: partitions that are ours since the last poll and wait for their first `seek`.
        lost: partitions taken from us since the last poll (their revoke callback has run).
        outside: partitions whose position the log does not hold; they wait for their next `seek`.
        at_end: True where the source has an end and it is reached (files); always False for a log.
    """

    batches: tuple[RecordBatch, ...] = ()
    assigned: frozenset[Partition] = frozenset()
    lost: frozenset[Partition] = frozenset()
    outside: frozenset[Partition] = frozenset()
    at_end: bool = False

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.batches)


class Bounds(NamedTuple):
    """The positions a partition's log still holds: earliest <= position <= latest."""

    earliest: Position
    latest: Position


class SinkRecord(NamedTuple):
    """One record to write; the sink chooses the partition from the key."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ns: int | None = None


class Epoch(NamedTuple):
    """Proof of ownership of a stored partition, compared for equality by the store."""

    counter: int
    token: str


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """What a store holds of one partition, without its shards.

    Attributes:
        meta: the engine's own bytes (position, watermark, layout), as last saved; None if never saved.
        shards: numbers of the shards that can be loaded, ascending.
        epoch: the epoch it was acquired with, or the last owner's when only looked at.
    """

    meta: bytes | None
    shards: tuple[int, ...]
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class StateWrite:
    """One checkpoint of one partition: written whole or not at all.

    Attributes:
        meta: replaces the partition's meta bytes.
        shards: shard number -> its new bytes; shards not named keep theirs.
        is_full: True if shards not named are to be removed.
    """

    meta: bytes
    shards: Mapping[int, StateBlob]
    is_full: bool = False
