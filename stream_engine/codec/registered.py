"""Readings whose messages name their schema: magic byte 0, four bytes of the schema's id, payload.

I know this frame (Confluent's wire format), and when a schema is asked for; nothing of any one kind of schema, nor
how a registry is reached.
"""

import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from connectors.records import RecordBatch
from connectors.schema_registry.client import RegisteredSchema, SchemaRefusedError
from stream_engine.clock import Clock, SystemClock
from stream_engine.codec.contract import Decoder, Encoder
from stream_engine.codec.draft import Refusals, Refused, looked_into
from stream_engine.codec.objects import Objects
from stream_engine.config import ReadingConfig
from stream_engine.errors import ConfigError
from stream_engine.records import ReadingBatch, Reject

MAGIC = 0
FRAME = struct.Struct(">BI")
ASK_AGAIN_S = 10.0
"""How long a registry that does not know an id is believed."""
MOST_UNREADABLE = 10_000


class Registry(Protocol):
    """The registry, as far as formats need it."""

    def check(self, timeout_s: float) -> None:
        """See that it answers us."""

    def schema(self, number: int) -> RegisteredSchema | None:
        """The schema of an id; None if the registry does not know it."""

    def register(self, subject: str, kind: str, text: str, timeout_s: float) -> int:
        """The id of a schema under a subject."""


class UnreadableSchemaError(Exception):
    """Messages of a schema cannot be read, whatever they hold; says why."""


class SchemaReader(ABC):
    """Reads the messages of one schema; lives as long as its decoder.

    Attributes:
        time_unit: the unit that the schema gives to the time field; None where it gives none.
    """

    time_unit: str | None = None

    @abstractmethod
    def read(self, payload: bytes) -> Mapping[str, object]:
        """The object that a payload holds.

        Raises:
            Refused: it is not what the schema says.
        """


@dataclass(slots=True)
class _Read:
    """The messages of a batch that could be read."""

    messages: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    units: list[str] = field(default_factory=list)


class RegisteredDecoder(Decoder):
    """One object a message, read by the schema that the message names.

    A registry that is away makes `decode` raise, once its timeout is over: a message is never refused for want of
    a server.
    """

    def __init__(
        self,
        config: ReadingConfig,
        max_future_ns: int | None,
        registry: Registry,
        reader_of: Callable[[RegisteredSchema], SchemaReader],
        clock: Clock | None = None,
    ) -> None:
        """Know no schema yet.

        Args:
            max_future_ns: most that a reading may be ahead of its record, or None for any.
            reader_of: makes the reader of a schema, or raises UnreadableSchemaError.
        """
        self._config = config
        self._registry = registry
        self._reader_of = reader_of
        self._clock = clock or SystemClock()
        self._objects = Objects(config, max_future_ns, is_time_typed=True)
        self._readers: dict[int, SchemaReader] = {}
        self._unreadable: dict[int, tuple[float, str]] = {}

    def open(self, timeout_s: float) -> None:
        """See Decoder.open."""
        self._registry.check(timeout_s)

    def decode(self, records: RecordBatch) -> tuple[ReadingBatch, list[Reject]]:
        """See Decoder.decode.

        Raises:
            ServerUnavailableError: the registry is away; ask again with the same records.
            ConnectorConfigError: the registry refuses us.
        """
        refusals = Refusals()
        read = _Read()
        for row, value in enumerate(records.values):
            try:
                self._read(row, value, read)
            except Refused as fault:
                refusals.refuse(row, fault.reason, str(fault))
        return self._objects.readings(records, read.messages, read.rows, refusals, read.units)

    def _read(self, row: int, value: bytes | None, read: _Read) -> None:
        number, payload = _opened(value, self._config.most_bytes)
        reader = self._readers.get(number) or self._ask(number)
        content = reader.read(payload)
        try:
            message = msgspec.convert(content, self._objects.message)
        except (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError):
            raise self._culprit(content) from None
        read.messages.append(message)
        read.rows.append(row)
        read.units.append(reader.time_unit or self._config.time_unit)

    def _culprit(self, content: Mapping[str, object]) -> Refused:
        """The fault of the first field that holds what it may not."""
        for one in self._objects.fields:
            if one.name not in content:
                continue
            try:
                msgspec.convert(content[one.name], one.kind)
            except (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError):
                return Refused(one.reason, f"'{one.name}' must be {one.wanted}")
        return Refused("undecodable", "the message cannot be read as one object")

    def _ask(self, number: int) -> SchemaReader:
        """The reader of a schema that is not known yet.

        Raises:
            Refused: there is none; asked again after ASK_AGAIN_S.
        """
        now_s = self._clock.monotonic_s()
        asked_s, detail = self._unreadable.get(number, (-math.inf, ""))
        if now_s - asked_s < ASK_AGAIN_S:
            raise Refused("schema", detail)
        schema = self._registry.schema(number)
        detail = f"the registry does not know the schema with id {number}; register it, then send the message again"
        if schema is not None:
            try:
                self._readers[number] = self._reader_of(schema)
            except UnreadableSchemaError as fault:
                detail = f"the schema with id {number} {fault}"
            else:
                self._unreadable.pop(number, None)
                return self._readers[number]
        if len(self._unreadable) >= MOST_UNREADABLE:
            self._unreadable.clear()
        self._unreadable[number] = (now_s, detail)
        raise Refused("schema", detail)


def _opened(value: bytes | None, most_bytes: int) -> tuple[int, bytes]:
    """A message's schema id and payload.

    Raises:
        Refused: it is not framed so, or too large.
    """
    message = looked_into(value, most_bytes, "one object, framed with its schema's id")
    if message[0] != MAGIC:
        raise Refused(
            "undecodable",
            "the message has no magic byte 0 before its schema's id; send it by a schema registry's client",
        )
    if len(message) < FRAME.size:
        raise Refused("undecodable", "the message ends within its schema's id")
    return FRAME.unpack_from(message)[1], message[FRAME.size :]


def framed(number: int, payload: bytes) -> bytes:
    """A payload behind its schema's id."""
    return FRAME.pack(MAGIC, number) + payload


class RegisteredEncoder(Encoder):
    """Forecasts behind the id of their schema, which is registered once, before the first of them.

    Attributes:
        kind, schema: what is registered.
        number: its id.
        subject: what it is registered under.
    """

    kind: str
    schema: str

    def __init__(self, model: str, topic: str, registry: Registry) -> None:
        """Prepare what all messages share; there is no id yet.

        Args:
            model: `name@version`.
            topic: where forecasts go.
        """
        self._model = model
        self.subject = f"{topic}-value"
        self._registry = registry
        self._number: int | None = None

    @property
    def number(self) -> int:
        """The schema's id.

        Raises:
            RuntimeError: the encoder has not been opened.
        """
        if self._number is None:
            raise RuntimeError("open the encoder first")
        return self._number

    def open(self, timeout_s: float) -> None:
        """Register the schema.

        Raises:
            ConfigError: it is not compatible with an earlier version.
            ServerUnavailableError: the registry did not answer within timeout_s.
        """
        try:
            self._number = self._registry.register(self.subject, self.kind, self.schema, timeout_s)
        except SchemaRefusedError as error:
            raise ConfigError(
                f"sink.format: the registry does not take the schema of forecasts under the subject {self.subject!r} "
                f"({error}); write to another topic, or change that subject's compatibility"
            ) from error
