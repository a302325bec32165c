"""Readings and forecasts as JSON, one object a message; a bad message is isolated and told why.

I know nothing of topics and sensors' states. Messages are parsed one at a time into structs of the fields
that are read and nothing else; the structs' columns become arrays at the end.
"""

import json
import math
from json.encoder import encode_basestring as quoted
from typing import Any

import msgspec
import numpy as np
import orjson

from connectors.records import RecordBatch, SinkRecord
from stream_engine.codec.contract import Decoder, Encoder
from stream_engine.codec.draft import Refusals
from stream_engine.codec.envelope import NS_PER_MS, ForecastEnvelope
from stream_engine.codec.objects import ObjectField, Objects
from stream_engine.codec.rounding import decimals, rounded
from stream_engine.config import ReadingConfig
from stream_engine.records import QUANTILE_LEVELS, Float64s, ForecastBatch, Int64s, ReadingBatch, Reject, Status

_STATUS = [status.text for status in Status]
_LOW, _MEDIAN, _HIGH = QUANTILE_LEVELS
_FAULTS = (ValueError, TypeError, RecursionError)
"""What parsing bytes can raise: msgspec's own faults are ValueErrors."""


class JsonDecoder(Decoder):
    """One JSON object a message, its fields named by the configuration."""

    def __init__(self, config: ReadingConfig, max_future_ns: int | None) -> None:
        """Compile the parser for the configured names.

        Args:
            max_future_ns: most that a reading may be ahead of its record, or None for any.
        """
        self._config = config
        self._objects = Objects(config, max_future_ns)
        self._parse = msgspec.json.Decoder(self._objects.message).decode
        self._parse_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self._parse_field = {field.name: msgspec.json.Decoder(field.kind).decode for field in self._objects.fields}

    def decode(self, records: RecordBatch) -> tuple[ReadingBatch, list[Reject]]:
        """See Decoder.decode."""
        refusals = Refusals()
        messages, rows = self._messages(records, refusals)
        return self._objects.readings(records, messages, rows, refusals)

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
                    value.isascii() or value.decode()  # type: ignore[union-attr]
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
            culprit = next((field for field in self._objects.fields if field.name == name), None)
            if culprit is not None:
                detail = (
                    f"'{name}' holds NaN or Infinity, which JSON does not have; send null where there is no reading"
                )
                refusals.refuse(row, culprit.reason, detail)
            else:
                refusals.refuse(row, "undecodable", _not_json(fault))
            return
        for field in self._objects.fields:
            if field.name in raw:
                self._explain_field(row, field, raw[field.name], refusals)
        refusals.refuse(row, "undecodable", "the text is not UTF-8")

    def _explain_field(self, row: int, field: ObjectField, raw: msgspec.Raw, refusals: Refusals) -> None:
        try:
            self._parse_field[field.name](raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            if isinstance(fault, msgspec.ValidationError):
                refusals.refuse(row, field.reason, f"'{field.name}' must be {field.wanted}")
            else:
                refusals.refuse(row, "undecodable", f"'{field.name}': {_not_json(fault)}")
        except _FAULTS:  # a number with more digits than Python reads
            refusals.refuse(row, field.reason, f"'{field.name}' must be {field.wanted}")


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
