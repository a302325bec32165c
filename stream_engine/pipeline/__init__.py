"""The way of one reading: poll, decode, route, step, encode, write; and the checkpoint beside it."""

from stream_engine.pipeline.at_least_once import AtLeastOnce
from stream_engine.pipeline.parts import Parts, Rhythm
from stream_engine.pipeline.positions import Begin, where_to_begin
from stream_engine.pipeline.turns import Pipeline

__all__ = ["AtLeastOnce", "Begin", "Parts", "Pipeline", "Rhythm", "where_to_begin"]
