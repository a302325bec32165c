"""One shard of stored state as bytes: keys, ledger entries and state rows of up to SHARD_SIZE series.

    magic · format version · checksum of all that follows · header length · header (JSON) · entries · rows

I know nothing of stores, partitions or tensors. A blob that was torn, flipped or written by another
layout is refused, never read wrongly.
"""

import struct
import zlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from connectors.errors import StoredStateError
from stream_engine.checkpoint.meta import JSON_FAULTS, Natural
from stream_engine.records import SeriesKey
from stream_engine.slots import RECENT, stored_dtype

SHARD_SIZE = 128
MAGIC = b"SESH"
FORMAT = 1
PREFIX = struct.Struct("<4sHII")


class _Header(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What stands before the arrays of a shard; is_merging: which `stored_dtype` its entries have."""

    layout: str
    floats: Natural
    keys: list[tuple[str, str]]
    is_merging: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """The series of one shard, in the order of their numbers.

    Attributes:
        keys: [n] (sensor, channel).
        entries: [n] of `stored_dtype`.
        rows: [n, floats] float32 state.
    """

    keys: list[SeriesKey]
    entries: NDArray[np.void]
    rows: NDArray[np.float32]


def encode_shard(layout_id: str, shard: Shard) -> bytes:
    """The shard as bytes."""
    is_merging = RECENT in (shard.entries.dtype.names or ())
    header = msgspec.json.encode(_Header(layout_id, int(shard.rows.shape[1]), shard.keys, is_merging))
    arrays = (np.ascontiguousarray(shard.entries), np.ascontiguousarray(shard.rows))
    parts: list[bytes | memoryview] = [header, *(array.view(np.uint8).data for array in arrays)]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join([PREFIX.pack(MAGIC, FORMAT, checksum, len(header)), *parts])


def decode_shard(layout_id: str, blob: bytes) -> Shard:
    """The shard those bytes hold; its arrays are views of them.

    Raises:
        StoredStateError: the bytes are torn, flipped, or of another format or layout.
    """
    if len(blob) < PREFIX.size:
        raise StoredStateError(f"a stored shard of {len(blob)} bytes is torn; its partition is rebuilt from the log")
    magic, version, checksum, header_bytes = PREFIX.unpack_from(blob)
    if magic != MAGIC or version != FORMAT:
        raise StoredStateError(f"a stored shard has format {magic!r} {version}, wanted {MAGIC!r} {FORMAT}")
    body = memoryview(blob)[PREFIX.size :]
    if zlib.crc32(body) != checksum:
        raise StoredStateError("a stored shard does not match its checksum; its partition is rebuilt from the log")
    try:
        header = msgspec.json.decode(body[:header_bytes], type=_Header)
    except JSON_FAULTS as error:
        raise StoredStateError(f"a stored shard's header cannot be read: {error}") from error
    if header.layout != layout_id:
        raise StoredStateError(f"a stored shard has state layout {header.layout!r}, wanted {layout_id!r}")
    num, dtype = len(header.keys), stored_dtype(header.is_merging)
    wanted = num * (dtype.itemsize + 4 * header.floats)
    if len(body) - header_bytes != wanted:
        raise StoredStateError(f"a stored shard has {len(body) - header_bytes} bytes of state, wanted {wanted}")
    entries = np.frombuffer(body, dtype, num, header_bytes)
    rows = np.frombuffer(body, np.float32, num * header.floats, header_bytes + entries.nbytes)
    return Shard(header.keys, entries, rows.reshape(num, header.floats))
