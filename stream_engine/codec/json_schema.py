"""Readings and forecasts as JSON that a registered JSON Schema describes.

I know nothing of where schemas come from, nor of the frame that names them. jsonschema-rs validates: all drafts, no
code made of a schema, and a bound for patterns that would run for ever (docs/diary.md has what was measured).
"""

import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import orjson

from connectors.records import SinkRecord
from connectors.schema_registry.client import RegisteredSchema
from stream_engine.codec.draft import Refused
from stream_engine.codec.json import JsonEncoder
from stream_engine.codec.registered import (
    RegisteredEncoder,
    Registry,
    SchemaReader,
    UnreadableSchemaError,
    framed,
)
from stream_engine.records import QUANTILE_LEVELS, ForecastBatch, Status

_RELATIVE = "json-schema:///"
"""What jsonschema-rs puts before a reference that is no whole address."""
_NUMBERS = {"type": "array", "items": {"type": "number"}}
_LEVELS = [str(level) for level in QUANTILE_LEVELS]
FORECAST_SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Forecast",
    "description": "A rolling forecast of one sensor; lead h (from 1) is for the time origin + h * cadence_ms.",
    "type": "object",
    "properties": {
        "sensor": {"type": "string"},
        "channel": {"type": "string", "description": "absent where a reading has one value"},
        "origin": {"type": "integer", "description": "milliseconds since 1970-01-01 UTC"},
        "last_reading": {"type": "integer", "description": "milliseconds since 1970-01-01 UTC"},
        "cadence_ms": {"type": "number"},
        "horizon": {"type": "integer"},
        "model": {"type": "string", "description": "name@version"},
        "mean": _NUMBERS,
        "quantiles": {"type": "object", "properties": dict.fromkeys(_LEVELS, _NUMBERS), "required": _LEVELS},
        "scale": {"type": ["number", "null"], "description": "the sensor's running scale, in the unit of its values"},
        "status": {"type": "string", "description": ", ".join(status.text for status in Status)},
    },
    "required": ["sensor", "origin", "last_reading", "cadence_ms", "horizon", "model", "mean", "quantiles", "status"],
}


class JsonSchemaReader(SchemaReader):
    """Reads and validates the objects of one schema."""

    def __init__(self, registered: RegisteredSchema) -> None:
        """Compile the schema; no reference is looked up anywhere but in the registry.

        Raises:
            UnreadableSchemaError: it cannot be validated by.
        """
        if registered.kind != "JSON":
            raise UnreadableSchemaError(f"is of the kind {registered.kind}, not JSON (see reading.format)")
        try:
            named = {name: orjson.loads(text) for name, text in registered.references}
            self._validator = jsonschema_rs.validator_for(
                orjson.loads(registered.text), retriever=lambda address: named[address.removeprefix(_RELATIVE)]
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, LookupError, ValueError) as fault:
            raise UnreadableSchemaError(
                "is no JSON Schema that can be read, or refers to one that is not there"
            ) from fault

    def read(self, payload: bytes) -> Mapping[str, object]:
        """See SchemaReader.read."""
        try:
            content = orjson.loads(payload)
        except orjson.JSONDecodeError as fault:
            raise Refused("undecodable", f"the message is not JSON ({str(fault)[:120]})") from None
        try:
            self._validator.validate(content)
        except jsonschema_rs.ValidationError as fault:
            raise Refused("schema", _explained(fault)) from None
        except ValueError:
            raise Refused("undecodable", "the message is nested too deeply") from None
        if not isinstance(content, dict):
            raise Refused("undecodable", "the message is not a JSON object")
        return content


def _explained(fault: jsonschema_rs.ValidationError) -> str:
    """Where a message breaks its schema, without what it holds."""
    place = "/".join(map(str, fault.instance_path)) or "the message"
    rule = "/".join(map(str, fault.schema_path))
    return f"'{place}' does not keep the schema's rule '{rule}'"


class JsonSchemaEncoder(RegisteredEncoder):
    """One JSON object a forecast, as `json` writes it, behind its schema's id."""

    kind = "JSON"
    schema = json.dumps(FORECAST_SCHEMA)

    def __init__(self, model: str, topic: str, registry: Registry) -> None:
        """See RegisteredEncoder."""
        super().__init__(model, topic, registry)
        self._json = JsonEncoder(model)

    def encode(self, forecasts: ForecastBatch) -> list[SinkRecord]:
        """See Encoder.encode."""
        return [
            record._replace(value=framed(self.number, record.value or b"")) for record in self._json.encode(forecasts)
        ]
