"""Runs a pipeline until it is told to stop: signals, heartbeat, a last commit.

No forecasting, no deciding. One thread; a signal only sets a flag that is looked at between turns.
"""

import gc
import logging
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FrameType

from connectors.errors import ServerUnavailableError
from stream_engine.pipeline import Parts, Pipeline, Rhythm
from stream_engine.stopping import STOP_SIGNALS, STOPPED_EARLY, hearing_twice

logger = logging.getLogger(__name__)

STUCK_S = 1.0
"""How long a stop may take that comes while servers are reached for."""


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
        self._is_opening = False
        self.pipeline = Pipeline(parts, rhythm)

    @property
    def is_stopping(self) -> bool:
        """Whether a stop has been asked for."""
        return self._is_stopping

    @property
    def is_opening(self) -> bool:
        """Whether servers are being reached for: nothing is held yet, and a stop need not wait for them."""
        return self._is_opening

    def stop(self) -> None:
        """Ask for a clean stop after the turn in progress."""
        self._is_stopping = True

    def stop_now_or_after_turn(self) -> None:
        """The same for a signal handler on the worker's thread: while servers are reached for, it breaks that off."""
        self._is_stopping = True
        if self._is_opening:
            raise _OpeningStoppedError

    def run(self, after_turn: Callable[[int], None] = lambda num_records: None) -> None:
        """Turn until stopped or the source ends, then flush, commit and save.

        Args:
            after_turn: called between turns with the number of records of the last one.
        Raises:
            ConnectorError: a server is unavailable, or something can never work as configured.
        """
        parts = self._parts
        with ExitStack() as closing:
            for part in (parts.store, parts.checkpointer, parts.delivery, parts.source):
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
        self._is_opening = True
        try:
            self._open()
        except ServerUnavailableError:
            if self._is_stopping:
                return False
            raise
        finally:
            self._is_opening = False
        return True

    def _open(self) -> None:
        """The store first (start-up needs it), then the log, then where forecasts go and what their formats need."""
        parts = self._parts
        parts.store.open(self._open_s)
        for warning in parts.store.warnings():
            logger.warning("%s", warning)
        parts.source.open(self.pipeline.revoke, self._open_s)
        parts.delivery.open(parts.source.num_partitions, self._open_s)
        parts.decoder.open(self._open_s)
        parts.encoder.open(self._open_s)


class _OpeningStoppedError(BaseException):
    """A stop was asked for while the servers were reached for; passes through what handles faults of servers."""


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
    """SIGTERM and Ctrl-C stop the worker cleanly; a second one stops it at once.

    Where that must not wait for the engine's thread, the process is ended by the one that listens.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        if not worker.is_stopping:
            logger.info("%s: finishing the turn, then a last commit", signal.Signals(number).name)
            worker.stop_now_or_after_turn()

    try:
        with hearing_twice(on_signal, partial(_end_at_once_where_due, worker)):
            yield
    except _OpeningStoppedError:
        logger.info(STOPPED_EARLY)


def _end_at_once_where_due(worker: Worker, numbers: int) -> None:
    """End the process at a second signal; also at a first that finds it stuck while servers are reached for."""
    num_heard = 0
    while heard := os.read(numbers, 1):
        if heard[0] not in STOP_SIGNALS:
            continue
        num_heard += 1
        if num_heard > 1:
            logger.warning("second signal: stopping at once; what was not committed is done again at the next start")
            os._exit(128 + heard[0])
        if worker.is_opening and not select.select([numbers], [], [], STUCK_S)[0] and worker.is_opening:
            logger.info(STOPPED_EARLY)
            os._exit(0)
