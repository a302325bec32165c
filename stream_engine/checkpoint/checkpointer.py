"""Keeps the state of partitions in the store and brings it back: restore, evict, load, save.

A series' state row is in one of three places: a slot of the slab, the *shelf* (host memory), or only in
the store. A changed row never leaves memory before it has been saved, so the store never holds a row
newer than its partition's position. What is heavy comes in slices, between which the loop goes on: a restore
yields, a save is copied off bit by bit and written by a thread. I know nothing of records, forecasts or the sinks.
"""

import logging
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from connectors.contracts import StateStore
from connectors.errors import ServerUnavailableError, StaleEpochError, StoredStateError
from connectors.records import Epoch, Partition, Position
from connectors.retry import Deadline, Retry
from stream_engine.checkpoint.meta import Meta, check_model, decode_meta, encode_meta
from stream_engine.checkpoint.saving import Saving, stored_rows
from stream_engine.checkpoint.shards import SHARD_SIZE, decode_shard
from stream_engine.clock import Clock
from stream_engine.records import Bools, Int64s, Placement, SeriesKey
from stream_engine.slots import NO_SLOT, Ledger
from stream_engine.watermark import Progress

SHARDS_AT_ONCE = 4
"""Shards that are brought back between two looks at the clock: some five milliseconds."""
ROWS_AT_ONCE = 128
"""Rows that are copied off between two looks at the clock: a megabyte, less than a millisecond."""

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
        discarded: position of a stored state that was of no use.
        is_of_another_log: whether that was because the log has been made anew.
    """

    position: Position | None
    progress: Progress
    num_series: int
    discarded: Position | None = None
    is_of_another_log: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """A save that has ended.

    Attributes:
        position: up to where the store holds the partition now; None where the store was found emptied: all of it
            is to be saved anew.
        seconds: from its begin.
    """

    partition: Partition
    position: Position | None
    seconds: float


class Checkpointer:
    """Owns the epochs, the shelf and the saves under way; lives as long as the pipeline.

    Args:
        writer: one thread, that writes to the store; shut down by `close`.
        shelf_rows: how many unchanged rows may wait in host memory before they are left to the store.
        wait_s: how long a store that is away is waited for where a row is nowhere else.
    """

    def __init__(
        self,
        store: StateStore,
        ledger: Ledger,
        slab: StateRows,
        clock: Clock,
        writer: Executor,
        shelf_rows: int,
        wait_s: float = 30.0,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._slab = slab
        self._clock = clock
        self._writer = writer
        self._shelf_rows = shelf_rows
        self._wait_s = wait_s
        self._patience = Retry((ServerUnavailableError,))
        self._shelf: dict[int, NDArray[np.float32]] = {}
        self._stored: set[int] = set()
        self._epochs: dict[Partition, Epoch] = {}
        self._savings: dict[Partition, Saving] = {}
        self._is_wanted: Bools = np.zeros(0, np.bool_)
        self._kept: dict[int, NDArray[np.float32]] = {}

    def restore(
        self, partition: Partition, usable_up_to: Position | None, log_id: str = ""
    ) -> Generator[None, None, Restored]:
        """Take the partition's epoch and bring its series into the ledger, their rows onto the shelf.

        It yields between slices; one that is closed or fails before its end leaves nothing behind.

        Args:
            usable_up_to: stored state of a later position is of no use; None if any is.
            log_id: of the partition's log; stored state of another one is of no use either.
        Raises:
            ConfigError: the stored state is another model's.
            ServerUnavailableError: the store cannot be reached.
        """
        stored = self._store.acquire(partition)
        self._epochs[partition] = stored.epoch
        self._ledger.add_partition(partition)
        with ExitStack() as undo:
            undo.callback(self.drop, partition)
            restored = Restored(None, Progress(), 0)
            if stored.meta is not None:
                restored = yield from self._restored(partition, stored.meta, usable_up_to, log_id)
            undo.pop_all()
        return restored

    def _restored(
        self, partition: Partition, stored: bytes, usable_up_to: Position | None, log_id: str
    ) -> Generator[None, None, Restored]:
        try:
            meta = decode_meta(stored)
            check_model(meta, self._slab.model_label, self._slab.layout_id, str(partition))
            if log_id and meta.log_id and meta.log_id != log_id:
                logger.warning(
                    "%s: the topic has been made anew since its state was stored at %d; it is rebuilt from the log",
                    partition,
                    meta.position,
                )
                return Restored(None, Progress(), 0, meta.position, is_of_another_log=True)
            if usable_up_to is not None and meta.position > usable_up_to:
                logger.warning(
                    "%s: the stored state stands at %d, beyond position %d where reading goes on; "
                    "it is rebuilt from the log",
                    partition,
                    meta.position,
                    usable_up_to,
                )
                return Restored(None, Progress(), 0, meta.position)
            yield from self._bring_back(partition, meta)
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
        self._fetch(loaded)
        is_known = np.asarray([handle in self._shelf for handle in loaded])
        new = np.flatnonzero(~is_known)
        self._slab.reset(placement.loaded_slots[new], [self._ledger.keys[loaded[i]] for i in new.tolist()])
        if is_known.any():
            rows = np.stack([self._shelf.pop(handle) for handle in loaded if handle in self._shelf])
            self._slab.put(placement.loaded_slots[is_known], rows)

    @property
    def is_copying(self) -> bool:
        """Whether rows are still to be copied off."""
        return any(saving.write is None for saving in self._savings.values())

    @property
    def is_saving(self) -> bool:
        """Whether some save has not ended."""
        return bool(self._savings)

    def begin(self, moments: Mapping[Partition, tuple[Position, Progress]]) -> None:
        """Begin to save what has changed of some partitions, each with its position as of now, in one write each.

        No save may be under way. Nothing of it waits for the store; `keep`, `go_on` and `finish` do the rest.
        """
        self._is_wanted = np.zeros(len(self._ledger.keys), np.bool_)
        for partition, (position, progress) in moments.items():
            saving = self._savings[partition] = self._begun(partition, position, progress)
            self._ledger.is_dirty[saving.changed] = False
            self._is_wanted[saving.handles] = True

    def keep(self, handles: Int64s) -> None:
        """Keep what series in the slab are before they change, where a save still wants it."""
        if self.is_copying:
            old = np.unique(handles[handles < len(self._is_wanted)])
            wanted = old[self._is_wanted[old]]
            self._kept.update(zip(wanted.tolist(), self._slab.rows(self._ledger.slot[wanted]), strict=True))
            self._is_wanted[wanted] = False

    def go_on(self, until_s: float) -> Iterator[Saved]:
        """Copy off some rows, until that time of the clock, and tell which saves have ended.

        Raises:
            StaleEpochError: a partition has another owner.
            ServerUnavailableError: the store cannot be reached; everything not told of is still to be saved.
        """
        self._copy_until(until_s)
        yield from self._ended(lambda: 0.0)

    def finish(self, wait_s: float) -> Iterator[Saved]:
        """Copy off all that is wanted, wait for the saves, and tell of each that has ended.

        Raises:
            StaleEpochError: a partition has another owner.
            ServerUnavailableError: the store cannot be reached, or they took longer than wait_s.
        """
        deadline = Deadline.after(wait_s)
        self._copy_until(math.inf)
        yield from self._ended(lambda: deadline.remaining_s)
        if self._savings:
            self._give_up()
            raise ServerUnavailableError(f"the store has not taken a checkpoint within {wait_s:g} s; look at its load")

    def close(self) -> None:
        """Give up what is under way and end the writer's thread."""
        self._give_up()
        self._writer.shutdown(wait=True, cancel_futures=True)

    def drop(self, partition: Partition) -> Int64s:
        """Forget a partition without saving; return the slots that fall free."""
        self._epochs.pop(partition, None)
        saving = self._savings.pop(partition, None)
        if saving is not None:
            self._leave(saving)
        return self._forget(partition)

    def row(self, handle: int) -> NDArray[np.float32]:
        """The state row of one series, wherever it is, [floats]."""
        if self._ledger.slot[handle] == NO_SLOT:
            self._fetch([handle])
        return np.asarray(self._rows_at_hand(np.asarray([handle], np.int64))[0][0])

    def _forget(self, partition: Partition) -> Int64s:
        for handle in self._ledger.handles(partition).tolist():
            self._shelf.pop(handle, None)
            self._stored.discard(handle)
        return self._ledger.drop_partition(partition)

    def _bring_back(self, partition: Partition, meta: Meta) -> Iterator[None]:
        shards = range(-(-meta.num_series // SHARD_SIZE))
        known: set[SeriesKey] = set()
        for some in _slices(shards, SHARDS_AT_ONCE):
            if some[0] > 0:
                yield
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

    def _begun(self, partition: Partition, position: Position, progress: Progress) -> Saving:
        handles = self._ledger.handles(partition)
        changed = handles[self._ledger.is_dirty[handles]]
        numbers = np.unique(self._ledger.number[changed] // SHARD_SIZE).tolist()
        members = [handles[number * SHARD_SIZE : (number + 1) * SHARD_SIZE] for number in numbers]
        ends = np.cumsum([len(mine) for mine in members], dtype=np.int64).tolist()
        meta = Meta.of(
            progress,
            position=position,
            num_series=len(handles),
            state_floats=self._slab.state_floats,
            layout_id=self._slab.layout_id,
            model=self._slab.model_label,
            saved_at_ns=self._clock.now_ns(),
        )
        wanted = np.concatenate([handles[:0], *members])
        return Saving(
            partition=partition,
            epoch=self._epochs[partition],
            position=position,
            began_s=self._clock.monotonic_s(),
            meta=encode_meta(meta),
            layout_id=self._slab.layout_id,
            shards=dict(zip(numbers, map(slice, [0, *ends], ends), strict=False)),
            is_full=len(numbers) == -(-len(handles) // SHARD_SIZE),
            changed=changed,
            handles=wanted,
            keys=[],
            entries=self._ledger.entries[wanted],
            rows=np.empty((len(wanted), self._slab.state_floats), np.float32),
            is_known=np.zeros(len(wanted), np.bool_),
        )

    def _copy_until(self, until_s: float) -> None:
        """Copy off rows in order; the last of a save hands it to the writer."""
        for saving in self._savings.values():
            while saving.write is None:
                self._copy_next(saving)
                if saving.num_copied == len(saving.handles):
                    saving.submit(self._store, self._writer)
                if self._clock.monotonic_s() >= until_s:
                    return

    def _copy_next(self, saving: Saving) -> None:
        first = saving.num_copied
        handles = saving.handles[first : first + ROWS_AT_ONCE]
        saving.keys += [self._ledger.keys[handle] for handle in handles.tolist()]
        is_kept = ~self._is_wanted[handles]
        places = first + np.flatnonzero(~is_kept)
        saving.rows[places], saving.is_known[places] = self._rows_at_hand(handles[~is_kept])
        for i in np.flatnonzero(is_kept).tolist():
            saving.rows[first + i] = self._kept.pop(int(handles[i]))
            saving.is_known[first + i] = True
        self._is_wanted[handles] = False
        saving.num_copied += len(handles)

    def _rows_at_hand(self, handles: Int64s) -> tuple[NDArray[np.float32], Bools]:
        """State rows of series, [n, floats], and which of them are in memory, [n]; the others' rows hold anything."""
        slots = self._ledger.slot[handles]
        is_known = slots != NO_SLOT
        if is_known.all():
            return self._slab.rows(slots), is_known
        rows = np.empty((len(handles), self._slab.state_floats), np.float32)
        rows[is_known] = self._slab.rows(slots[is_known])
        for i in np.flatnonzero(~is_known).tolist():
            handle = int(handles[i])
            row = self._shelf.get(handle)
            is_known[i] = row is not None or handle not in self._stored
            if is_known[i]:
                rows[i] = self._slab.fresh_row(self._ledger.keys[handle]) if row is None else row
        return rows, is_known

    def _ended(self, wait_s: Callable[[], float]) -> Iterator[Saved]:
        """Take note of the saves that end within a wait, in the order they were begun."""
        for saving in list(self._savings.values()):
            if saving.write is None:
                return
            try:
                fault = saving.write.exception(wait_s())
            except TimeoutError:
                return
            if fault is None:
                del self._savings[saving.partition]
                self._stored.update(saving.changed.tolist())
                self._thin_shelf()
                yield Saved(saving.partition, saving.position, self._clock.monotonic_s() - saving.began_s)
                continue
            with ExitStack() as undo:
                undo.callback(self._give_up)
                if not isinstance(fault, StaleEpochError) or self._store.look(saving.partition) is not None:
                    raise fault
                undo.pop_all()
            del self._savings[saving.partition]
            self._start_anew(saving.partition)
            yield Saved(saving.partition, None, self._clock.monotonic_s() - saving.began_s)

    def _give_up(self) -> None:
        """Leave all saves under way: what they would have saved is still to be saved."""
        for saving in self._savings.values():
            self._ledger.is_dirty[saving.changed] = True
            self._leave(saving)
        self._savings.clear()

    def _leave(self, saving: Saving) -> None:
        """Let a save come to nothing; one that its thread is in the middle of may still come to be, with its epoch."""
        self._is_wanted[saving.handles] = False
        for handle in saving.handles[saving.num_copied :].tolist():
            self._kept.pop(handle, None)
        if saving.write is not None:
            saving.write.cancel()

    def _start_anew(self, partition: Partition) -> None:
        """The store has lost a partition: let all of it be saved anew, with a new epoch."""
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

    def _fetch(self, handles: Sequence[int]) -> None:
        """Bring those rows onto the shelf that only the store has."""
        wanted: dict[tuple[Partition, int], list[int]] = {}
        for handle in handles:
            if handle in self._stored and handle not in self._shelf:
                number = int(self._ledger.number[handle])
                wanted.setdefault((self._ledger.partition_of(handle), number // SHARD_SIZE), []).append(handle)
        for (partition, shard_number), mine in wanted.items():
            places = [int(self._ledger.number[handle]) % SHARD_SIZE for handle in mine]
            keys = [self._ledger.keys[handle] for handle in mine]
            load = partial(stored_rows, self._store, self._slab.layout_id, partition, shard_number, places, keys)
            self._shelf.update(zip(mine, self._patience.call(load, Deadline.after(self._wait_s)), strict=True))

    def _thin_shelf(self) -> None:
        """Leave unchanged rows to the store while the shelf is over its size, the oldest first.

        Not while a save is under way: what it holds is neither changed nor stored.
        """
        excess = len(self._shelf) - self._shelf_rows
        if excess > 0 and not self._savings:
            clean = [handle for handle in self._shelf if handle in self._stored and not self._ledger.is_dirty[handle]]
            for handle in clean[:excess]:
                del self._shelf[handle]


def _slices(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
