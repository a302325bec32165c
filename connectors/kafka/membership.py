"""Membership of a consumer group with kafka-python: who asks partitions back, what is new, what is lost.

I know nothing of records. Three habits of kafka-python 3.0 are dealt with here: a rebalance that completes while no
poll waits for it is thrown away and begun anew (two members that compute between polls could go on so for long), and
one that began because metadata had changed is forgotten if a poll times out in its middle. So once one has begun, a
side thread waits for its end, however long that takes, while the engine polls in vain. The third is at
`_let_rejoins_tell_losses`.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.base import MemberState
from kafka.future import Future

from connectors.contracts import RevokeCallback
from connectors.kafka.turnstile import Revocation, Turnstile
from connectors.records import Partition, Position
from connectors.retry import Deadline

LEAVE_TIMEOUT_S = 5.0


class Membership:
    """Owned by one source, from its `open` to its `close`; `_on_…` methods run on kafka-python's network thread."""

    def __init__(self, consumer: KafkaConsumer, topic: str, on_revoke: RevokeCallback) -> None:
        self._consumer = consumer
        self._on_revoke = on_revoke
        self._turnstile = Turnstile()
        self._lock = threading.Lock()
        self._assigned: set[Partition] = set()
        self._lost: set[Partition] = set()
        self._leaving: set[Partition] = set()
        self.is_revoking = False
        _let_rejoins_tell_losses(consumer._coordinator)
        consumer.subscribe([topic], listener=_Listener(self._on_assigned, self._on_leaving, self._on_lost))
        consumer.partitions_for_topic(topic)  # known before the first rebalance, which needs it

    def settle(self, timeout_s: float, on_revoke: Callable[[Revocation], None] | None = None) -> bool:
        """Take part in a rebalance if one is due; False if it still goes on after timeout_s."""
        turnstile = self._turnstile
        coordinator = self._consumer._coordinator
        if not turnstile.is_busy:
            if not (self.is_rebalancing or coordinator.need_rejoin()):
                return True
            coordinator.request_rejoin()  # one that is under way is awaited; without this it may be forgotten
            turnstile.start(lambda: coordinator.ensure_active_group())
        turnstile.wait(on_revoke or self._revoke, timeout_s)
        return not turnstile.is_busy

    @property
    def is_rebalancing(self) -> bool:
        """Whether the group is between two assignments."""
        return self._consumer.group_metadata().state is MemberState.REBALANCING

    def poll(self, max_records: int, timeout_s: float) -> dict[TopicPartition, list[object]]:
        """The consumer's own poll; the group must be settled."""
        timeout_ms = 1000 * timeout_s
        found: dict[TopicPartition, list[object]] = self._turnstile.call(
            lambda: self._consumer.poll(timeout_ms, max_records), self._revoke
        )
        if self.is_rebalancing:
            self.settle(0.0)
        return found

    def holds(self, partition: Partition) -> bool:
        """Whether a commit for the partition may be sent."""
        with self._lock:
            return partition not in self._lost and (
                partition in self._leaving or TopicPartition(*partition) in self._consumer.assignment()
            )

    def news(self) -> tuple[frozenset[Partition], frozenset[Partition]]:
        """Partitions newly assigned, and those lost, since the last call."""
        with self._lock:
            assigned, self._assigned = frozenset(self._assigned), set()
            lost, self._lost = frozenset(self._lost), set()
            return assigned, lost

    def give_up(self, revocation: Revocation, last: Mapping[Partition, Position], timeout_s: float) -> None:
        """Let go of partitions with these last positions, without asking the engine."""
        try:
            self._consumer.commit(as_offsets(last), timeout_ms=1000 * timeout_s)
        finally:
            self._let_go(revocation)

    def leave(self) -> None:
        """Give the partitions back, leave the group and close the consumer."""
        turnstile, consumer = self._turnstile, self._consumer
        deadline = Deadline.after(LEAVE_TIMEOUT_S)
        try:
            if turnstile.is_busy or self.is_rebalancing:
                self.settle(deadline.remaining_s)
            if turnstile.is_busy:
                turnstile.abandon()
            turnstile.call(lambda: consumer.close(autocommit=False, timeout_ms=1000 * LEAVE_TIMEOUT_S), self._revoke)
        finally:
            turnstile.close()

    def _revoke(self, revocation: Revocation) -> None:
        """On the engine's thread: let it commit, then let go."""
        with self._lock:
            known = frozenset(Partition(*item) for item in revocation.partitions) - self._assigned
        self.is_revoking = True
        try:
            if known:
                self._on_revoke(known)
        finally:
            self.is_revoking = False
            self._let_go(revocation)

    def _let_go(self, revocation: Revocation) -> None:
        self._forget(revocation.partitions)
        revocation.answered.success(None)
        self._consumer.commit({})  # asks no broker, but wakes the network thread, which waits for the answer

    def _forget(self, gone: Iterable[TopicPartition]) -> None:
        with self._lock:
            partitions = {Partition(*item) for item in gone}
            self._lost |= partitions - self._assigned
            self._assigned -= partitions
            self._leaving -= partitions

    def _on_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Hold the new partitions back, at a position that is never read, until they are sought."""
        for item in assigned:
            self._consumer.pause(item)
            self._consumer.seek(item, 0)
        with self._lock:
            self._assigned |= {Partition(*item) for item in assigned}

    def _on_leaving(self, revocation: Revocation) -> None:
        with self._lock:
            self._leaving |= {Partition(*item) for item in revocation.partitions}
        self._turnstile.announce(revocation)

    def _on_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._forget(lost)


def as_offsets(positions: Mapping[Partition, Position]) -> dict[TopicPartition, OffsetAndMetadata]:
    """Positions as kafka-python wants them."""
    return {TopicPartition(*item): OffsetAndMetadata(position, "", -1) for item, position in positions.items()}


def _let_rejoins_tell_losses(coordinator: Any) -> None:
    """Let a member that hears while it joins anew that it was put out tell that its partitions are lost.

    kafka-python looks for that once, when a rebalance begins. If it hears later it would keep them, though others may
    have had them since, or be asked them back under a new generation, whose commits a broker takes.
    """
    reset = coordinator.reset_generation

    def reset_and_begin_anew(*member_id: str, **named: str) -> None:
        reset(*member_id, **named)
        coordinator.rejoining = False

    coordinator.reset_generation = reset_and_begin_anew


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Hands what the group decides to the membership; runs on the network thread."""

    def __init__(
        self,
        on_assigned: Callable[[Iterable[TopicPartition]], None],
        on_leaving: Callable[[Revocation], None],
        on_lost: Callable[[Iterable[TopicPartition]], None],
    ) -> None:
        self._on_assigned = on_assigned
        self._on_leaving = on_leaving
        self._on_lost = on_lost

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Partitions have become ours."""
        self._on_assigned(assigned)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Partitions are asked back: wait, with heartbeats going on, until the engine has let go of them."""
        revocation = Revocation(frozenset(revoked), Future())
        self._on_leaving(revocation)
        await revocation.answered

    async def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Partitions were given to others without asking."""
        self._on_lost(lost)
