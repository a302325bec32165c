"""Bytes to readings and forecasts to bytes, in the format that the configuration names.

I know nothing of who sends the bytes and who reads them. A bad record is a returned reject, not an exception.
"""

from stream_engine.codec.contract import Decoder, Encoder
from stream_engine.codec.csv import CsvDecoder
from stream_engine.codec.envelope import encode_dead_letters
from stream_engine.codec.json import JsonDecoder, JsonEncoder
from stream_engine.codec.packed import PackedDecoder, PackedEncoder
from stream_engine.config import ReadingConfig

__all__ = ["Decoder", "Encoder", "decoder_for", "encode_dead_letters", "encoder_for"]


def decoder_for(reading: ReadingConfig, max_future_ns: int | None) -> Decoder:
    """The decoder of the configured format.

    Args:
        reading: the `reading` section of the configuration.
        max_future_ns: most that a reading may be ahead of its record, or None for any.
    """
    decoders: dict[str, type[JsonDecoder | CsvDecoder | PackedDecoder]] = {
        "json": JsonDecoder,
        "csv": CsvDecoder,
        "packed": PackedDecoder,
    }
    return decoders[reading.format](reading, max_future_ns)


def encoder_for(format_name: str, model: str) -> Encoder:
    """The encoder of a format of the `sink` section.

    Args:
        format_name: `json` or `packed`.
        model: `name@version` of the model that forecasts.
    """
    return PackedEncoder(model) if format_name == "packed" else JsonEncoder(model)
