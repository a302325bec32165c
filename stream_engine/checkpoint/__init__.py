"""What is saved of a partition, when, and in which order; and how it is brought back."""

from stream_engine.checkpoint.checkpointer import Checkpointer, Restored, Saved, StateRows
from stream_engine.checkpoint.meta import Meta, check_model, decode_meta
from stream_engine.checkpoint.shards import SHARD_SIZE, Shard, decode_shard, encode_shard

__all__ = [
    "SHARD_SIZE",
    "Checkpointer",
    "Meta",
    "Restored",
    "Saved",
    "Shard",
    "StateRows",
    "check_model",
    "decode_meta",
    "decode_shard",
    "encode_shard",
]
