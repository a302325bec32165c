"""Messages behind schema ids, and a registry in memory, for tests of formats; knows nothing of HTTP."""

import io
import json
from collections.abc import Mapping
from typing import Any

import fastavro

from connectors.errors import ServerUnavailableError
from connectors.schema_registry.client import RegisteredSchema
from stream_engine.codec.registered import framed

READING = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "sensor", "type": ["null", "string", "long"], "default": None},
        {"name": "ts", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}], "default": None},
        {"name": "value", "type": ["null", "double"], "default": None},
        {
            "name": "values",
            "type": ["null", {"type": "map", "values": ["null", "double", "long"]}],
            "default": None,
        },
        {"name": "group", "type": ["null", "string"], "default": None},
    ],
}
READING_OBJECT = {
    "type": "object",
    "properties": {
        "sensor": {"type": "string"},
        "ts": {"type": "integer"},
        "value": {"type": ["number", "null"]},
        "values": {"$ref": "#/definitions/values"},
    },
    "required": ["ts"],
    "definitions": {"values": {"type": "object", "additionalProperties": {"type": ["number", "null"]}}},
}


class Schemas:
    """A registry in memory: ids from 1, in the order added; may be told to be away."""

    def __init__(self) -> None:
        self.known: list[RegisteredSchema] = []
        self.num_asked = 0
        self.is_away = False

    def add(self, schema: object, kind: str = "AVRO", references: Mapping[str, object] | None = None) -> int:
        text = schema if isinstance(schema, str) else json.dumps(schema)
        named = tuple((name, json.dumps(one)) for name, one in (references or {}).items())
        self.known.append(RegisteredSchema(kind, text, named))
        return len(self.known)

    def check(self, timeout_s: float) -> None:
        if self.is_away:
            raise ServerUnavailableError("the registry does not answer")

    def schema(self, number: int) -> RegisteredSchema | None:
        self.check(0)
        self.num_asked += 1
        return self.known[number - 1] if 1 <= number <= len(self.known) else None

    def register(self, subject: str, kind: str, text: str, timeout_s: float) -> int:
        self.check(timeout_s)
        return self.add(text, kind)


def avro(number: int, schema: Any, content: object) -> bytes:
    """A record behind its schema's id."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(json.dumps(schema))), content)
    return framed(number, stream.getvalue())


def json_object(number: int, content: object) -> bytes:
    """An object behind its schema's id."""
    return framed(number, json.dumps(content).encode())
