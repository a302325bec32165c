"""What is stored of a partition beside its shards: position, event time, and whose state it is.

I know nothing of stores or tensors.
"""

import msgspec

from connectors.errors import StoredStateError
from connectors.records import Position
from stream_engine.errors import ConfigError
from stream_engine.watermark import Progress

META_FORMAT = 1


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stored meta of one partition.

    Attributes:
        position: every record before it is folded into the state, and none after (*folded*).
        num_series: series of the partition, numbered from 0.
        state_floats: floats in one state row.
        layout_id, model: whose state it is.
        saved_at_ns: clock time of the checkpoint, for people.
        watermark_ns, early_gaps_ns: the partition's `Progress`.
    """

    position: Position
    num_series: int
    state_floats: int
    layout_id: str
    model: str
    saved_at_ns: int
    watermark_ns: int | None
    early_gaps_ns: list[int]
    format: int = META_FORMAT

    @property
    def progress(self) -> Progress:
        """The partition's event time as it was."""
        return Progress(self.watermark_ns, list(self.early_gaps_ns))


def encode_meta(meta: Meta) -> bytes:
    """The meta as JSON."""
    return msgspec.json.encode(meta)


def decode_meta(blob: bytes) -> Meta:
    """The meta those bytes hold.

    Raises:
        StoredStateError: they cannot be read, or are of another format.
    """
    try:
        meta = msgspec.json.decode(blob, type=Meta)
    except msgspec.MsgspecError as error:
        raise StoredStateError(f"the stored position of a partition cannot be read: {error}") from error
    if meta.format != META_FORMAT:
        raise StoredStateError(f"the stored position of a partition has format {meta.format}, wanted {META_FORMAT}")
    return meta


def check_model(meta: Meta, model: str, layout_id: str, where: str) -> None:
    """See that stored state belongs to the model that is to go on with it.

    Raises:
        ConfigError: it is another model's.
    """
    if (meta.model, meta.layout_id) != (model, layout_id):
        raise ConfigError(
            f"store: the state of {where} was made by model {meta.model} (layout {meta.layout_id}), but the "
            f"configuration names {model} (layout {layout_id}); set model back, or set store.prefix to a new "
            "name and the state is rebuilt from the log"
        )
