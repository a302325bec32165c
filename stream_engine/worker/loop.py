"""Runs a pipeline until it is told to stop: signals, heartbeat, a last commit.

No forecasting, no deciding. One thread; a signal only sets a flag that is looked at between turns.
"""

import gc
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from connectors.errors import ServerUnavailableError
from stream_engine.pipeline import Parts, Pipeline, Rhythm

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Worker:
    """Owns the open connections of one pipeline, from `run` to its return.

    Args:
        parts: not yet opened; `run` opens and closes them.
        rhythm: of the pipeline.
        open_s: longest wait for each server at the start.
    """

    def __init__(self, parts: Parts, rhythm: Rhythm, open_s: float) -> None:
        self._parts = parts
        self._open_s = open_s
        self._is_stopping = False
        self.pipeline = Pipeline(parts, rhythm)

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._is_stopping

    def stop(self) -> None:
        """Ask for a clean stop after the turn in progress; safe from a signal handler."""
        self._is_stopping = True

    def run(self, after_turn: Callable[[int], None] = lambda num_records: None) -> None:
        """Turn until stopped or the source ends, then flush, commit and save.

        Args:
            after_turn: called between turns with the number of records of the last one.
        Raises:
            ConnectorError: a server is unavailable, or something can never work as configured.
        """
        parts = self._parts
        with ExitStack() as closing:
            for part in (parts.store, parts.dead_letters, parts.sink, parts.source):
                closing.callback(part.close)
            if not self._has_opened():
                return
            _spare_the_collector()
            logger.info("running; model %s", parts.stepper.model_label)
            while not self._is_stopping:
                polled = self.pipeline.turn()
                after_turn(len(polled))
                if polled.at_end:
                    break
            self.pipeline.finish()
            logger.info("stopped after a last commit")

    def _has_opened(self) -> bool:
        """Open everything; False where a stop was asked for while a server could not be reached."""
        try:
            self._open()
        except ServerUnavailableError:
            if self._is_stopping:
                logger.info("stopped before a server could be reached")
                return False
            raise
        return True

    def _open(self) -> None:
        """The store first (start-up needs it), then the log, then where forecasts go."""
        parts = self._parts
        parts.store.open(self._open_s)
        for warning in parts.store.warnings():
            logger.warning("%s", warning)
        parts.source.open(self.pipeline.revoke, self._open_s)
        parts.sink.open(parts.source.num_partitions, self._open_s)
        parts.dead_letters.open(parts.source.num_partitions, self._open_s)


def _spare_the_collector() -> None:
    """Let the garbage collector leave alone what lives as long as the process, and look less often.

    A turn makes some hundred thousand small objects that reference counting frees; walking through all of
    torch for them cost a third of the encoding (docs/diary.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@contextmanager
def stopping_on_signals(worker: Worker) -> Iterator[None]:
    """SIGTERM and Ctrl-C stop the worker cleanly; a second one stops it at once."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        if worker.is_stopping:
            logger.warning("second signal: stopping at once; what was not committed is done again at the next start")
            raise SystemExit(128 + number)
        logger.info("%s: finishing the turn, then a last commit", signal.Signals(number).name)
        worker.stop()

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
