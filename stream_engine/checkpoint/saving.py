"""One partition's checkpoint on its way: the moment it holds, what of it is copied, and its write by a thread.

    begun ── rows are copied, slice by slice, or one before it changes ──▶ copied ── written by a thread ──▶ ended

The rows that come together are those of the moment it began at, however far the state has moved on since. I know
nothing of slots, and of what becomes of a write that fails.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.contracts import StateStore
from connectors.errors import StoredStateError
from connectors.records import Epoch, Partition, Position, StateBlob, StateWrite
from stream_engine.checkpoint.shards import Shard, decode_shard, encode_shard
from stream_engine.records import Bools, Int64s, SeriesKey


@dataclass(slots=True, eq=False)
class Saving:
    """One partition's checkpoint, from its begin to the end of its write.

    Attributes:
        partition, epoch, position: whose, by which right, and the moment.
        began_s: when.
        meta, layout_id: of what is written.
        shards: number -> its place among the series below; those that something has changed in, and whether these
            are all.
        changed: handles of the series that have changed.
        handles, entries: [n] the series of those shards, shard after shard, and theirs at that moment.
        num_copied: of how many of them, in order, the following are there.
        keys, rows: [n], [n, floats] theirs; is_known: [n], False where only the store has the row.
        write: the thread's work, once all is copied.
    """

    partition: Partition
    epoch: Epoch
    position: Position
    began_s: float
    meta: bytes
    layout_id: str
    shards: dict[int, slice]
    is_full: bool
    changed: Int64s
    handles: Int64s
    entries: NDArray[np.void]
    keys: list[SeriesKey]
    rows: NDArray[np.float32]
    is_known: Bools
    num_copied: int = 0
    write: Future[None] | None = None

    def submit(self, store: StateStore, writer: Executor) -> None:
        """Let the writer's thread write it."""
        self.write = writer.submit(self._write, store)

    def _write(self, store: StateStore) -> None:
        """Read back the rows that only the store has, which have not changed since; then save."""
        for number, place in self.shards.items():
            missing = np.flatnonzero(~self.is_known[place])
            if len(missing):
                rows = np.arange(place.start, place.stop)[missing]
                keys = [self.keys[row] for row in rows.tolist()]
                self.rows[rows] = stored_rows(store, self.layout_id, self.partition, number, missing.tolist(), keys)
        store.save(self.partition, self.epoch, StateWrite(self.meta, _Blobs(self), self.is_full))


class _Blobs(Mapping[int, StateBlob]):
    """A saving's shards, each packed when it is asked for: all at a time would fill the memory."""

    def __init__(self, saving: Saving) -> None:
        self._saving = saving

    def __len__(self) -> int:
        return len(self._saving.shards)

    def __iter__(self) -> Iterator[int]:
        return iter(self._saving.shards)

    def __getitem__(self, number: int) -> StateBlob:
        saving = self._saving
        mine = saving.shards[number]
        return encode_shard(saving.layout_id, Shard(saving.keys[mine], saving.entries[mine], saving.rows[mine]))


def stored_rows(
    store: StateStore,
    layout_id: str,
    partition: Partition,
    shard_number: int,
    rows: Sequence[int],
    keys: Sequence[SeriesKey],
) -> NDArray[np.float32]:
    """Some rows of a stored shard, [len(rows), floats]; keys: whose they must be.

    Raises:
        StoredStateError: it is missing, or holds others.
    """
    blob = store.load(partition, [shard_number])[0]
    if blob is None:
        raise StoredStateError(
            f"{partition}: stored shard {shard_number} is missing; start again, and the state is rebuilt from the log"
        )
    shard = decode_shard(layout_id, blob)
    if [shard.keys[row] if row < len(shard.keys) else None for row in rows] != list(keys):
        raise StoredStateError(
            f"{partition}: stored shard {shard_number} holds other series than were stored; start again, and the "
            "state is rebuilt from the log"
        )
    return shard.rows[list(rows)]
