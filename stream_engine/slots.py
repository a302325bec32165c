"""Which series there are, in which slot each one's state lies, and which slot is given up first.

Two tables of numbers: `Ledger` has one row per *series* (a sensor's channel in a partition), known by
its *handle*; `Slots` has one row per slot of the slab. I move no state and know no tensors, bytes or clocks.

    partition, sensor, channel ──Ledger──▶ handle ──Ledger.slot──▶ slot of the slab (or -1)
                                     └──▶ number in its partition ──▶ shard, row in the store
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from connectors.records import Partition
from stream_engine.records import Int64s, Placement, SeriesKey

NUM_GAPS = 8
RECENT = "recent_ns"
NEVER_NS = np.iinfo(np.int64).min
NO_SLOT = -1
NUM_RECENT = 24
"""Under `late: merge` a reading is merged where fewer than so many of its series are newer."""


def stored_dtype(is_merging: bool) -> np.dtype[np.void]:
    """What is stored of one series beside its state row; is_merging: where late readings are merged."""
    columns: list[tuple[str, str, tuple[int, ...]]] = [
        ("last_time_ns", "<i8", ()),  # event time of the last reading folded; NEVER_NS before the first
        ("last_seen_ns", "<i8", ()),  # newest time seen, of slots without a reading too: the cadence counts those
        ("last_emitted_ns", "<i8", ()),  # origin of the last forecast due
        ("count", "<u8", ()),  # readings folded
        ("digest", "<u8", ()),  # rolling digest of the readings folded, in order of arrival
        ("num_gaps", "<i8", ()),  # gaps seen so far
        ("gaps_ns", "<i8", (NUM_GAPS,)),  # the last NUM_GAPS of them, as a ring
    ]
    if is_merging:
        columns.append((RECENT, "<i8", (NUM_RECENT,)))  # newest times folded, in order; NEVER_NS where there were fewer
    return np.dtype(columns)


def fresh_entries(num: int, is_merging: bool = False) -> NDArray[np.void]:
    """Stored entries of num series that have seen nothing."""
    entries = np.zeros(num, stored_dtype(is_merging))
    for name in ("last_time_ns", "last_seen_ns", "last_emitted_ns", *([RECENT] if is_merging else [])):
        entries[name] = NEVER_NS
    entries["gaps_ns"] = np.iinfo(np.int64).max
    return entries


class Ledger:
    """The series of all partitions held now, one row of numbers each; lives as long as the pipeline.

    A series keeps its *number* within its partition for ever (first seen, first numbered), so that the
    store can file it by number; its *handle* is a row of this process's ledger and is used again once
    the partition has been dropped.

    Attributes:
        entries: [capacity] of `stored_dtype`, indexed by handle.
        slot: [capacity] int64, NO_SLOT where the series' state is not in the slab.
        is_dirty: [capacity] bool, changed since it was last stored.
        number: [capacity] int64, the number within the partition.
        keys: [capacity] (sensor, channel).
    """

    def __init__(self, is_merging: bool = False) -> None:
        """Start empty; is_merging: whether late readings are merged, so that the newest times are kept."""
        self.is_merging = is_merging
        self.entries = fresh_entries(0, is_merging)
        self.slot: Int64s = np.zeros(0, np.int64)
        self.number: Int64s = np.zeros(0, np.int64)
        self.is_dirty: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.keys: list[SeriesKey] = []
        self._partition: list[Partition | None] = []
        self._handles: dict[Partition, list[int]] = {}
        self._index: dict[Partition, dict[SeriesKey, int]] = {}
        self._free: list[int] = []

    @property
    def partitions(self) -> list[Partition]:
        """The partitions held, in the order they came."""
        return list(self._handles)

    def __len__(self) -> int:
        return sum(len(handles) for handles in self._handles.values())

    def add_partition(self, partition: Partition) -> None:
        """Hold a partition, with no series yet."""
        self._handles[partition] = []
        self._index[partition] = {}

    def drop_partition(self, partition: Partition) -> Int64s:
        """Forget a partition and its series; return the slots that fall free."""
        handles = self.handles(partition)
        slots = self.slot[handles]
        self.slot[handles] = NO_SLOT
        self.is_dirty[handles] = False
        self._free.extend(handles.tolist())
        del self._handles[partition], self._index[partition]
        return np.asarray(slots[slots != NO_SLOT], np.int64)

    def handles(self, partition: Partition) -> Int64s:
        """Handles of a partition's series by number, [num series]."""
        return np.asarray(self._handles[partition], np.int64)

    def partition_of(self, handle: int) -> Partition:
        """The partition a series belongs to."""
        partition = self._partition[handle]
        if partition is None:
            raise KeyError(handle)
        return partition

    def find(self, partition: Partition, key: SeriesKey) -> int | None:
        """The handle of one series, or None if it has not been seen."""
        return self._index[partition].get(key)

    def add(self, partition: Partition, keys: Sequence[SeriesKey], entries: NDArray[np.void]) -> Int64s:
        """Number new series of a partition in the order given; return their handles."""
        self._reserve(len(keys))
        handles = self._handles[partition]
        new = [self._free.pop() for _ in keys]
        self._index[partition].update(zip(keys, new, strict=True))
        for handle, key in zip(new, keys, strict=True):
            self.keys[handle] = key
            self._partition[handle] = partition
        array = np.asarray(new, np.int64)
        self.entries[array] = entries
        self.slot[array] = NO_SLOT
        self.is_dirty[array] = False
        self.number[array] = np.arange(len(handles), len(handles) + len(new))
        handles.extend(new)
        return array

    def look_up(self, partition: Partition, keys: Iterable[SeriesKey]) -> tuple[Int64s, list[SeriesKey]]:
        """Handles of the keys, numbering those not seen before.

        Returns:
            handles, one for each key, and the keys that are new.
        """
        keys = list(keys)
        index = self._index[partition]
        found = [index.get(key, -1) for key in keys]
        new: list[SeriesKey] = []
        if -1 in found:
            new = list(dict.fromkeys(key for key, handle in zip(keys, found, strict=True) if handle < 0))
            self.add(partition, new, fresh_entries(len(new), self.is_merging))
            found = [index[key] for key in keys]
        return np.asarray(found, np.int64), new

    def others_with(self, partition: Partition, key: SeriesKey) -> list[Partition]:
        """Other partitions of the same topic in which the same series has been seen."""
        return [
            other
            for other, index in self._index.items()
            if other != partition and other.topic == partition.topic and key in index
        ]

    def _reserve(self, num: int) -> None:
        """See to it that num handles are free."""
        missing = num - len(self._free)
        if missing <= 0:
            return
        old = len(self.keys)
        grow = max(missing, old, 256)
        self.entries = np.concatenate([self.entries, fresh_entries(grow, self.is_merging)])
        self.slot = np.concatenate([self.slot, np.full(grow, NO_SLOT, np.int64)])
        self.number = np.concatenate([self.number, np.zeros(grow, np.int64)])
        self.is_dirty = np.concatenate([self.is_dirty, np.zeros(grow, np.bool_)])
        self.keys.extend([("", "")] * grow)
        self._partition.extend([None] * grow)
        self._free.extend(range(old + grow - 1, old - 1, -1))


class Slots:
    """The slots of the slab: a free list and the order of last use; lives as long as the slab.

    Slots are given out from 0 up, so that a slab can grow with them.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity} must be at least 1")
        self.capacity = capacity
        self.holder: Int64s = np.zeros(0, np.int64)  # handle in each slot given out, -1 where free
        self.last_used: Int64s = np.zeros(0, np.int64)
        self._free: list[int] = []
        self._uses = 0

    @property
    def num_resident(self) -> int:
        """Slots that hold a series."""
        return len(self.holder) - len(self._free)

    def place(self, handles: Int64s, ledger: Ledger) -> Placement:
        """Give every one of the handles a slot, evicting the least recently used others.

        Args:
            handles: distinct, at most `capacity`, in order of use (the last is the most recent).
            ledger: its `slot` column is updated for all who come and go.
        """
        slots = ledger.slot[handles]
        resident = slots[slots != NO_SLOT]
        self._touch(resident)
        loaded = handles[slots == NO_SLOT]
        evicted_slots = self._make_room(len(loaded), resident)
        evicted = self.holder[evicted_slots]
        ledger.slot[evicted] = NO_SLOT
        self._free.extend(evicted_slots[::-1].tolist())
        loaded_slots = np.asarray([self._free.pop() for _ in range(len(loaded))], np.int64)
        self.holder[loaded_slots] = loaded
        ledger.slot[loaded] = loaded_slots
        self._touch(ledger.slot[handles])
        return Placement(evicted, evicted_slots, loaded, loaded_slots)

    def release(self, slots: Int64s) -> None:
        """Give slots back to the free list."""
        self.holder[slots] = -1
        self._free.extend(slots.tolist())

    def _touch(self, slots: Int64s) -> None:
        self.last_used[slots] = np.arange(self._uses, self._uses + len(slots))
        self._uses += len(slots)

    def _make_room(self, num: int, kept: Int64s) -> Int64s:
        """Slots to evict so that num are free, leaving alone those just used."""
        grow = min(self.capacity - len(self.holder), max(0, num - len(self._free)))
        if grow:
            old = len(self.holder)
            self.holder = np.concatenate([self.holder, np.full(grow, -1, np.int64)])
            self.last_used = np.concatenate([self.last_used, np.zeros(grow, np.int64)])
            self._free = list(range(old + grow - 1, old - 1, -1)) + self._free
        missing = num - len(self._free)
        if missing <= 0:
            return np.zeros(0, np.int64)
        can_go = self.holder >= 0
        can_go[kept] = False
        candidates = np.flatnonzero(can_go)
        oldest = np.argsort(self.last_used[candidates], kind="stable")[:missing]
        return candidates[oldest]
