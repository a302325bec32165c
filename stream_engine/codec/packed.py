"""Readings and forecasts packed: one message holds an Arrow IPC stream of record batches.

I know nothing of files and topics. A message of readings has a column of sensors (text), of times (a whole
number of the configured unit, or an Arrow timestamp), of values (numbers), and where wanted of channels and
groups (text). Names are shared, not repeated: no Python object is made for each reading. A row that is at fault
spoils its message. Bytes from outside are validated before they are used.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.records import Headers, RecordBatch, SinkRecord
from stream_engine.codec.arrow_messages import is_compressed
from stream_engine.codec.contract import Decoder, Encoder
from stream_engine.codec.draft import (
    MAX_NAME,
    NO_TIMESTAMP,
    Draft,
    Refusals,
    Refused,
    assemble,
    looked_into,
    sensor_names,
    too_long,
)
from stream_engine.codec.envelope import NS_PER_MS, source_headers, source_offsets
from stream_engine.codec.rounding import decimals, rounded
from stream_engine.codec.times import MAX_NS, NS_OF_UNIT, RFC3339, time_ns
from stream_engine.config import ReadingConfig
from stream_engine.records import QUANTILE_LEVELS, Bools, Float64s, ForecastBatch, Int64s, ReadingBatch, Reject, Status

MAX_ROWS = 4_000_000
"""Most readings in one message: a few bytes can claim any number of empty rows."""
MAX_FORECAST_BYTES = 512 * 1024
"""About the size at which packed forecasts are cut into another message."""
_ROW_OVERHEAD_BYTES = 64
_FAULTS = (pa.ArrowException, OSError, ValueError, TypeError, LookupError, MemoryError, OverflowError, struct.error)
"""What Arrow raises on bytes that are not a stream of record batches, or hold together only at first sight."""


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """The readings of one message; groups None where it names none."""

    sensors: list[str]
    channels: list[str]
    groups: list[str] | None
    times_ns: Int64s
    values: Float64s
    valid: Bools | None


class PackedDecoder(Decoder):
    """Arrow IPC streams of readings, their columns named by the configuration."""

    def __init__(self, config: ReadingConfig, max_future_ns: int | None) -> None:
        """Remember the names.

        Args:
            max_future_ns: most that a reading may be ahead of its record, or None for any.
        """
        self._config = config
        self._max_future_ns = max_future_ns

    def decode(self, records: RecordBatch) -> tuple[ReadingBatch, list[Reject]]:
        """See Decoder.decode."""
        refusals = Refusals()
        tables = {}
        for row, value in enumerate(records.values):
            try:
                tables[row] = _table(value, self._config.most_bytes)
            except Refused as refused:
                refusals.refuse(row, refused.reason, str(refused))
        draft = self._together(records, tables, refusals) or self._one_by_one(records, tables, refusals)
        return assemble(records, draft, self._max_future_ns, refusals)

    def _together(self, records: RecordBatch, tables: dict[int, pa.Table], refusals: Refusals) -> Draft | None:
        """All messages as one: many times faster where they are small.

        None where they differ in their columns, need their records' keys or timestamps, or one is at fault.
        """
        config, found = self._config, list(tables.values())
        schema = found[0].schema if found else None
        if len(found) < 2 or not all(table.schema.equals(schema) for table in found):
            return None
        try:
            table = pa.concat_tables(found).unify_dictionaries()
            times, sensors = _column(table, config.time), _column(table, config.sensor)
            if times is None or times.null_count or sensors is None:
                return None
            columns = self._columns(table, records, next(iter(tables)), refusals)
        except (Refused, *_FAULTS):
            return None
        return _joined(tables, [columns])

    def _one_by_one(self, records: RecordBatch, tables: dict[int, pa.Table], refusals: Refusals) -> Draft:
        """Each message by itself; the ones at fault are refused."""
        kept: dict[int, pa.Table] = {}
        parts: list[_Columns] = []
        for row, table in tables.items():
            try:
                parts.append(self._columns(table, records, row, refusals))
                kept[row] = table
            except Refused as refused:
                refusals.refuse(row, refused.reason, str(refused))
            except _FAULTS:
                refusals.refuse(row, "undecodable", "the message holds columns that cannot be read")
        return _joined(kept, parts)

    def _columns(self, table: pa.Table, records: RecordBatch, row: int, refusals: Refusals) -> _Columns:
        """The columns of a message; where it has none, the key and the timestamp of record `row` stand in.

        Raises:
            Refused: it cannot be read.
        """
        config = self._config
        count = table.num_rows
        value = _column(table, config.value)
        if value is None:
            raise Refused("bad_value", f"there is no column '{config.value}' (see reading.value)")
        sensors = _names(_column(table, config.sensor), "no_sensor", config.sensor)
        if sensors is None:
            sensors = sensor_names([None], [row], records, refusals) * count
        elif not all(sensors):
            raise Refused("no_sensor", f"the column '{config.sensor}' has a row without a sensor")
        groups = _names(_column(table, config.group), "schema", config.group)
        channels = _names(_column(table, config.channel), "schema", config.channel)
        return _Columns(
            sensors=sensors,
            channels=channels or [""] * count,
            groups=groups if groups and any(groups) else None,
            times_ns=self._times(_column(table, config.time), count, int(records.timestamps_ns[row])),
            values=_values(value, config.value),
            valid=self._valid(table),
        )

    def _times(self, column: pa.Array | None, count: int, stamp_ns: int) -> Int64s:
        """[count] event times; where there is none, the record's own."""
        name, unit = self._config.time, self._config.time_unit
        if (column is None or column.null_count) and stamp_ns == NO_TIMESTAMP:
            raise Refused("bad_time", f"a row has neither a time in '{name}' nor a record timestamp")
        if column is None:
            return np.full(count, stamp_ns, dtype=np.int64)
        absent = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
        if pa.types.is_timestamp(column.type):
            times = _in_range(column.cast(pa.int64()), NS_OF_UNIT[column.type.unit], name)
        elif pa.types.is_integer(column.type) and unit != RFC3339:
            times = _in_range(column, NS_OF_UNIT[unit], name)
        elif _is_text(column.type) or pa.types.is_floating(column.type):
            times = _each_time(column, unit, name)
        else:
            raise Refused("bad_time", f"the column '{name}' must hold times, not {column.type}")
        return times if absent is None else np.where(absent, stamp_ns, times)

    def _valid(self, table: pa.Table) -> Bools | None:
        condition = self._config.valid_where
        if condition is None:
            return None
        found = {name: _column(table, name) for name in condition.fields}
        columns = {name: _comparable(column) for name, column in found.items() if column is not None}
        return np.broadcast_to(condition.evaluate(columns), (table.num_rows,))


def _table(value: bytes | None, most_bytes: int) -> pa.Table:
    """The message as one table, safe to read.

    Raises:
        Refused: it is empty, too large, or its bytes do not hold together.
    """
    stream = looked_into(value, most_bytes, "an Arrow IPC stream")
    try:
        if is_compressed(stream):
            detail = "the Arrow stream is compressed; send it plain, and let the log's own compression do it"
            raise Refused("schema", detail)
        table = _read(stream)
        table.column_names  # noqa: B018 (raises where a name is not UTF-8)
    except _FAULTS as fault:
        raise Refused("undecodable", "the message is not an Arrow IPC stream of record batches") from fault
    if not table.num_rows:
        raise Refused("undecodable", "the message holds no reading")
    return table


def _read(value: bytes) -> pa.Table:
    batches, count = [], 0
    with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
        schema = reader.schema
        for batch in reader:
            count += batch.num_rows
            if count > MAX_ROWS:
                raise Refused("too_large", f"the message has over {MAX_ROWS} rows; send several")
            batch.validate(full=True)
            batches.append(batch)
    return pa.Table.from_batches(batches, schema)


def _column(table: pa.Table, name: str) -> pa.Array | None:
    """A column in one piece, or None where it is absent or holds nothing but nulls of no type."""
    found = table.column_names.count(name)
    if found > 1:
        raise Refused("schema", f"the column '{name}' stands twice")
    if not found:
        return None
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return None if pa.types.is_null(column.type) else column


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _names(column: pa.Array | None, reason: str, name: str) -> list[str] | None:
    """The names in a column, each text shared by its rows, "" for null; None without the column.

    Raises:
        Refused: with `reason` where it holds no text, or for a name that is too long.
    """
    if column is None:
        return None
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    if not _is_text(column.type.value_type):
        raise Refused(reason, f"the column '{name}' must hold text, not {column.type.value_type}")
    texts = [text or "" for text in column.dictionary.to_pylist()] + [""]
    longest = max(texts, key=len)
    if len(longest) > MAX_NAME:
        raise Refused("too_large", too_long(f"longest name in the column '{name}'", longest))
    known = np.array(texts, dtype=object)
    indices = column.indices.fill_null(len(known) - 1) if column.indices.null_count else column.indices
    return known[indices.to_numpy()].tolist()  # type: ignore[no-any-return]


def _values(column: pa.Array, name: str) -> Float64s:
    """[n] numbers, NaN for null.

    Raises:
        Refused: the column holds no numbers, or an infinite one.
    """
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise Refused("bad_value", f"the column '{name}' must hold numbers, not {kind}")
    numbers = column.cast(pa.float64(), safe=False)
    values = (numbers.fill_null(np.nan) if numbers.null_count else numbers).to_numpy()
    if np.isinf(values).any():
        raise Refused("bad_value", f"the column '{name}' has an infinite number; send null for no reading")
    return values  # type: ignore[no-any-return]


def _in_range(column: pa.Array, unit_ns: int, name: str) -> Int64s:
    if pa.types.is_unsigned_integer(column.type):
        largest = pc.max(column).as_py()
        if largest is not None and largest > MAX_NS:
            raise Refused("bad_time", f"the column '{name}' has a time after the year 2262 (see reading.time_unit)")
    times = column.cast(pa.int64()).fill_null(0).to_numpy()
    if len(times) and (times.max() > MAX_NS // unit_ns or times.min() < -(MAX_NS // unit_ns)):
        raise Refused("bad_time", f"the column '{name}' has a time beyond 1678 to 2262 (see reading.time_unit)")
    return times * unit_ns  # type: ignore[no-any-return]


def _each_time(column: pa.Array, unit: str, name: str) -> Int64s:
    """Times one by one: text, or numbers with a fraction."""
    try:
        times = [0 if time is None else time_ns(time, unit) for time in column.to_pylist()]
    except ValueError as error:
        raise Refused("bad_time", f"a time in the column '{name}' {error}") from error
    return np.array(times, dtype=np.int64)


def _comparable(column: pa.Array) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """A column as an array that conditions can read."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    is_number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if is_number:
        return column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy()  # type: ignore[no-any-return]
    found = np.empty(len(column), dtype=object)
    if _is_text(column.type) or pa.types.is_boolean(column.type):
        found[:] = column.to_pylist()
    return found


def _joined(tables: dict[int, pa.Table], parts: Sequence[_Columns]) -> Draft:
    """The columns of all messages, end to end; tables names the row that each message's readings came in."""
    has_groups = any(part.groups is not None for part in parts)
    has_condition = any(part.valid is not None for part in parts)
    groups = _chained([part.groups or [""] * len(part.sensors) for part in parts]) if has_groups else None
    return Draft(
        rows=np.repeat(
            np.fromiter(tables, dtype=np.int64, count=len(tables)), [table.num_rows for table in tables.values()]
        ),
        sensors=_chained([part.sensors for part in parts]),
        channels=_chained([part.channels for part in parts]),
        groups=groups,
        times_ns=np.concatenate([np.zeros(0, np.int64), *(part.times_ns for part in parts)]),
        values=np.concatenate([np.zeros(0), *(part.values for part in parts)]),
        valid=np.concatenate([part.valid for part in parts if part.valid is not None]) if has_condition else None,
    )


def _chained(lists: list[list[str]]) -> list[str]:
    return lists[0] if len(lists) == 1 else list(chain.from_iterable(lists))


class PackedEncoder(Encoder):
    """Arrow IPC streams of forecasts: a message holds many, all of one source partition.

    Its key is the source partition (`topic/number`), its offset header that of the newest record in it; each
    row names its own. Times are whole milliseconds, as in JSON.
    """

    def __init__(self, model: str) -> None:
        """Prepare what all messages share.

        Args:
            model: `name@version`.
        """
        self._model = model
        version = model.rpartition("@")[2].encode()
        self._tail: Headers = (
            ("model-version", version),
            ("content-type", b"application/vnd.apache.arrow.stream"),
        )

    def encode(self, forecasts: ForecastBatch) -> list[SinkRecord]:
        """See Encoder.encode; forecasts of one source stay in order."""
        if not len(forecasts):
            return []
        num_numbers = forecasts.horizon * (1 + len(QUANTILE_LEVELS))
        most = max(1, MAX_FORECAST_BYTES // (num_numbers * 8 + _ROW_OVERHEAD_BYTES))
        packed = self._packed(forecasts)
        offsets = source_offsets(forecasts)
        records = []
        for number, batch in enumerate(forecasts.sources):
            here = np.flatnonzero(forecasts.source == number)
            for start in range(0, len(here), most):
                chosen = here[start : start + most]
                first, last = int(offsets[chosen].min()), int(offsets[chosen].max())
                headers = (
                    ("forecast-id", f"{batch.partition}|{first}-{last}|{start}|{self._model}".encode()),
                    *source_headers(batch),
                    ("source-offset", b"%d" % last),
                    *self._tail,
                )
                records.append(
                    SinkRecord(str(batch.partition).encode(), _stream(packed.take(pa.array(chosen))), headers)
                )
        return records

    def _packed(self, forecasts: ForecastBatch) -> pa.RecordBatch:
        places = decimals(forecasts.scale, np.abs(forecasts.mean).max(axis=1))
        quantiles = rounded(forecasts.quantiles, places)
        states = pa.DictionaryArray.from_arrays(
            pa.array(forecasts.status, pa.int8()), pa.array([status.text for status in Status])
        )
        columns = {
            "sensor": pa.array(list(forecasts.sensors), pa.string()),
            "channel": pa.array(list(forecasts.channels), pa.string()),
            "origin": pa.array(forecasts.origins_ns // NS_PER_MS),
            "last_reading": pa.array(forecasts.last_readings_ns // NS_PER_MS),
            "cadence_ms": pa.array(forecasts.cadences_ns / NS_PER_MS),
            "mean": _curves(rounded(forecasts.mean, places)),
            **{str(level): _curves(quantiles[:, index]) for index, level in enumerate(QUANTILE_LEVELS)},
            "scale": pa.array(rounded(forecasts.scale, places)),
            "status": states,
            "source_offset": pa.array(source_offsets(forecasts)),
        }
        return pa.record_batch(columns).replace_schema_metadata({"model": self._model})


def _curves(numbers: Float64s) -> pa.Array:
    """[n, horizon] as a column of lists of one length."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(numbers).ravel()), numbers.shape[1])


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]
