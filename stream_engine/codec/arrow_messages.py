"""Looks into the headers of an Arrow IPC stream before anything of it is unpacked.

I know nothing of readings. A compressed buffer says itself how large it will be, so a few bytes can ask for any
amount of memory; Arrow's Python interface unpacks without a bound, so compressed streams are told apart here.
The tables are flatbuffers (format/Message.fbs of Apache Arrow): a table begins with the distance back to its
vtable, which holds the places of its fields.
"""

import struct

import pyarrow as pa

_HEADER_TYPE, _HEADER = 1, 2
"""Fields of Message."""
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3
"""Values of Message.header_type."""
_DICTIONARY_DATA = 1
"""Field of DictionaryBatch: its RecordBatch."""
_COMPRESSION = 3
"""Field of RecordBatch; absent where its buffers are as they are."""


def is_compressed(stream: bytes) -> bool:
    """Whether any batch of an IPC stream has compressed buffers.

    Raises:
        pa.ArrowException, struct.error: the bytes are no such stream.
    """
    return any(_has_compression(message.metadata.to_pybytes()) for message in pa.ipc.MessageReader.open_stream(stream))


def _has_compression(metadata: bytes) -> bool:
    message = _at(metadata, "<I", 0)
    kind_place, header_place = _field(metadata, message, _HEADER_TYPE), _field(metadata, message, _HEADER)
    if kind_place is None or header_place is None:
        return False
    kind, batch = metadata[kind_place], _follow(metadata, header_place)
    if kind == _DICTIONARY_BATCH:
        data_place = _field(metadata, batch, _DICTIONARY_DATA)
        if data_place is None:
            return False
        batch = _follow(metadata, data_place)
    elif kind != _RECORD_BATCH:
        return False
    return _field(metadata, batch, _COMPRESSION) is not None


def _field(metadata: bytes, table: int, number: int) -> int | None:
    """Where a table's field stands, or None where it is left out."""
    vtable = table - _at(metadata, "<i", table)
    size = _at(metadata, "<H", vtable)
    entry = 4 + 2 * number
    distance = _at(metadata, "<H", vtable + entry) if entry + 2 <= size else 0
    return table + distance if distance else None


def _follow(metadata: bytes, place: int) -> int:
    return place + _at(metadata, "<I", place)


def _at(metadata: bytes, form: str, place: int) -> int:
    return int(struct.unpack_from(form, metadata, place)[0])
