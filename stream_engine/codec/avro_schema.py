"""What can be read safely of an Avro schema, and the time's unit that it gives.

I know nothing of messages. A few bytes of a message can ask fastavro for any depth of a schema that holds itself (its C
code has no bound for that), and for any number of items that take no bytes: such schemas are refused. Logical types
are taken away, so that times stay numbers (fastavro would make dates of them); decimals stay.
"""

import json
from collections.abc import Iterator
from typing import Any

import fastavro
import fastavro.schema

from connectors.schema_registry.client import RegisteredSchema
from stream_engine.codec.registered import UnreadableSchemaError

UNITS = {"timestamp-millis": "ms", "timestamp-micros": "us", "timestamp-nanos": "ns"}
KEPT = "decimal"
_SCHEMA_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    fastavro.schema.SchemaParseException,
)
"""What a text that is no Avro schema can make of fastavro."""


def parsed(registered: RegisteredSchema, time: str) -> tuple[Any, str | None]:
    """The schema as fastavro reads by it, and the unit that it gives to the field `time`.

    Raises:
        UnreadableSchemaError: it is no Avro schema of a record, or cannot be read safely.
    """
    if registered.kind != "AVRO":
        raise UnreadableSchemaError(f"is of the kind {registered.kind}, not AVRO (see reading.format)")
    try:
        written = json.loads(registered.text)
        names: dict[str, Any] = {}
        for _, text in registered.references:
            fastavro.parse_schema(_plain(json.loads(text)), names)
        schema = fastavro.parse_schema(_plain(written), names)
        _Safety(names).check(schema)
        unit = _unit_of(_type_of(written, time))
    except _SCHEMA_FAULTS as fault:
        raise UnreadableSchemaError("is no Avro schema that can be read") from fault
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UnreadableSchemaError("is not that of a record; send one record a message")
    return schema, unit


def _plain(schema: Any) -> Any:
    """A schema without logical types, but for decimals, and without the marks of one that fastavro has checked."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if isinstance(schema, dict):
        return {
            name: _plain(part)
            for name, part in schema.items()
            if not name.startswith("__") and (name != "logicalType" or part == KEPT)
        }
    return schema


def _type_of(schema: Any, field: str) -> Any:
    """The type of a record's field as written, null where there is no such field."""
    fields = schema.get("fields", []) if isinstance(schema, dict) else []
    return next((one["type"] for one in fields if one["name"] == field), "null")


def _unit_of(kind: Any) -> str | None:
    """The unit that a time's type gives; None where it is a plain number or text.

    Raises:
        UnreadableSchemaError: it gives several, or one that is no moment.
    """
    found = set(_logical_types(kind))
    if not found:
        return None
    if len(found) == 1 and found <= UNITS.keys():
        return UNITS[found.pop()]
    raise UnreadableSchemaError(
        f"gives the time as {' or '.join(sorted(found))}; wanted one of {', '.join(UNITS)} (see reading.time)"
    )


def _logical_types(kind: Any) -> Iterator[str]:
    for branch in kind if isinstance(kind, list) else [kind]:
        if isinstance(branch, dict) and isinstance(branch.get("logicalType"), str) and branch["logicalType"] != KEPT:
            yield branch["logicalType"]


class _Safety:
    """Walks a parsed schema; lives for one check."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._is_empty: dict[str, bool] = {}

    def check(self, schema: Any) -> None:
        """See that no message can ask for more than its own length.

        Raises:
            UnreadableSchemaError: one could.
        """
        self._may_be_empty(schema, ())

    def _may_be_empty(self, schema: Any, above: tuple[str, ...]) -> bool:
        """Whether a value of it may take no bytes."""
        if isinstance(schema, list):
            for branch in schema:
                self._may_be_empty(branch, above)
            return False
        if isinstance(schema, str):
            return self._named(schema, above)
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._record(schema, above)
        if kind == "array":
            if self._may_be_empty(schema["items"], above):
                raise UnreadableSchemaError("has an array whose items take no bytes, so that it may have any length")
            return False
        if kind == "map":
            self._may_be_empty(schema["values"], above)
            return False
        if kind == "fixed":
            return bool(schema["size"] == 0)
        return False if kind == "enum" else self._may_be_empty(kind, above)

    def _named(self, name: str, above: tuple[str, ...]) -> bool:
        if name in above:
            raise UnreadableSchemaError(f"has the record {name}, which holds itself; a reading has no such depth")
        return self._may_be_empty(self._names[name], above) if name in self._names else name == "null"

    def _record(self, schema: Any, above: tuple[str, ...]) -> bool:
        name = schema["name"]
        if name in above:
            raise UnreadableSchemaError(f"has the record {name}, which holds itself; a reading has no such depth")
        if name not in self._is_empty:
            inside = [self._may_be_empty(field["type"], (*above, name)) for field in schema["fields"]]
            self._is_empty[name] = all(inside)
        return self._is_empty[name]
