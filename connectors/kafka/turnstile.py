"""Lets a rebalance of kafka-python be answered on the engine's own thread, and go on while the engine computes.

kafka-python runs rebalance callbacks on its network thread, where blocking calls such as a commit are forbidden; and
a rebalance that completes while nobody waits for it is thrown away and begun anew. So blocking calls of the consumer
are made on a side thread: the engine's thread waits for their end here, as long as it likes, and carries out the
revocations that come up. I know nothing of records.
"""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kafka import TopicPartition
from kafka.future import Future


@dataclass(frozen=True, slots=True)
class Revocation:
    """Partitions that are to be given up as soon as `answered` is resolved."""

    partitions: frozenset[TopicPartition]
    answered: Future


@dataclass(frozen=True, slots=True)
class _End:
    """What became of an action."""

    action: Callable[[], Any]
    result: Any = None
    error: BaseException | None = None


class Turnstile:
    """Owned by one source; one action is under way at a time, each on a thread that ends with `close`."""

    def __init__(self) -> None:
        self._actions: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Revocation | _End] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._under_way: Callable[[], Any] | None = None
        self._add_thread()

    @property
    def is_busy(self) -> bool:
        """Whether an action has not ended yet."""
        return self._under_way is not None

    def _add_thread(self) -> None:
        self._threads.append(threading.Thread(target=self._serve, name="kafka-poll", daemon=True))
        self._threads[-1].start()

    def _serve(self) -> None:
        while (action := self._actions.get()) is not None:
            try:
                end = _End(action, action())
            except BaseException as error:  # noqa: BLE001 - raised again on the engine's thread
                end = _End(action, error=error)
            self._events.put(end)

    def start(self, action: Callable[[], Any]) -> None:
        """Begin an action; the one before must have ended."""
        self._under_way = action
        self._actions.put(action)

    def wait(self, on_revoke: Callable[[Revocation], None], timeout_s: float | None = None) -> Any:
        """The result of the action under way, or None if it goes on after timeout_s; revocations are carried out."""
        stop_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if stop_s is None else max(0.0, stop_s - time.monotonic())
            try:
                event = self._events.get(timeout=left_s)
            except queue.Empty:
                return None
            if isinstance(event, Revocation):
                on_revoke(event)
            elif event.action is self._under_way:
                self._under_way = None
                if event.error is not None:
                    raise event.error
                return event.result

    def call(self, action: Callable[[], Any], on_revoke: Callable[[Revocation], None]) -> Any:
        """Begin an action and wait for its end."""
        self.start(action)
        return self.wait(on_revoke)

    def abandon(self) -> None:
        """Wait no longer for the action under way, which ends with the consumer; the next has a thread of its own."""
        self._under_way = None
        self._add_thread()

    def announce(self, revocation: Revocation) -> None:
        """Called on the network thread: the engine's thread is to carry this out in its next `wait`."""
        self._events.put(revocation)

    def close(self) -> None:
        """End the side threads."""
        for _ in self._threads:
            self._actions.put(None)
        for thread in self._threads:
            thread.join()
