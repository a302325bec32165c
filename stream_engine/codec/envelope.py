"""Keys and headers of outgoing records: of a forecast, and of a dead letter.

I know nothing of how a forecast's body is written.
"""

from collections.abc import Sequence

import numpy as np

from connectors.records import Headers, RecordBatch, SinkRecord
from stream_engine.records import ForecastBatch, Int64s, Reject

NS_PER_MS = 1_000_000
DEAD_LETTER_HEADERS = ("reason", "detail", "source-topic", "source-partition", "source-offset", "truncated")
RECORD_OVERHEAD_BYTES = 96
"""Room left for what a log adds to a record's key, value and headers."""
MAX_TRACE_BYTES = 512
HEADER_OVERHEAD_BYTES = 8
"""The same for each header."""


class ForecastEnvelope:
    """Key and headers of forecasts of one model, one record a forecast; lives as long as its encoder."""

    def __init__(self, model: str, content_type: str) -> None:
        """Prepare what all records share.

        Args:
            model: `name@version`.
        """
        self._model = model
        version = model.rpartition("@")[2]
        self._tail = (("model-version", version.encode()), ("content-type", content_type.encode()))

    def wrap(self, forecasts: ForecastBatch, bodies: Sequence[bytes]) -> list[SinkRecord]:
        """One record for each forecast and its body: the input's key, else the sensor, and the headers."""
        fixed = [(*source_headers(batch), *self._tail) for batch in forecasts.sources]
        keys = [batch.keys for batch in forecasts.sources]
        model = self._model
        records = [
            SinkRecord(
                sensor.encode() if (key := keys[source][row]) is None else key,
                body,
                (
                    ("forecast-id", f"{_part(sensor)}|{_part(channel)}|{origin}|{model}".encode()),
                    ("source-offset", b"%d" % offset),
                )
                + fixed[source],
            )
            for sensor, channel, origin, source, row, offset, body in zip(
                forecasts.sensors,
                forecasts.channels,
                (forecasts.origins_ns // NS_PER_MS).tolist(),
                forecasts.source.tolist(),
                forecasts.rows.tolist(),
                source_offsets(forecasts).tolist(),
                bodies,
                strict=True,
            )
        ]
        if all(batch.headers is None for batch in forecasts.sources):
            return records
        return [
            record._replace(headers=(*record.headers, *trace)) if trace else record
            for record, trace in zip(records, _traces(forecasts), strict=True)
        ]


def _part(name: str) -> str:
    """A name as a part of a forecast-id: the sign that parts, and the one that quotes it, are quoted."""
    if "|" in name or "%" in name:
        return name.replace("%", "%25").replace("|", "%7C")
    return name


def source_headers(records: RecordBatch) -> tuple[tuple[str, bytes], ...]:
    """The headers that name a batch's partition."""
    topic, number = records.partition
    return (("source-topic", topic.encode(errors="replace")), ("source-partition", b"%d" % number))


def source_offsets(forecasts: ForecastBatch) -> Int64s:
    """[n] offset of the record that each forecast's reading came in."""
    offsets = np.zeros(len(forecasts), np.int64)
    for number, batch in enumerate(forecasts.sources):
        is_here = forecasts.source == number
        offsets[is_here] = batch.offsets[forecasts.rows[is_here]]
    return offsets


def _traces(forecasts: ForecastBatch) -> list[Headers]:
    """[n] the traceparent header of each forecast's record, where it has one."""
    traces: list[Headers] = []
    for source, row in zip(forecasts.source.tolist(), forecasts.rows.tolist(), strict=True):
        headers = forecasts.sources[source].headers
        found = (headers[row] if headers is not None else None) or ()
        traces.append(tuple(one for one in found if one[0] == "traceparent" and _is_short(one[1]))[:1])
    return traces


def _is_short(trace: bytes | None) -> bool:
    """Whether a trace may be passed on; W3C's are 55 bytes."""
    return trace is not None and len(trace) <= MAX_TRACE_BYTES


def encode_dead_letters(records: RecordBatch, rejects: Sequence[Reject], max_record_bytes: int) -> list[SinkRecord]:
    """The rejected records, key, value and own headers untouched, with headers that say why and whence.

    One that would exceed max_record_bytes has its value cut, and a header `truncated` with the value's
    length in bytes; where that is not enough, its own headers go too, and at last its key is cut.
    """
    return [_dead_letter(records, reject, max_record_bytes) for reject in rejects]


def _dead_letter(records: RecordBatch, reject: Reject, max_record_bytes: int) -> SinkRecord:
    key, value = records.keys[reject.row], records.values[reject.row]
    why: Headers = (
        ("reason", reject.reason.encode()),
        ("detail", reject.detail.encode(errors="replace")),
        *source_headers(records),
        ("source-offset", b"%d" % int(records.offsets[reject.row])),
    )
    found = (records.headers[reject.row] if records.headers is not None else None) or ()
    own = tuple(header for header in found if header[0] not in DEAD_LETTER_HEADERS)
    room = max_record_bytes - RECORD_OVERHEAD_BYTES
    if _num_bytes(key, value, own) + _num_bytes(None, None, why) <= room:
        return SinkRecord(key, value, (*own, *why))
    why = (*why, ("truncated", b"%d" % len(value or b"")))
    room -= _num_bytes(None, None, why)
    if _num_bytes(key, None, own) > room:
        own = ()
    if key is not None:
        key = key[: max(0, room - _num_bytes(None, None, own))]
    left = max(0, room - _num_bytes(key, None, own))
    return SinkRecord(key, None if value is None else value[:left], (*own, *why))


def _num_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    size = len(key or b"") + len(value or b"")
    for name, content in headers:
        size += len(name.encode(errors="replace")) + len(content or b"") + HEADER_OVERHEAD_BYTES
    return size
