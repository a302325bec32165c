"""The shell around the pipeline: it is built here, run, and stopped."""

from stream_engine.worker.assembly import Doors, assemble
from stream_engine.worker.loop import Worker, stopping_on_signals

__all__ = ["Doors", "Worker", "assemble", "stopping_on_signals"]
