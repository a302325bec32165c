"""A Kafka topic as a Source, by kafka-python. I know nothing of what the bytes mean.

Newly assigned partitions are paused, with a position that is never read, until the engine's first seek; committed
offsets are asked as *stable* ones (read_committed), and nothing is ever reset by the library's own choice.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as faults
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.base import MemberState

from connectors.contracts import RevokeCallback, Source
from connectors.kafka.admin import Admin
from connectors.kafka.client import make, translated
from connectors.kafka.turnstile import RebalanceListener, Revocation, Turnstile
from connectors.kafka_settings import (
    KafkaSettings,
    beyond_end,
    fell_silent,
    missing_topic,
    not_ours,
    plain_headers,
    require_group,
    unreachable,
)
from connectors.records import Bounds, Partition, Polled, Position, RecordBatch
from connectors.retry import Deadline, Silence

ASK_TIMEOUT_S = 30.0
PROBE_TIMEOUT_S = 1.0

logger = logging.getLogger(__name__)


class KafkaSource(Source):
    """One member of a consumer group; owned by the engine's thread, from `open` to `close`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._group = require_group(settings)
        self._consumer: KafkaConsumer | None = None
        self._turnstile: Turnstile | None = None
        self._on_revoke: RevokeCallback = _ignore
        self._num_partitions = 0
        self._silence = Silence(settings.broker_timeout_s)
        self._positions: dict[Partition, Position] = {}
        self._assigned: set[Partition] = set()
        self._lost: set[Partition] = set()
        self._leaving: frozenset[Partition] = frozenset()

    def open(self, on_revoke: RevokeCallback, timeout_s: float) -> None:
        """Connect and subscribe; the topic must exist."""
        settings = self._settings
        with Admin(settings, timeout_s) as admin:
            topics = admin.topics()
        if settings.topic not in topics:
            raise missing_topic(settings, list(topics))
        self._num_partitions = topics[settings.topic]
        self._on_revoke = on_revoke
        session_ms = int(settings.session_timeout_s * 1000)
        self._consumer = make(
            KafkaConsumer,
            settings,
            timeout_s,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            partition_assignment_strategy=[CooperativeStickyAssignor],
            allow_auto_create_topics=False,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(1000, session_ms // 4),
            max_partition_fetch_bytes=4 << 20,
            metrics_enabled=False,
        )
        self._turnstile = Turnstile()
        listener = RebalanceListener(self._turnstile, self._note_assigned, self._note_lost)
        self._consumer.subscribe([settings.topic], listener=listener)
        self._consumer.partitions_for_topic(settings.topic)  # known before the first rebalance, which needs it
        self._silence.heard()

    @property
    def num_partitions(self) -> int:
        """How many partitions the topic had when it was opened."""
        return self._num_partitions

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """Hand out what is there; also takes part in the group.

        Raises:
            ServerUnavailableError: no broker has answered for broker_timeout_s.
            PositionError: a position sought lies beyond the log's end.
        """
        deadline = Deadline.after(timeout_s)
        found: dict[TopicPartition, list[Any]] = {}
        try:
            if self._silence.is_question_due:
                self._probe()
            found = self._polled(max_records, deadline.remaining_s, self._revoke)
        except faults.OffsetOutOfRangeError as error:
            self._move_into_range(error)
        except faults.RetriableError:
            time.sleep(min(0.05, deadline.remaining_s))
        except faults.KafkaError as error:
            raise translated(error, self._settings, timeout_s) from error
        if found:
            self._silence.heard()
        else:
            self._see_rebalance_through()
        return self._as_polled(found)

    def _see_rebalance_through(self) -> None:
        """Ask for a rejoin while a rebalance is under way; one in flight is only awaited.

        A rebalance that began because metadata had changed is forgotten by kafka-python 3.0 if a poll times out
        in the middle of it: the member would then wait for ever, without partitions and without heartbeats.
        """
        consumer, _ = self._open_parts()
        if consumer.group_metadata().state is MemberState.REBALANCING:
            consumer._coordinator.request_rejoin()

    def _polled(self, max_records: int, timeout_s: float, on_revoke: Any) -> dict[TopicPartition, list[Any]]:
        consumer, turnstile = self._open_parts()
        timeout_ms = timeout_s * 1000
        found: dict[TopicPartition, list[Any]] = turnstile.call(
            lambda: consumer.poll(timeout_ms, max_records), on_revoke
        )
        return found

    def _as_polled(self, found: Mapping[TopicPartition, list[Any]]) -> Polled:
        batches = []
        for topic_partition, records in found.items():
            partition = Partition(topic_partition.topic, topic_partition.partition)
            next_position = self._read_up_to(topic_partition, records[-1].offset + 1)
            self._positions[partition] = next_position
            batches.append(_as_batch(partition, records, next_position))
        if not found:
            batches = self._unseen_records()
        assigned, self._assigned = frozenset(self._assigned), set()
        lost, self._lost = frozenset(self._lost), set()
        return Polled(tuple(batches), assigned, lost)

    def _read_up_to(self, topic_partition: TopicPartition, at_least: Position) -> Position:
        """The consumer's own position: after transaction markers and removed records too."""
        consumer, _ = self._open_parts()
        try:
            position = consumer.position(topic_partition, timeout_ms=0)
        except (faults.KafkaError, AssertionError):
            return at_least
        return at_least if position is None else max(int(position), at_least)

    def _unseen_records(self) -> list[RecordBatch]:
        """Empty batches where only records that a consumer never sees were passed."""
        batches = []
        for partition, before in list(self._positions.items()):
            now = self._read_up_to(TopicPartition(*partition), before)
            if now > before:
                self._positions[partition] = now
                batches.append(_as_batch(partition, [], now))
        return batches

    def seek(self, partition: Partition, position: Position) -> None:
        """Read on from position; the first one after an assignment lets the partition go."""
        consumer, _ = self._open_parts()
        topic_partition = TopicPartition(*partition)
        if topic_partition not in consumer.assignment():
            return  # taken from us meanwhile: the next poll says so
        consumer.seek(topic_partition, position)
        consumer.resume(topic_partition)
        self._positions[partition] = position

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Position | None]:
        """The group's stable committed offsets."""
        consumer, _ = self._open_parts()
        deadline = Deadline.after(ASK_TIMEOUT_S)
        try:
            return {
                partition: consumer.committed(TopicPartition(*partition), timeout_ms=1000 * deadline.remaining_s)
                for partition in partitions
            }
        except faults.KafkaError as error:
            raise translated(error, self._settings, ASK_TIMEOUT_S) from error

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit positions; while the group rebalances, take part in that until the commit can be done."""
        if not positions:
            return
        consumer, _ = self._open_parts()
        wanted = dict(positions)
        deadline = Deadline.after(ASK_TIMEOUT_S)
        while True:
            self._check_ownership(wanted)
            try:
                consumer.commit(_as_offsets(wanted), timeout_ms=max(1.0, 1000 * deadline.remaining_s))
                return
            except faults.KafkaError as error:
                self._check_is_rebalance(error, wanted)
                if deadline.is_over:
                    raise unreachable(self._settings, ASK_TIMEOUT_S, "the group is still rebalancing") from error
            self._take_part(wanted)
            if not wanted:
                return

    def _check_is_rebalance(self, error: faults.KafkaError, wanted: Mapping[Partition, Position]) -> None:
        """Let a commit's failure pass only if it can be done after the rebalance that is going on."""
        is_rebalance = isinstance(error, faults.RebalanceInProgressError) or (
            isinstance(error, faults.CommitFailedError)
            and any(isinstance(cause, faults.RebalanceInProgressError) for cause in error.args)
        )
        if is_rebalance:
            return
        if isinstance(error, faults.CommitFailedError | faults.FencedInstanceIdError):
            raise not_ours(list(wanted), "this member was put out of the group") from error
        raise translated(error, self._settings, ASK_TIMEOUT_S) from error

    def _check_ownership(self, wanted: Mapping[Partition, Position]) -> None:
        consumer, _ = self._open_parts()
        ours = {Partition(*item) for item in consumer.assignment()} | self._leaving
        foreign = [partition for partition in wanted if partition not in ours or partition in self._lost]
        if foreign:
            raise not_ours(foreign, "they are not assigned to this member")

    def _take_part(self, wanted: dict[Partition, Position]) -> None:
        """Drive a rebalance that a commit waits for, handing out nothing.

        Partitions that are asked back meanwhile are committed as wanted and given up at once; the next poll
        reports them lost.
        """
        consumer, _ = self._open_parts()

        def give_up(revocation: Revocation) -> None:
            leaving = {Partition(*item) for item in revocation.partitions}
            last = {partition: wanted.pop(partition) for partition in leaving if partition in wanted}
            try:
                consumer.commit(_as_offsets(last), timeout_ms=1000 * ASK_TIMEOUT_S)
            finally:
                self._forget(revocation.partitions)
                _let_go(revocation, consumer)

        reading = consumer.assignment() - consumer.paused()
        consumer.pause(*reading)
        try:
            self._polled(1, 0.05, give_up)
        finally:
            consumer.resume(*(reading & consumer.assignment()))

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, Bounds]:
        """What each partition's log holds now."""
        consumer, _ = self._open_parts()
        asked = [TopicPartition(*partition) for partition in partitions]
        if not asked:
            return {}
        try:
            first = consumer.beginning_offsets(asked, timeout_ms=1000 * ASK_TIMEOUT_S)
            last = consumer.end_offsets(asked, timeout_ms=1000 * ASK_TIMEOUT_S)
        except faults.KafkaError as error:
            raise translated(error, self._settings, ASK_TIMEOUT_S) from error
        return {Partition(*item): Bounds(first[item], max(first[item], last[item])) for item in asked}

    def close(self) -> None:
        """Give the partitions back, leave the group and free everything."""
        consumer, turnstile = self._consumer, self._turnstile
        if consumer is None or turnstile is None:
            return
        try:
            turnstile.call(lambda: consumer.close(autocommit=False, timeout_ms=5000), self._revoke)
        except faults.KafkaError as error:
            logger.warning("%s: the group was not left in order: %s", self._settings.address, error)
        finally:
            self._consumer = self._turnstile = None
            turnstile.close()

    # -- what the group decides -----------------------------------------------

    def _note_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """On the network thread: hold the new partitions back until they are sought."""
        consumer, _ = self._open_parts()
        for item in assigned:
            consumer.pause(item)
            consumer.seek(item, 0)
            self._assigned.add(Partition(*item))
        self._silence.heard()

    def _note_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._forget(lost)

    def _revoke(self, revocation: Revocation) -> None:
        """On the engine's thread: let it commit, then let go."""
        consumer, _ = self._open_parts()
        self._silence.heard()
        known = {Partition(*item) for item in revocation.partitions} - self._assigned
        self._leaving = frozenset(known)
        try:
            if known:
                self._on_revoke(self._leaving)
        finally:
            self._leaving = frozenset()
            self._forget(revocation.partitions)
            _let_go(revocation, consumer)

    def _forget(self, gone: Iterable[TopicPartition]) -> None:
        for item in gone:
            partition = Partition(*item)
            self._positions.pop(partition, None)
            if partition in self._assigned:
                self._assigned.discard(partition)
            else:
                self._lost.add(partition)

    # -- what can go wrong ----------------------------------------------------

    def _probe(self) -> None:
        """Nothing has come for a while: ask a broker for a sign of life."""
        consumer, _ = self._open_parts()
        self._silence.asked()
        try:
            consumer.end_offsets([TopicPartition(self._settings.topic, 0)], timeout_ms=1000 * PROBE_TIMEOUT_S)
            self._silence.heard()
        except faults.KafkaError as error:
            if self._silence.is_too_long:
                raise fell_silent(self._settings) from error

    def _move_into_range(self, error: faults.OffsetOutOfRangeError) -> None:
        """The log no longer holds a position: go on at its earliest record, loudly, or stop if it is shorter.

        (kafka-python has advanced nothing: the partition still stands at that position.)
        """
        for partition, bounds in self.bounds(list(self._positions)).items():
            position = self._positions[partition]
            if position > bounds.latest:
                raise beyond_end(partition, position, bounds) from error
            if position < bounds.earliest:
                logger.warning(
                    "%s: %d records before %d were removed before they were read; raise the topic's retention",
                    partition,
                    bounds.earliest - position,
                    bounds.earliest,
                )
                self.seek(partition, bounds.earliest)

    def _open_parts(self) -> tuple[KafkaConsumer, Turnstile]:
        if self._consumer is None or self._turnstile is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return self._consumer, self._turnstile


def _ignore(_partitions: frozenset[Partition]) -> None:
    """Before `open` nothing can be revoked."""


def _let_go(revocation: Revocation, consumer: KafkaConsumer) -> None:
    """Resolve the future the network thread waits on; the empty commit, which asks no broker, wakes that thread."""
    revocation.answered.success(None)
    consumer.commit({})


def _as_offsets(positions: Mapping[Partition, Position]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(*item): OffsetAndMetadata(position, "", -1) for item, position in positions.items()}


def _as_batch(partition: Partition, records: Sequence[Any], next_position: Position) -> RecordBatch:
    """Columns of kafka-python's records, whose fields lie in the order of `ConsumerRecord`."""
    num_records = len(records)
    columns = list(zip(*records, strict=True)) if records else list(repeat((), 9))
    offsets, times_ms, keys, values, headers = columns[3], columns[4], columns[6], columns[7], columns[8]
    times = np.fromiter(times_ms, np.int64, num_records)
    return RecordBatch(
        partition=partition,
        offsets=np.fromiter(offsets, np.int64, num_records),
        timestamps_ns=np.where(times < 0, -1, times * 1_000_000),
        keys=keys,
        values=values,
        headers=plain_headers(headers) if any(headers) else None,
        next_position=next_position,
    )
