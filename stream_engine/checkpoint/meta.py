"""What is stored of a partition beside its shards: position, event time, and whose state it is.

    magic · format version · checksum of all that follows · JSON

I know nothing of stores or tensors. A flipped digit of a position would lose readings in silence, or fold them twice:
hence the checksum.
"""

import struct
import zlib
from typing import Annotated, Any

import msgspec
import numpy as np

from connectors.errors import StoredStateError
from connectors.records import Position
from stream_engine.errors import ConfigError
from stream_engine.watermark import Progress

MAGIC = b"SESM"
META_FORMAT = 2
PREFIX = struct.Struct("<4sHI")
JSON_FAULTS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What bytes that are not the JSON wanted can make of msgspec."""
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stored meta of one partition.

    Attributes:
        position: every record before it is folded into the state, and none after (*folded*).
        num_series: series of the partition, numbered from 0.
        state_floats: floats in one state row.
        layout_id, model: whose state it is.
        saved_at_ns: clock time of the checkpoint, for people.
        watermark_ns, early_gaps_ns, log_id, group: the partition's `Progress`; group as float64's bytes, little end
            first.
    """

    position: Annotated[Position, msgspec.Meta(ge=0, le=2**63 - 1)]
    num_series: Natural
    state_floats: Natural
    layout_id: str
    model: str
    saved_at_ns: Nanoseconds
    watermark_ns: Nanoseconds | None
    early_gaps_ns: list[Natural]
    group: bytes
    log_id: str = ""

    @property
    def progress(self) -> Progress:
        """The partition's event time as it was."""
        group = np.frombuffer(self.group, "<f8").copy()
        return Progress(self.watermark_ns, list(self.early_gaps_ns), group, self.log_id)

    @classmethod
    def of(cls, progress: Progress, **others: Any) -> "Meta":
        """The meta of a partition that has come so far; others: what is not of its progress."""
        group = progress.group.astype("<f8").tobytes()
        return cls(
            watermark_ns=progress.watermark_ns,
            early_gaps_ns=progress.early_gaps_ns,
            log_id=progress.log_id,
            group=group,
            **others,
        )


def encode_meta(meta: Meta) -> bytes:
    """The meta as bytes."""
    body = msgspec.json.encode(meta)
    return PREFIX.pack(MAGIC, META_FORMAT, zlib.crc32(body)) + body


def decode_meta(blob: bytes) -> Meta:
    """The meta those bytes hold.

    Raises:
        StoredStateError: they are torn, flipped, or of another format.
    """
    if len(blob) < PREFIX.size:
        raise StoredStateError(f"the stored position of a partition is torn: {len(blob)} bytes")
    magic, version, checksum = PREFIX.unpack_from(blob)
    if magic != MAGIC or version != META_FORMAT:
        raise StoredStateError(
            f"the stored position of a partition has format {magic!r} {version}, wanted {MAGIC!r} {META_FORMAT}"
        )
    body = blob[PREFIX.size :]
    if zlib.crc32(body) != checksum:
        raise StoredStateError("the stored position of a partition does not match its checksum")
    try:
        meta = msgspec.json.decode(body, type=Meta)
    except JSON_FAULTS as error:
        raise StoredStateError(f"the stored position of a partition cannot be read: {error}") from error
    if len(meta.group) % 8:
        raise StoredStateError(f"the stored position of a partition holds a torn group, {len(meta.group)} bytes")
    return meta


def check_model(meta: Meta, model: str, layout_id: str, where: str) -> None:
    """See that stored state belongs to the model that is to go on with it.

    Raises:
        ConfigError: it is another model's.
    """
    if (meta.model, meta.layout_id) != (model, layout_id):
        raise ConfigError(
            f"store: the state of {where} was made by model {meta.model} (layout {meta.layout_id}), but the "
            f"configuration names {model} (layout {layout_id}); set model back (and late, if it "
            "is or was merge), or set store.prefix to a new name and the state is rebuilt from the log"
        )
