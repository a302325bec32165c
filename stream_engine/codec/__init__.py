"""Bytes to readings and forecasts to bytes, in the format that the configuration names.

I know nothing of who sends the bytes and who reads them. A bad record is a returned reject, not an exception.
"""

from importlib.util import find_spec

from connectors.errors import MissingExtraError
from stream_engine.codec.contract import Decoder, Encoder
from stream_engine.codec.csv import CsvDecoder
from stream_engine.codec.envelope import encode_dead_letters
from stream_engine.codec.json import JsonDecoder, JsonEncoder
from stream_engine.codec.packed import PackedDecoder, PackedEncoder
from stream_engine.codec.registered import RegisteredDecoder, RegisteredEncoder, Registry
from stream_engine.config import ReadingConfig

__all__ = ["Decoder", "Encoder", "RegisteredEncoder", "decoder_for", "encode_dead_letters", "encoder_for"]


def decoder_for(reading: ReadingConfig, max_future_ns: int | None, registry: Registry | None = None) -> Decoder:
    """The decoder of the configured format.

    Args:
        reading: the `reading` section of the configuration.
        max_future_ns: most that a reading may be ahead of its record, or None for any.
        registry: of schemas; `avro` and `json_schema` need it.
    Raises:
        MissingExtraError: the format's library is not installed.
    """
    if reading.format == "avro":
        _require("fastavro", "avro", "reading.format")
        from stream_engine.codec.avro import AvroReader

        return RegisteredDecoder(
            reading, max_future_ns, _given(registry), lambda schema: AvroReader(schema, reading.time)
        )
    if reading.format == "json_schema":
        _require("jsonschema_rs", "json_schema", "reading.format")
        from stream_engine.codec.json_schema import JsonSchemaReader

        return RegisteredDecoder(reading, max_future_ns, _given(registry), JsonSchemaReader)
    decoders: dict[str, type[JsonDecoder | CsvDecoder | PackedDecoder]] = {
        "json": JsonDecoder,
        "csv": CsvDecoder,
        "packed": PackedDecoder,
    }
    return decoders[reading.format](reading, max_future_ns)


def encoder_for(format_name: str, model: str, topic: str = "", registry: Registry | None = None) -> Encoder:
    """The encoder of a format of the `sink` section.

    Args:
        format_name: `json`, `packed`, `avro` or `json_schema`.
        model: `name@version` of the model that forecasts.
        topic: where forecasts go: their schema is registered for it.
        registry: of schemas; `avro` and `json_schema` need it.
    Raises:
        MissingExtraError: the format's library is not installed.
    """
    if format_name == "avro":
        _require("fastavro", "avro", "sink.format")
        from stream_engine.codec.avro import AvroEncoder

        return AvroEncoder(model, topic, _given(registry))
    if format_name == "json_schema":
        _require("jsonschema_rs", "json_schema", "sink.format")
        from stream_engine.codec.json_schema import JsonSchemaEncoder

        return JsonSchemaEncoder(model, topic, _given(registry))
    return PackedEncoder(model) if format_name == "packed" else JsonEncoder(model)


def _require(library: str, name: str, key: str) -> None:
    if find_spec(library) is None:
        install = f"pip install 'stream-engine[{name.replace('_', '-')}]'"
        raise MissingExtraError(f"{key} is {name}, and {library.replace('_', '-')} is not installed; run {install}")


def _given(registry: Registry | None) -> Registry:
    if registry is None:
        raise ValueError("a format with registered schemas needs a registry")
    return registry
