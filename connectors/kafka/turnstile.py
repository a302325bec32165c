"""Lets a rebalance of kafka-python be answered on the engine's own thread, while its consumer still polls.

kafka-python runs rebalance callbacks on its network thread, where blocking calls such as a commit are forbidden.
So blocking calls of the consumer are made on a side thread; while one runs, the engine's thread waits here
and carries out the revocations that come up. I know nothing of records.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kafka import AsyncConsumerRebalanceListener, TopicPartition
from kafka.future import Future


@dataclass(frozen=True, slots=True)
class Revocation:
    """Partitions that are to be given up as soon as `answered` is resolved."""

    partitions: frozenset[TopicPartition]
    answered: Future


@dataclass(frozen=True, slots=True)
class _Done:
    result: Any = None
    error: BaseException | None = None


class Turnstile:
    """Owned by one source; its side thread lives from the first call to `close`."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Revocation | _Done] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="kafka-poll", daemon=True)
        self._thread.start()

    def call(self, action: Callable[[], Any], on_revoke: Callable[[Revocation], None]) -> Any:
        """The action's result; revocations that come up meanwhile are carried out on this thread."""
        self._calls.put(action)
        while True:
            event = self._events.get()
            if isinstance(event, Revocation):
                on_revoke(event)
            elif event.error is not None:
                raise event.error
            else:
                return event.result

    def announce(self, revocation: Revocation) -> None:
        """Called on the network thread: wake the engine's thread, which waits in `call`."""
        self._events.put(revocation)

    def close(self) -> None:
        """End the side thread."""
        self._calls.put(None)
        self._thread.join()

    def _serve(self) -> None:
        while (action := self._calls.get()) is not None:
            try:
                self._events.put(_Done(action()))
            except BaseException as error:  # noqa: BLE001 - raised again on the engine's thread
                self._events.put(_Done(error=error))


class RebalanceListener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Hands what the group decides to the source; runs on the network thread."""

    def __init__(
        self,
        turnstile: Turnstile,
        on_assigned: Callable[[Iterable[TopicPartition]], None],
        on_lost: Callable[[Iterable[TopicPartition]], None],
    ) -> None:
        self._turnstile = turnstile
        self._on_assigned = on_assigned
        self._on_lost = on_lost

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Partitions have become ours."""
        self._on_assigned(assigned)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Partitions are asked back: wait, with heartbeats going on, until the engine has let go of them."""
        revocation = Revocation(frozenset(revoked), Future())
        self._turnstile.announce(revocation)
        await revocation.answered

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Partitions were given to others without asking."""
        self._on_lost(lost)
