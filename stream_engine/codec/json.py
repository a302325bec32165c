"""Readings and forecasts as JSON, one object a message; a bad message is isolated and told why.

I know nothing of topics and sensors' states. Messages are parsed one at a time into structs of the fields
that are read and nothing else; the structs' columns become arrays at the end.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import orjson
from msgspec import UNSET, UnsetType

from connectors.records import RecordBatch, SinkRecord
from stream_engine.codec.contract import Decoder, Encoder
from stream_engine.codec.draft import Draft, Refusals, assemble, check_lengths, event_times, sensor_names
from stream_engine.codec.envelope import NS_PER_MS, ForecastEnvelope
from stream_engine.codec.rounding import decimals, rounded
from stream_engine.codec.times import RFC3339
from stream_engine.config import ReadingConfig
from stream_engine.records import QUANTILE_LEVELS, Bools, Float64s, ForecastBatch, Int64s, ReadingBatch, Reject, Status

_STATUS = [status.text for status in Status]
_LOW, _MEDIAN, _HIGH = QUANTILE_LEVELS
_SCALARS = (str, bool, int, float)
_FAULTS = (ValueError, TypeError, RecursionError)
"""What parsing bytes can raise: msgspec's own faults are ValueErrors."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message: its name, what it may hold, and why a record is refused where it holds another."""

    attribute: str
    name: str
    kind: Any
    default: Any
    reason: str
    wanted: str


class JsonDecoder(Decoder):
    """One JSON object a message, its fields named by the configuration."""

    def __init__(self, config: ReadingConfig, max_future_ns: int | None) -> None:
        """Compile the parser for the configured names.

        Args:
            max_future_ns: most that a reading may be ahead of its record, or None for any.
        """
        self._config = config
        self._max_future_ns = max_future_ns
        self._fields = _fields(config)
        self._attributes = {field.name: field.attribute for field in self._fields}
        message = msgspec.defstruct(
            "Message",
            [(field.attribute, field.kind, field.default) for field in self._fields],
            rename={field.attribute: field.name for field in self._fields},
            gc=False,
        )
        self._parse = msgspec.json.Decoder(message).decode
        self._parse_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._parse_field = {field.name: msgspec.json.Decoder(field.kind).decode for field in self._fields}

    def decode(self, records: RecordBatch) -> tuple[ReadingBatch, list[Reject]]:
        """See Decoder.decode."""
        refusals = Refusals()
        messages, rows = self._messages(records, refusals)
        sensors = sensor_names([message.sensor for message in messages], rows, records, refusals)
        times_ns = event_times([message.time for message in messages], self._config.time_unit, rows, records, refusals)
        groups = [message.group or "" for message in messages]
        check_lengths("sensor", sensors, rows, refusals)
        check_lengths("group", groups, rows, refusals)
        draft = Draft(
            rows=np.array(rows, dtype=np.int64),
            sensors=sensors,
            channels=[""] * len(messages),
            groups=groups if any(groups) else None,
            times_ns=times_ns,
            values=np.zeros(0),
            valid=self._valid(messages),
        )
        return assemble(records, _with_values(draft, messages, refusals), self._max_future_ns, refusals)

    def _messages(self, records: RecordBatch, refusals: Refusals) -> tuple[list[Any], list[int]]:
        """The messages that could be parsed, and their rows."""
        parse, most = self._parse, self._config.most_bytes
        messages: list[Any] = []
        refused: list[int] = []
        for row, value in enumerate(records.values):
            try:
                if len(value) > most:  # type: ignore[arg-type]
                    detail = f"the message has {len(value)} bytes; at most {most} are read (reading.max_bytes)"  # type: ignore[arg-type]
                    refusals.refuse(row, "too_large", detail)
                    refused.append(row)
                else:
                    messages.append(parse(value))  # type: ignore[arg-type]
            except _FAULTS:
                self._explain(row, value, refusals)
                refused.append(row)
        if not refused:
            return messages, list(range(len(messages)))
        gone = set(refused)
        return messages, [row for row in range(len(records)) if row not in gone]

    def _explain(self, row: int, value: bytes | None, refusals: Refusals) -> None:
        """Refuse a message that could not be parsed, for the first of its fields that is at fault."""
        if not value:
            what = "has no value (a tombstone)" if value is None else "is empty"
            refusals.refuse(row, "undecodable", f"the message {what}; send one JSON object")
            return
        try:
            raw = self._parse_raw(value)
        except msgspec.ValidationError:
            refusals.refuse(row, "undecodable", "the message is not a JSON object")
            return
        except _FAULTS as fault:
            name = _field_without_number(value)
            culprit = next((field for field in self._fields if field.name == name), None)
            if culprit is not None:
                detail = (
                    f"'{name}' holds NaN or Infinity, which JSON does not have; send null where there is no reading"
                )
                refusals.refuse(row, culprit.reason, detail)
            else:
                refusals.refuse(row, "undecodable", _not_json(fault))
            return
        for field in self._fields:
            if field.name in raw:
                self._explain_field(row, field, raw[field.name], refusals)
        refusals.refuse(row, "undecodable", "the message cannot be read as JSON")

    def _explain_field(self, row: int, field: _Field, raw: msgspec.Raw, refusals: Refusals) -> None:
        try:
            self._parse_field[field.name](raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            if isinstance(fault, msgspec.ValidationError):
                refusals.refuse(row, field.reason, f"'{field.name}' must be {field.wanted}")
            else:
                refusals.refuse(row, "undecodable", f"'{field.name}': {_not_json(fault)}")
        except _FAULTS:  # a number with more digits than Python reads
            refusals.refuse(row, field.reason, f"'{field.name}' must be {field.wanted}")

    def _valid(self, messages: Sequence[Any]) -> Bools | None:
        """[messages] whether reading.valid_where holds, or None without it."""
        condition = self._config.valid_where
        if condition is None:
            return None
        columns = {}
        for name in condition.fields:
            column = np.empty(len(messages), dtype=object)
            column[:] = _scalars(messages, self._attributes[name], name)
            columns[name] = column
        return np.broadcast_to(condition.evaluate(columns), (len(messages),))


def _fields(config: ReadingConfig) -> list[_Field]:
    """The fields that are read, in the order in which their faults are looked for."""
    is_text_time = config.time_unit == RFC3339
    time = (
        (str | None, "RFC 3339 text")
        if is_text_time
        else (int | float | None, "a finite number (see reading.time_unit)")
    )
    number = float | None
    roles = [
        _Field("sensor", config.sensor, str | int | None, None, "no_sensor", "text or a whole number"),
        _Field("time", config.time, time[0], None, "bad_time", time[1]),
        _Field("value", config.value, number | UnsetType, UNSET, "bad_value", "a finite number or null"),
        _Field(
            "values",
            config.values,
            dict[str, number] | None,
            None,
            "bad_value",
            "an object of finite numbers or nulls",
        ),
        _Field("group", config.group, str | None, None, "schema", "text"),
    ]
    names = {field.name for field in roles}
    conditions = config.valid_where.fields if config.valid_where else ()
    extra = [name for name in conditions if name not in names]
    return roles + [
        _Field(f"extra_{index}", name, Any, None, "bad_value", "a number that a double can hold")
        for index, name in enumerate(extra)
    ]


def _with_values(draft: Draft, messages: Sequence[Any], refusals: Refusals) -> Draft:
    """The draft with its values: one entry a message becomes one a channel."""
    if not any(message.values is not None for message in messages):
        values = [message.value for message in messages]
        if UNSET in values:
            _refuse_without_value(draft, values, refusals)
            values = [None if value is UNSET else value for value in values]
        return _spread(draft, None, draft.channels, np.array(values, dtype=np.float64))
    counts: list[int] = []
    channels: list[str] = []
    flat: list[float | None] = []
    for row, message in zip(draft.rows.tolist(), messages, strict=True):
        readings = _readings(message)
        if not readings:
            refusals.refuse(row, "bad_value", "there is no value; send a number or null (see reading.value)")
        counts.append(len(readings))
        channels.extend(channel for channel, _ in readings)
        flat.extend(value for _, value in readings)
    spread = _spread(draft, np.array(counts, dtype=np.int64), channels, np.array(flat, dtype=np.float64))
    check_lengths("channel", channels, spread.rows.tolist(), refusals)
    return spread


def _refuse_without_value(draft: Draft, values: Sequence[object], refusals: Refusals) -> None:
    for row, value in zip(draft.rows.tolist(), values, strict=True):
        if value is UNSET:
            refusals.refuse(row, "bad_value", "there is no value; send a number or null (see reading.value)")


def _readings(message: Any) -> list[tuple[str, float | None]]:
    """Channel and value of each reading in a message: `value` stands for the channel without a name."""
    channels = message.values or {}
    is_alone = message.value is not UNSET and (message.value is not None or not channels)
    return [("", message.value), *channels.items()] if is_alone else list(channels.items())


def _spread(draft: Draft, counts: Int64s | None, channels: Sequence[str], values: Float64s) -> Draft:
    """Repeat each entry counts times (None: once)."""
    if counts is None:
        indices = None
        rows, times_ns, valid = draft.rows, draft.times_ns, draft.valid
        sensors, groups = draft.sensors, draft.groups
    else:
        indices = np.repeat(np.arange(len(counts)), counts)
        rows, times_ns = draft.rows[indices], draft.times_ns[indices]
        valid = None if draft.valid is None else draft.valid[indices]
        order = indices.tolist()
        sensors = [draft.sensors[index] for index in order]
        groups = None if draft.groups is None else [draft.groups[index] for index in order]
    return Draft(rows, sensors, channels, groups, times_ns, values, valid)


def _scalars(messages: Sequence[Any], attribute: str, name: str) -> list[object]:
    """A field of each message, else its channel of that name; None where it is absent or no scalar."""
    found = list(map(attrgetter(attribute), messages))
    for index, message in enumerate(messages):
        if message.values and (found[index] is None or found[index] is UNSET):
            found[index] = message.values.get(name)
    return [value if type(value) in _SCALARS else None for value in found]


def _field_without_number(value: bytes) -> str | None:
    """The first field that holds NaN or Infinity in what would be an object but for them; None where it would not."""
    if b"NaN" not in value and b"Infinity" not in value:
        return None
    try:
        content = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    return next((name for name, held in content.items() if not _is_finite(held)), None)


def _is_finite(held: object) -> bool:
    """Whether a value, or every channel of one, is finite; what is no number is."""
    parts = held.values() if isinstance(held, dict) else (held,)
    return all(math.isfinite(part) for part in parts if isinstance(part, float))


def _not_json(fault: Exception) -> str:
    if isinstance(fault, UnicodeDecodeError):
        return "the text is not UTF-8"
    if isinstance(fault, RecursionError):
        return "the message is nested too deeply"
    return f"the message is not one JSON object ({str(fault)[:120]})"


class JsonEncoder(Encoder):
    """One JSON object a forecast.

    The numbers of a whole batch are written in one call and cut apart at their brackets: a call a forecast
    costs more than its numbers do.
    """

    def __init__(self, model: str) -> None:
        """Prepare what all messages share.

        Args:
            model: `name@version`.
        """
        self._model = model
        self._envelope = ForecastEnvelope(model, "application/json")

    def encode(self, forecasts: ForecastBatch) -> list[SinkRecord]:
        """See Encoder.encode."""
        if not len(forecasts):
            return []
        places = decimals(forecasts.scale, np.abs(forecasts.mean).max(axis=1))
        fixed = f'"horizon":{forecasts.horizon},"model":{quoted(self._model)},"mean":['
        to_low, to_median, to_high = f'],"quantiles":{{"{_LOW}":[', f'],"{_MEDIAN}":[', f'],"{_HIGH}":['
        quantiles = rounded(forecasts.quantiles, places)
        bodies = [
            (
                f'{{"sensor":{quoted(sensor)}{_channel(channel) if channel else ""},"origin":{origin},'
                f'"last_reading":{last_reading},"cadence_ms":{cadence},{fixed}{mean}{to_low}{low}{to_median}{median}'
                f'{to_high}{high}]}},"scale":{scale},"status":"{_STATUS[status]}"}}'
            ).encode()
            for sensor, channel, origin, last_reading, cadence, mean, low, median, high, scale, status in zip(
                forecasts.sensors,
                forecasts.channels,
                (forecasts.origins_ns // NS_PER_MS).tolist(),
                (forecasts.last_readings_ns // NS_PER_MS).tolist(),
                _milliseconds(forecasts.cadences_ns),
                _rows(rounded(forecasts.mean, places)),
                _rows(quantiles[:, 0]),
                _rows(quantiles[:, 1]),
                _rows(quantiles[:, 2]),
                _dumped(rounded(forecasts.scale, places))[1:-1].split(","),
                forecasts.status.tolist(),
                strict=True,
            )
        ]
        return self._envelope.wrap(forecasts, bodies)


def _channel(name: str) -> str:
    return f',"channel":{quoted(name)}'


def _rows(numbers: Float64s) -> list[str]:
    """Each row of [n, h] as it stands between its brackets."""
    return _dumped(numbers)[2:-2].split("],[")


def _dumped(numbers: Float64s) -> str:
    """A JSON array of arrays of numbers, without blanks; null for what is not finite."""
    return orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _milliseconds(lengths_ns: Int64s) -> list[int] | list[float]:
    """Whole milliseconds where all are whole, else with their fraction."""
    whole = lengths_ns // NS_PER_MS
    return (whole if (whole * NS_PER_MS == lengths_ns).all() else lengths_ns / NS_PER_MS).tolist()  # type: ignore[no-any-return]
