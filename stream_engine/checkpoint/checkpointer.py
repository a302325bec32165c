"""Keeps the state of partitions in the store and brings it back: restore, evict, load, save.

A series' state row is in one of three places: a slot of the slab, the *shelf* (host memory), or only in
the store. A changed row never leaves memory before it has been saved, so the store never holds a row
newer than its partition's position. I know nothing of records, forecasts or the sinks.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.contracts import StateStore
from connectors.errors import ServerUnavailableError, StaleEpochError, StoredStateError
from connectors.records import Epoch, Partition, Position, StateBlob, StateWrite
from connectors.retry import Deadline, Retry
from stream_engine.checkpoint.meta import Meta, check_model, decode_meta, encode_meta
from stream_engine.checkpoint.shards import SHARD_SIZE, Shard, decode_shard, encode_shard
from stream_engine.clock import Clock
from stream_engine.records import Int64s, Placement, SeriesKey
from stream_engine.slots import NO_SLOT, Ledger
from stream_engine.watermark import Progress

SHARDS_AT_ONCE = 32

logger = logging.getLogger(__name__)


class StateRows(Protocol):
    """The slab, as far as a checkpoint needs it: rows of float32 by slot."""

    @property
    def model_label(self) -> str:
        """`name@version` of the model whose state it is."""

    @property
    def layout_id(self) -> str:
        """The layout of a row."""

    @property
    def state_floats(self) -> int:
        """Floats in a row."""

    def rows(self, slots: Int64s) -> NDArray[np.float32]:
        """Copies of the rows in these slots."""

    def put(self, slots: Int64s, rows: NDArray[np.float32]) -> None:
        """Put rows into slots."""

    def reset(self, slots: Int64s, keys: Sequence[SeriesKey]) -> None:
        """Make these slots fresh; keys: whose they are."""

    def fresh_row(self, key: SeriesKey) -> NDArray[np.float32]:
        """The row of a series that has seen nothing."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a partition begins with.

    Attributes:
        position: the folded position, or None if nothing usable is stored.
        progress: its event time.
        num_series: series brought back.
        discarded: position of a stored state that was of no use since it was later than what may be used.
    """

    position: Position | None
    progress: Progress
    num_series: int
    discarded: Position | None = None


class Checkpointer:
    """Owns the epochs and the shelf; lives as long as the pipeline.

    Args:
        shelf_rows: how many unchanged rows may wait in host memory before they are left to the store.
        wait_s: how long a store that is away is waited for where a row is nowhere else.
    """

    def __init__(
        self,
        store: StateStore,
        ledger: Ledger,
        slab: StateRows,
        clock: Clock,
        shelf_rows: int,
        wait_s: float = 30.0,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._slab = slab
        self._clock = clock
        self._shelf_rows = shelf_rows
        self._wait_s = wait_s
        self._patience = Retry((ServerUnavailableError,))
        self._shelf: dict[int, NDArray[np.float32]] = {}
        self._stored: set[int] = set()
        self._epochs: dict[Partition, Epoch] = {}

    def restore(self, partition: Partition, usable_up_to: Position | None) -> Restored:
        """Take the partition's epoch and bring its series into the ledger, their rows onto the shelf.

        Args:
            usable_up_to: stored state of a later position is of no use; None if any is.
        Raises:
            ConfigError: the stored state is another model's.
            ServerUnavailableError: the store cannot be reached.
        """
        stored = self._store.acquire(partition)
        self._epochs[partition] = stored.epoch
        self._ledger.add_partition(partition)
        if stored.meta is None:
            return Restored(None, Progress(), 0)
        try:
            meta = decode_meta(stored.meta)
            check_model(meta, self._slab.model_label, self._slab.layout_id, str(partition))
            if usable_up_to is not None and meta.position > usable_up_to:
                logger.warning(
                    "%s: the stored state stands at %d, beyond position %d where reading goes on; "
                    "it is rebuilt from the log",
                    partition,
                    meta.position,
                    usable_up_to,
                )
                return Restored(None, Progress(), 0, meta.position)
            self._bring_back(partition, meta)
        except StoredStateError as error:
            logger.error("%s: %s; its state is rebuilt from the log", partition, error)
            self._forget(partition)
            self._ledger.add_partition(partition)
            return Restored(None, Progress(), 0)
        return Restored(meta.position, meta.progress, meta.num_series)

    def make_room(self, placement: Placement) -> None:
        """Carry out a placement: shelve the rows that leave, put in those that come."""
        if len(placement.evicted):
            rows = self._slab.rows(placement.evicted_slots)
            self._shelf.update(zip(placement.evicted.tolist(), rows, strict=True))
        if not len(placement.loaded):
            return
        loaded = placement.loaded.tolist()
        self._fetch([handle for handle in loaded if handle in self._stored and handle not in self._shelf])
        is_known = np.asarray([handle in self._shelf for handle in loaded])
        new = np.flatnonzero(~is_known)
        self._slab.reset(placement.loaded_slots[new], [self._ledger.keys[loaded[i]] for i in new.tolist()])
        if is_known.any():
            rows = np.stack([self._shelf.pop(handle) for handle in loaded if handle in self._shelf])
            self._slab.put(placement.loaded_slots[is_known], rows)

    def save(self, partition: Partition, position: Position, progress: Progress) -> int:
        """Save what has changed of a partition, with its position, in one write; return the series saved.

        Raises:
            StaleEpochError: the partition has another owner.
            ServerUnavailableError: the store cannot be reached; everything is still to be saved.
        """
        try:
            return self._save(partition, position, progress)
        except StaleEpochError:
            if self._store.look(partition) is not None:
                raise
        logger.error("%s: the store has lost its state; all of it is saved anew", partition)
        handles = self._ledger.handles(partition)
        gone = [h for h in handles[self._ledger.slot[handles] == NO_SLOT].tolist() if h not in self._shelf]
        if any(handle in self._stored for handle in gone):
            raise StoredStateError(
                f"{partition}: the store has lost the state of {len(gone)} series that were not in memory; "
                "start again, and it is rebuilt from the log"
            )
        self._stored.difference_update(handles.tolist())
        self._ledger.is_dirty[handles] = True
        self._epochs[partition] = self._store.acquire(partition).epoch
        return self._save(partition, position, progress)

    def drop(self, partition: Partition) -> Int64s:
        """Forget a partition without saving; return the slots that fall free."""
        self._epochs.pop(partition, None)
        return self._forget(partition)

    def row(self, handle: int) -> NDArray[np.float32]:
        """The state row of one series, wherever it is, [floats]."""
        return np.asarray(self._rows_of(np.asarray([handle], np.int64))[0])

    def _forget(self, partition: Partition) -> Int64s:
        for handle in self._ledger.handles(partition).tolist():
            self._shelf.pop(handle, None)
            self._stored.discard(handle)
        return self._ledger.drop_partition(partition)

    def _bring_back(self, partition: Partition, meta: Meta) -> None:
        shards = range(-(-meta.num_series // SHARD_SIZE))
        known: set[SeriesKey] = set()
        for some in _slices(shards, SHARDS_AT_ONCE):
            for number, blob in zip(some, self._store.load(partition, some), strict=True):
                if blob is None:
                    raise StoredStateError(f"stored shard {number} is missing")
                shard = decode_shard(self._slab.layout_id, blob)
                known.update(shard.keys)
                if len(known) != min((number + 1) * SHARD_SIZE, meta.num_series):
                    raise StoredStateError(f"stored shard {number} does not hold the series that it should")
                handles = self._ledger.add(partition, shard.keys, shard.entries).tolist()
                self._stored.update(handles)
                if len(self._shelf) < self._shelf_rows:
                    self._shelf.update(zip(handles, shard.rows, strict=True))

    def _save(self, partition: Partition, position: Position, progress: Progress) -> int:
        handles = self._ledger.handles(partition)
        changed = handles[self._ledger.is_dirty[handles]]
        shards = np.unique(self._ledger.number[changed] // SHARD_SIZE).tolist()
        blobs = {}
        for some in _slices(shards, SHARDS_AT_ONCE):
            members = [handles[number * SHARD_SIZE : (number + 1) * SHARD_SIZE] for number in some]
            rows = self._rows_of(np.concatenate(members))
            start = 0
            for number, mine in zip(some, members, strict=True):
                keys = [self._ledger.keys[handle] for handle in mine.tolist()]
                shard = Shard(keys, self._ledger.entries[mine], rows[start : start + len(mine)])
                blobs[number] = encode_shard(self._slab.layout_id, shard)
                start += len(mine)
        meta = Meta.of(
            progress,
            position=position,
            num_series=len(handles),
            state_floats=self._slab.state_floats,
            layout_id=self._slab.layout_id,
            model=self._slab.model_label,
            saved_at_ns=self._clock.now_ns(),
        )
        is_full = len(shards) == -(-len(handles) // SHARD_SIZE)
        self._store.save(partition, self._epochs[partition], StateWrite(encode_meta(meta), blobs, is_full))
        self._ledger.is_dirty[changed] = False
        self._stored.update(changed.tolist())
        self._thin_shelf()
        return len(changed)

    def _rows_of(self, handles: Int64s) -> NDArray[np.float32]:
        """State rows of series wherever they are, [n, floats]."""
        slots = self._ledger.slot[handles]
        is_resident = slots != NO_SLOT
        rows = np.empty((len(handles), self._slab.state_floats), np.float32)
        rows[is_resident] = self._slab.rows(slots[is_resident])
        elsewhere = np.flatnonzero(~is_resident).tolist()
        wanted = [int(handles[i]) for i in elsewhere]
        self._fetch([handle for handle in wanted if handle in self._stored and handle not in self._shelf])
        for i, handle in zip(elsewhere, wanted, strict=True):
            row = self._shelf.get(handle)
            rows[i] = self._slab.fresh_row(self._ledger.keys[handle]) if row is None else row
        return rows

    def _fetch(self, handles: Sequence[int]) -> None:
        """Bring rows that only the store has onto the shelf."""
        wanted: dict[tuple[Partition, int], list[int]] = {}
        for handle in handles:
            partition = self._ledger.partition_of(handle)
            number = int(self._ledger.number[handle])
            wanted.setdefault((partition, number // SHARD_SIZE), []).append(handle)
        for (partition, shard_number), mine in wanted.items():
            blob = self._patience.call(partial(self._load_one, partition, shard_number), Deadline.after(self._wait_s))
            if blob is None:
                raise StoredStateError(
                    f"{partition}: stored shard {shard_number} is missing; start again, and the state is rebuilt "
                    "from the log"
                )
            shard = decode_shard(self._slab.layout_id, blob)
            rows = [int(self._ledger.number[handle]) % SHARD_SIZE for handle in mine]
            if any(
                shard.keys[row : row + 1] != [self._ledger.keys[handle]] for handle, row in zip(mine, rows, strict=True)
            ):
                raise StoredStateError(
                    f"{partition}: stored shard {shard_number} holds other series than were stored; start again, and "
                    "the state is rebuilt from the log"
                )
            self._shelf.update((handle, shard.rows[row]) for handle, row in zip(mine, rows, strict=True))

    def _load_one(self, partition: Partition, shard: int) -> StateBlob | None:
        return self._store.load(partition, [shard])[0]

    def _thin_shelf(self) -> None:
        """Leave unchanged rows to the store while the shelf is over its size, the oldest first."""
        excess = len(self._shelf) - self._shelf_rows
        if excess > 0:
            clean = [handle for handle in self._shelf if handle in self._stored and not self._ledger.is_dirty[handle]]
            for handle in clean[:excess]:
                del self._shelf[handle]


def _slices(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
