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
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as faults
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import ConsumerGroupMetadata

from connectors.contracts import RevokeCallback, Source
from connectors.kafka.admin import Admin
from connectors.kafka.client import make, translated
from connectors.kafka.membership import Membership, as_offsets
from connectors.kafka.turnstile import Revocation
from connectors.kafka_settings import (
    METADATA_REFRESH_MS,
    STABLE_TIMEOUT_S,
    KafkaSettings,
    fell_silent,
    missing_topic,
    not_ours,
    plain_headers,
    require_group,
    unreachable,
    whole_ms,
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
        self.group = require_group(settings)
        self._consumer: KafkaConsumer | None = None
        self._membership: Membership | None = None
        self._num_partitions = 0
        self._log_id: str | None = None
        self._silence = Silence(settings.broker_timeout_s)
        self._positions: dict[Partition, Position] = {}
        self._outside: set[Partition] = set()

    def open(self, on_revoke: RevokeCallback, timeout_s: float) -> None:
        """Connect and subscribe; the topic must exist."""
        settings = self._settings
        with Admin(settings, timeout_s) as admin:
            topics = admin.topics()
        if settings.topic not in topics:
            raise missing_topic(settings, list(topics))
        self._num_partitions = topics[settings.topic]
        session_ms = int(settings.session_timeout_s * 1000)
        self._consumer = make(
            KafkaConsumer,
            settings,
            timeout_s,
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            partition_assignment_strategy=[CooperativeStickyAssignor],
            allow_auto_create_topics=False,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(1000, session_ms // 4),
            max_partition_fetch_bytes=4 << 20,
            metadata_max_age_ms=METADATA_REFRESH_MS,
            metrics_enabled=False,
        )
        try:
            self._membership = Membership(self._consumer, settings.topic, on_revoke)
        except faults.KafkaError as error:
            self._consumer.close(autocommit=False, timeout_ms=1000)
            raise translated(error, settings, timeout_s) from error
        self._silence.heard()

    @property
    def num_partitions(self) -> int:
        """How many partitions the topic had when it was opened."""
        return self._num_partitions

    def log_id(self) -> str:
        """The topic's id; "" where the broker knows none or this user may not ask for it."""
        if self._log_id is None:
            with Admin(self._settings, ASK_TIMEOUT_S) as admin:
                self._log_id = admin.topic_id(self._settings.topic)
        return self._log_id

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """Hand out what is there; also takes part in the group.

        Raises:
            ServerUnavailableError: no broker has answered for broker_timeout_s.
        """
        deadline = Deadline.after(timeout_s)
        found: dict[TopicPartition, list[Any]] = {}
        try:
            if self._silence.is_question_due:
                self._probe()
            _, membership = self._open_parts()
            if membership.settle(deadline.remaining_s):
                found = membership.poll(max_records, deadline.remaining_s)
        except faults.OffsetOutOfRangeError as error:
            self._hold_back(error.args[0])
        except faults.LogTruncationError as error:
            self._hold_back(error.divergent_offsets)
        except faults.RetriableError:
            time.sleep(min(0.05, deadline.remaining_s))
        except faults.KafkaError as error:
            raise translated(error, self._settings, timeout_s) from error
        if found:
            self._silence.heard()
        return self._as_polled(found)

    def _as_polled(self, found: Mapping[TopicPartition, list[Any]]) -> Polled:
        _, membership = self._open_parts()
        assigned, lost = membership.news()
        for partition in lost:
            self._positions.pop(partition, None)
        if assigned or lost:
            self._silence.heard()
        outside, self._outside = frozenset(self._outside - lost), set()
        batches = []
        for topic_partition, records in found.items():
            partition = Partition(topic_partition.topic, topic_partition.partition)
            next_position = self._read_up_to(topic_partition, records[-1].offset + 1)
            self._positions[partition] = next_position
            batches.append(_as_batch(partition, records, next_position))
        if not found:
            batches = self._unseen_records()
        return Polled(tuple(batches), assigned, lost, outside)

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
        deadline = Deadline.after(STABLE_TIMEOUT_S)
        try:
            return {
                partition: consumer.committed(TopicPartition(*partition), timeout_ms=1000 * deadline.remaining_s)
                for partition in partitions
            }
        except faults.KafkaError as error:
            raise translated(error, self._settings, STABLE_TIMEOUT_S) from error

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit positions; while the group rebalances, take part in that until the commit can be done."""
        if not positions:
            return
        consumer, membership = self._open_parts()
        wanted = dict(positions)
        deadline = Deadline.after(ASK_TIMEOUT_S)
        while wanted:
            self._check_ours(wanted)
            try:
                consumer.commit(as_offsets(wanted), timeout_ms=max(1.0, 1000 * deadline.remaining_s))
                return
            except faults.KafkaError as error:
                self._check_is_rebalance(error, wanted)
                if deadline.is_over or membership.is_revoking:
                    raise unreachable(self._settings, ASK_TIMEOUT_S, "the group is still rebalancing") from error
            self._take_part(wanted)

    def _check_ours(self, partitions: Iterable[Partition]) -> None:
        _, membership = self._open_parts()
        foreign = [partition for partition in partitions if not membership.holds(partition)]
        if foreign:
            raise not_ours(foreign, "they are not assigned to this member")

    def membership(self, partitions: Iterable[Partition]) -> ConsumerGroupMetadata:
        """Proof, for a transaction that commits positions of these partitions, that we are in the group now.

        Raises:
            LostPartitionsError: we are not, or not with these partitions. (A broker lets a proof without a generation
                pass, for clients that know no groups.)
        """
        partitions = list(partitions)
        self._check_ours(partitions)
        consumer, _ = self._open_parts()
        proof = consumer.group_metadata()
        if proof.generation_id < 0:
            raise not_ours(partitions, "this member was put out of the group")
        return proof

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

    def _take_part(self, wanted: dict[Partition, Position]) -> None:
        """Drive a rebalance that a commit waits for.

        Partitions that are asked back meanwhile are committed as wanted and given up at once; the next poll
        reports them lost.
        """
        _, membership = self._open_parts()

        def give_up(revocation: Revocation) -> None:
            leaving = {Partition(*item) for item in revocation.partitions}
            last = {partition: wanted.pop(partition) for partition in leaving if partition in wanted}
            try:
                membership.give_up(revocation, last, ASK_TIMEOUT_S)
            except faults.KafkaError:
                wanted.update(last)  # not committed: they are no longer ours, and the caller is told so
                raise

        try:
            membership.settle(0.1, give_up)
        except faults.KafkaError as error:
            if not isinstance(error, faults.RetriableError):
                raise translated(error, self._settings, ASK_TIMEOUT_S) from error

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

    def positions_at(self, partitions: Iterable[Partition], time_ns: int) -> dict[Partition, Position]:
        """Each log's first record of that time or later."""
        consumer, _ = self._open_parts()
        asked = list(partitions)
        times_ms = {TopicPartition(*partition): whole_ms(time_ns) for partition in asked}
        try:
            found = consumer.offsets_for_times(times_ms, timeout_ms=1000 * ASK_TIMEOUT_S)
        except faults.KafkaError as error:
            raise translated(error, self._settings, ASK_TIMEOUT_S) from error
        firsts = {Partition(*item): int(first.offset) for item, first in found.items() if first is not None}
        return {item: bounds.latest for item, bounds in self.bounds(set(asked) - firsts.keys()).items()} | firsts

    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """What the brokers know of each log's timestamps."""
        with Admin(self._settings, ASK_TIMEOUT_S) as admin:
            return admin.newest_ns(partitions)

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """The log's ends as the last fetches told them."""
        consumer, _ = self._open_parts()
        mine = consumer.assignment()  # the group may have asked some back while a commit waited for it
        found = {item: consumer.highwater(TopicPartition(*item)) for item in partitions if item in mine}
        return {item: int(end) for item, end in found.items() if end is not None}

    def close(self) -> None:
        """Give the partitions back, leave the group and free everything."""
        membership = self._membership
        if membership is None:
            return
        try:
            membership.leave()
        except faults.KafkaError as error:
            logger.warning("%s: the group was not left in order: %s", self._settings.address, error)
        finally:
            self._consumer = self._membership = None

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

    def _hold_back(self, named: Iterable[TopicPartition]) -> None:
        """Read no more of partitions whose position the log does not hold, until they are sought again.

        kafka-python has advanced nothing, and asks no more where the log holds the position after all.
        """
        consumer, _ = self._open_parts()
        here = [partition for item in named if (partition := Partition(*item)) in self._positions]
        for partition, bounds in self.bounds(here).items():
            if bounds.earliest <= self._positions[partition] <= bounds.latest:
                self.seek(partition, self._positions[partition])
                continue
            del self._positions[partition]
            consumer.pause(TopicPartition(*partition))
            consumer.seek(TopicPartition(*partition), 0)
            self._outside.add(partition)
            self._log_id = None

    def _open_parts(self) -> tuple[KafkaConsumer, Membership]:
        if self._consumer is None or self._membership is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return self._consumer, self._membership


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
