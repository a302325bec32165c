"""Readings and forecasts as Avro: one record a message, read and written by fastavro.

I know nothing of where schemas come from, nor of the frame that names them.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro
import numpy as np

from connectors.records import SinkRecord
from connectors.schema_registry.client import RegisteredSchema
from stream_engine.codec.avro_schema import parsed
from stream_engine.codec.draft import Refused
from stream_engine.codec.envelope import NS_PER_MS, ForecastEnvelope
from stream_engine.codec.registered import RegisteredEncoder, Registry, SchemaReader, framed
from stream_engine.codec.rounding import decimals, rounded
from stream_engine.records import QUANTILE_LEVELS, ForecastBatch, Status

CONTENT_TYPE = "avro/binary"
_FAULTS = (ArithmeticError, EOFError, LookupError, MemoryError, RecursionError, TypeError, ValueError)
"""What bytes that are not of the schema make of fastavro."""

_NUMBERS = {"type": "array", "items": "double"}
_TIME = {"type": "long", "logicalType": "timestamp-millis"}
FORECAST_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Forecast",
    "namespace": "stream_engine",
    "doc": "A rolling forecast of one sensor; lead h (from 1) is for the time origin + h * cadence_ms.",
    "fields": [
        {"name": "sensor", "type": "string"},
        {"name": "channel", "type": ["null", "string"], "default": None, "doc": "null where a reading has one value"},
        {"name": "origin", "type": _TIME},
        {"name": "last_reading", "type": _TIME},
        {"name": "cadence_ms", "type": "double"},
        {"name": "horizon", "type": "int"},
        {"name": "model", "type": "string", "doc": "name@version"},
        {"name": "mean", "type": _NUMBERS, "doc": "one number a lead"},
        {"name": "quantiles", "type": {"type": "map", "values": _NUMBERS}, "doc": "level, such as 0.9, to its numbers"},
        {"name": "scale", "type": "double", "doc": "the sensor's running scale, in the unit of its values"},
        {"name": "status", "type": "string", "doc": "ok, warming_up, stale or drift"},
    ],
}
_PLAIN_TIMES = json.loads(json.dumps(FORECAST_SCHEMA).replace(', "logicalType": "timestamp-millis"', ""))
"""The same bytes, for times that are numbers already."""


class AvroReader(SchemaReader):
    """Reads the records of one schema."""

    def __init__(self, registered: RegisteredSchema, time: str) -> None:
        """Parse the schema.

        Args:
            time: the field of the event time.
        Raises:
            UnreadableSchemaError: it cannot be read by.
        """
        self._schema, self.time_unit = parsed(registered, time)

    def read(self, payload: bytes) -> Mapping[str, object]:
        """See SchemaReader.read."""
        stream = io.BytesIO(payload)
        try:
            content = fastavro.schemaless_reader(stream, self._schema, None)
        except _FAULTS:
            raise Refused("undecodable", "the message is not of its Avro schema") from None
        left = len(payload) - stream.tell()
        if left:
            detail = f"the message goes on for {left} bytes after its record; send one record a message"
            raise Refused("undecodable", detail)
        return content  # type: ignore[return-value]


class AvroEncoder(RegisteredEncoder):
    """One Avro record a forecast."""

    kind = "AVRO"
    schema = json.dumps(FORECAST_SCHEMA)

    def __init__(self, model: str, topic: str, registry: Registry) -> None:
        """See RegisteredEncoder."""
        super().__init__(model, topic, registry)
        self._envelope = ForecastEnvelope(model, CONTENT_TYPE)
        self._schema = fastavro.parse_schema(_PLAIN_TIMES)

    def encode(self, forecasts: ForecastBatch) -> list[SinkRecord]:
        """See Encoder.encode."""
        if not len(forecasts):
            return []
        places = decimals(forecasts.scale, np.abs(forecasts.mean).max(axis=1))
        quantiles = rounded(forecasts.quantiles, places)
        columns = zip(
            forecasts.sensors,
            forecasts.channels,
            (forecasts.origins_ns // NS_PER_MS).tolist(),
            (forecasts.last_readings_ns // NS_PER_MS).tolist(),
            (forecasts.cadences_ns / NS_PER_MS).tolist(),
            rounded(forecasts.mean, places).tolist(),
            quantiles.tolist(),
            rounded(forecasts.scale, places).tolist(),
            forecasts.status.tolist(),
            strict=True,
        )
        levels = [str(level) for level in QUANTILE_LEVELS]
        bodies = []
        for sensor, channel, origin, last_reading, cadence, mean, curves, scale, status in columns:
            stream = io.BytesIO()
            body = {
                "sensor": sensor,
                "channel": channel or None,
                "origin": origin,
                "last_reading": last_reading,
                "cadence_ms": cadence,
                "horizon": forecasts.horizon,
                "model": self._model,
                "mean": mean,
                "quantiles": dict(zip(levels, curves, strict=True)),
                "scale": scale,
                "status": Status(status).text,
            }
            fastavro.schemaless_writer(stream, self._schema, body)
            bodies.append(framed(self.number, stream.getvalue()))
        return self._envelope.wrap(forecasts, bodies)
