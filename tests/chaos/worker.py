"""One engine process of the chaos tests: the program itself, `stream-engine run`, which may kill itself at a phase.

Processes are forked from one that has everything loaded (see `fleet`), so that a restart takes no time. Phases are
reached by wrapping the assembled worker's own parts; the engine knows nothing of it.
"""

import faulthandler
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import stream_engine.worker
from stream_engine.config import Config
from stream_engine.worker import Worker
from tests.support.program import become

Death = tuple[str, int]
"""A phase, and how often it is passed before the process is killed."""


def _in_commit(parts: Any) -> tuple[Any, str]:
    """Where a commit is half done: a transaction's own step comes twice a commit, once to add the positions."""
    steps = {"LibrdkafkaTransactions": "_insist", "KafkaTransactions": "_wait"}
    name = steps.get(type(parts.delivery).__name__)
    return (parts.delivery.forecasts, "flush") if name is None else (parts.delivery, name)


PHASES: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "poll": lambda parts: (parts.source, "poll"),
    "step": lambda parts: (parts.stepper, "step"),
    "produce": lambda parts: (parts.delivery.forecasts, "write"),
    "half a commit": _in_commit,
    "commit": lambda parts: (parts.delivery, "commit"),
    "half a checkpoint": lambda parts: (parts.store, "_write_values"),
    "checkpoint": lambda parts: (parts.store, "save"),
}
"""Name -> the part and its call after which the process is killed."""


def die_after(worker: Worker, phase: str, count: int) -> None:
    """Let the process kill itself, as kill -9 does, right after the count-th call of the phase."""
    owner, name = PHASES[phase](worker._parts)
    call, calls = getattr(owner, name), [0]
    if name in ("_insist", "_wait"):
        count *= 2  # the first is that of the opening, each second one adds positions

    def counted(*arguments: Any, **named: Any) -> Any:
        found = call(*arguments, **named)
        calls[0] += int(phase != "poll" or len(found) > 0)
        if calls[0] >= count:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, counted)


def run(arguments: Sequence[str], log: Path, death: Death | None) -> None:
    """Run the program to its end, in this process."""
    faulthandler.register(signal.SIGUSR1)  # tells where it is
    if death is not None:
        assemble = stream_engine.worker.assemble

        def doomed(config: Config) -> Worker:
            worker = assemble(config)
            die_after(worker, *death)
            return worker

        stream_engine.worker.assemble = doomed
    become(["run", *arguments], log, log, dict(os.environ), str(Path.cwd()))
