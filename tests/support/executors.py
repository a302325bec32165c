"""Writers without a thread: one that works at once, and one that works when it is told to or waited for."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")


class _Job(Future[T]):
    """Work that is done by whoever waits for it, unless it was done before."""

    def __init__(self, writer: "WhenTold", action: Callable[[], T]) -> None:
        super().__init__()
        self._writer = writer
        self._action = action

    def do(self) -> None:
        """Do the work, unless it is done or cancelled."""
        if self.done() or not self.set_running_or_notify_cancel():
            return
        try:
            self.set_result(self._action())
        except Exception as error:  # noqa: BLE001 - handed to whoever asks
            self.set_exception(error)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if (timeout is None or timeout > 0) and not self._writer.is_stuck:
            self.do()
        return super().exception(0)


class WhenTold(Executor):
    """Keeps its work until it is told to do some of it, or somebody waits for it.

    Attributes:
        is_stuck: whether who waits waits in vain.
    """

    def __init__(self) -> None:
        self.jobs: list[_Job[Any]] = []
        self.is_stuck = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        job = _Job(self, lambda: fn(*args, **kwargs))
        self.jobs.append(job)
        return job

    def work(self) -> None:
        """Do what came first of what is left."""
        self.jobs = [job for job in self.jobs if not job.done()]
        if self.jobs:
            self.jobs.pop(0).do()


class AtOnce(WhenTold):
    """Does its work as it comes."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        job = super().submit(fn, *args, **kwargs)
        self.work()
        return job
