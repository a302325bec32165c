"""A Kafka topic as a Source, by confluent-kafka (librdkafka). I know nothing of what the bytes mean.

A partition that the group gives us is handed to librdkafka only at the engine's first seek, with that position: before
it nothing is fetched, so nothing can leak. What was prefetched before a later seek is dropped by librdkafka.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from sys import byteorder
from typing import Any, TypeVar

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from connectors.contracts import RevokeCallback, Source
from connectors.kafka_settings import (
    METADATA_REFRESH_MS,
    STABLE_TIMEOUT_S,
    KafkaSettings,
    fell_silent,
    missing_topic,
    not_ours,
    plain_headers,
    refused,
    require_group,
    unreachable,
    whole_ms,
)
from connectors.librdkafka.client import Admin, Faults, make, translated
from connectors.records import Bounds, Partition, Polled, Position, RecordBatch
from connectors.retry import Backoff, Deadline, Silence

ASK_TIMEOUT_S = 30.0
PROBE_TIMEOUT_S = 1.0
FETCH_BYTES = 128 << 10  # of each partition at a time: none runs far ahead, and one poll brings records of all
METADATA_MAGIC = b"CGMDv2:"  # before the generation (int32) in librdkafka's own form of a membership
MOST_AT_ONCE = 1_000_000  # librdkafka's own limit for one call

T = TypeVar("T")

STALE = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.FENCED_MEMBER_EPOCH,
        KafkaError._ASSIGNMENT_LOST,
    }
)
_WAITING = frozenset(
    {
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.STALE_MEMBER_EPOCH,  # this member hears of the new epoch with its next heartbeat
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._TRANSPORT,
        KafkaError._TIMED_OUT,
        KafkaError._STATE,
        KafkaError._PREV_IN_PROGRESS,
    }
)
_OUTSIDE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION})


class LibrdkafkaSource(Source):
    """One member of a consumer group; owned by the engine's thread, from `open` to `close`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self.group = require_group(settings)
        self._consumer: Consumer | None = None
        self._faults = Faults()
        self._on_revoke: RevokeCallback = _ignore
        self._num_partitions = 0
        self._log_id: str | None = None
        self._silence = Silence(settings.broker_timeout_s)
        self._positions: dict[Partition, Position] = {}
        self._waiting: set[Partition] = set()
        self._assigned: set[Partition] = set()
        self._lost: set[Partition] = set()
        self._outside: set[Partition] = set()
        self._failure: BaseException | None = None

    def open(self, on_revoke: RevokeCallback, timeout_s: float) -> None:
        """Connect and subscribe; the topic must exist."""
        settings = self._settings
        with Admin(settings, timeout_s) as admin:
            topics = admin.topics()
        if settings.topic not in topics:
            raise missing_topic(settings, list(topics))
        self._num_partitions = topics[settings.topic]
        self._on_revoke = on_revoke
        self._faults = Faults()
        self._consumer = make(Consumer, settings, self._faults, **self._consumer_options())
        self._consumer.subscribe(
            [settings.topic], on_assign=self._take, on_revoke=self._give_back, on_lost=self._give_up
        )
        self._silence.heard()

    def _consumer_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "group__id": self.group,
            "enable__auto__commit": False,
            "enable__auto__offset__store": False,
            "auto__offset__reset": "error",
            "isolation__level": "read_committed",
            "enable__partition__eof": True,
            "fetch__wait__max__ms": 100,
            "fetch__error__backoff__ms": 100,
            "fetch__message__max__bytes": FETCH_BYTES,
            "queued__min__messages": 200_000,
            "topic__metadata__refresh__interval__ms": METADATA_REFRESH_MS,
        }
        if self._settings.librdkafka_options().get("group.protocol") != "consumer":
            session_ms = int(self._settings.session_timeout_s * 1000)
            options["partition__assignment__strategy"] = "cooperative-sticky"
            options["session__timeout__ms"] = session_ms
            options["heartbeat__interval__ms"] = min(1000, session_ms // 4)
        return options

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
        messages = self._consume(min(max_records, MOST_AT_ONCE), deadline)
        columns: dict[int, list[Any]] = {}
        ends: dict[int, Position] = {}
        errors = self._sort_out(messages, columns, ends)
        batches = self._as_batches(columns, ends)
        if messages:
            self._silence.heard()
            for message in errors:  # after the batches: they have moved the positions
                self._note_error(message.error(), message)
        elif self._silence.is_question_due:
            self._probe()
        assigned, self._assigned = frozenset(self._assigned), set()
        lost, self._lost = frozenset(self._lost), set()
        outside, self._outside = frozenset(self._outside - lost), set()
        return Polled(tuple(batches), assigned, lost, outside)

    def _consume(self, most: int, deadline: Deadline) -> list[Any]:
        """What is there, waiting only for the first: librdkafka's own wait is for the whole number asked."""
        consumer = self._open_consumer()
        try:
            messages = consumer.consume(most, 0)
            if not messages and not deadline.is_over:
                messages = consumer.consume(1, deadline.remaining_s)
                if messages and most > 1:
                    messages += consumer.consume(most - 1, 0)
        except KafkaException as error:
            self._raise_failure()
            raise translated(error, self._settings, deadline.remaining_s, self._faults) from error
        self._raise_failure()
        return messages

    def _sort_out(self, messages: list[Any], columns: dict[int, list[Any]], ends: dict[int, Position]) -> list[Any]:
        """Records by partition, and the ends of partitions; of partitions not being read nothing passes.

        Returns the messages that are errors.
        """
        errors = []
        for message in messages:
            error = message.error()
            if error is None:
                number = message.partition()
                if number in columns:
                    columns[number].append(message)
                else:
                    columns[number] = [message]
            elif error.code() == KafkaError._PARTITION_EOF:
                ends[message.partition()] = message.offset()
            else:
                errors.append(message)
        topic = self._settings.topic
        for number in [number for number in columns if Partition(topic, number) not in self._positions]:
            del columns[number]
        return errors

    def _as_batches(self, columns: Mapping[int, list[Any]], ends: Mapping[int, Position]) -> list[RecordBatch]:
        batches = []
        for number in {**columns, **ends}:
            partition = Partition(self._settings.topic, number)
            before = self._positions.get(partition)
            if before is None:
                continue
            messages = columns.get(number, ())
            last = messages[-1].offset() + 1 if messages else before
            next_position = max(last, ends.get(number, last))
            if next_position > before:
                self._positions[partition] = next_position
                batches.append(_as_batch(partition, messages, next_position))
        return batches

    def seek(self, partition: Partition, position: Position) -> None:
        """Read on from position; the first one after an assignment lets the partition go."""
        consumer = self._open_consumer()
        target = TopicPartition(partition.topic, partition.number, position)
        if partition in self._waiting:
            self._insist(lambda: consumer.incremental_assign([target]), "seek")
            self._waiting.discard(partition)
        elif partition in self._positions:
            self._insist(lambda: _seek(consumer, target), "seek")
        else:
            return  # taken from us meanwhile: the next poll says so
        self._positions[partition] = position

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Position | None]:
        """The group's stable committed offsets."""
        consumer = self._open_consumer()
        asked = [TopicPartition(*partition) for partition in partitions]
        if not asked:
            return {}
        found = self._insist(
            lambda: _checked(consumer.committed(asked, timeout=ASK_TIMEOUT_S)), "committed", STABLE_TIMEOUT_S
        )
        return {Partition(item.topic, item.partition): item.offset if item.offset >= 0 else None for item in found}

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Commit positions and wait until that is done."""
        if not positions:
            return
        consumer = self._open_consumer()
        self._check_ours(positions)
        offsets = [TopicPartition(*partition, position) for partition, position in positions.items()]
        try:
            self._insist(lambda: _checked(consumer.commit(offsets=offsets, asynchronous=False)), "commit")
        except KafkaException as error:
            raise not_ours(list(positions), error.args[0].name()) from error

    def _check_ours(self, partitions: Iterable[Partition]) -> None:
        foreign = [item for item in partitions if item not in self._positions and item not in self._waiting]
        if foreign:
            raise not_ours(foreign, "they are not assigned to this member")

    def membership(self, partitions: Iterable[Partition]) -> bytes:
        """Proof, for a transaction that commits positions of these partitions, that we are in the group now.

        Raises:
            LostPartitionsError: we are not, or not with these partitions. (A broker lets a proof without a generation
                pass, for clients that know no groups.)
        """
        partitions = list(partitions)
        self._check_ours(partitions)
        proof: bytes = self._open_consumer().consumer_group_metadata()
        start = len(METADATA_MAGIC)
        if not proof.startswith(METADATA_MAGIC) or int.from_bytes(proof[start : start + 4], byteorder, signed=True) < 0:
            raise not_ours(partitions, "this member was put out of the group")
        return proof

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, Bounds]:
        """What each partition's log holds now."""
        consumer = self._open_consumer()

        def ask(partition: Partition) -> Bounds:
            found = consumer.get_watermark_offsets(TopicPartition(*partition), timeout=ASK_TIMEOUT_S)
            return Bounds(*found)

        return {partition: self._insist(partial(ask, partition), "bounds") for partition in partitions}

    def positions_at(self, partitions: Iterable[Partition], time_ns: int) -> dict[Partition, Position]:
        """Each log's first record of that time or later."""
        consumer = self._open_consumer()
        asked = [TopicPartition(*partition, whole_ms(time_ns)) for partition in partitions]
        if not asked:
            return {}
        found = self._insist(lambda: _checked(consumer.offsets_for_times(asked, ASK_TIMEOUT_S)), "positions_at")
        firsts = {Partition(item.topic, item.partition): int(item.offset) for item in found}
        ends = self.bounds([partition for partition, first in firsts.items() if first < 0])
        return firsts | {partition: bounds.latest for partition, bounds in ends.items()}

    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """What the brokers know of each log's timestamps."""
        with Admin(self._settings, ASK_TIMEOUT_S) as admin:
            return admin.newest_ns(partitions)

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """The log's ends as the last fetches told them."""
        consumer = self._open_consumer()
        found = {item: consumer.get_watermark_offsets(TopicPartition(*item), cached=True) for item in partitions}
        return {item: int(marks[1]) for item, marks in found.items() if marks is not None and marks[1] >= 0}

    def close(self) -> None:
        """Give the partitions back, leave the group and free everything."""
        consumer = self._consumer
        if consumer is None:
            return
        try:
            consumer.close()
        finally:
            self._consumer = None
        self._raise_failure()

    # -- what the group decides (called by librdkafka inside consume and close) -----------

    def _take(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        taken = {Partition(item.topic, item.partition) for item in partitions}
        self._assigned |= taken
        self._waiting |= taken
        self._silence.heard()
        consumer.incremental_assign([])

    def _give_back(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        gone = {Partition(item.topic, item.partition) for item in partitions}
        self._silence.heard()
        known = frozenset(gone - self._assigned)
        try:
            if known:
                self._on_revoke(known)
        except BaseException as error:  # noqa: BLE001 - raised again by poll or close
            self._failure = error
        self._let_go(consumer, gone)

    def _give_up(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._let_go(consumer, {Partition(item.topic, item.partition) for item in partitions})

    def _let_go(self, consumer: Consumer, gone: set[Partition]) -> None:
        reading = [TopicPartition(*partition) for partition in gone if partition in self._positions]
        for partition in gone:
            self._positions.pop(partition, None)
            self._waiting.discard(partition)
            if partition in self._assigned:
                self._assigned.discard(partition)
            else:
                self._lost.add(partition)
        consumer.incremental_unassign(reading)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    # -- what can go wrong --------------------------------------------------------------

    def _insist(self, action: Callable[[], T], what: str, timeout_s: float = ASK_TIMEOUT_S) -> T:
        """Repeat an action while the cluster asks for patience; a stale member's fault passes as it is."""
        deadline = Deadline.after(timeout_s)
        backoff = Backoff(first_s=0.005, most_s=0.2)
        attempt = 0
        while True:
            try:
                return action()
            except KafkaException as error:
                code = error.args[0].code()
                if code in STALE:
                    raise
                if code not in _WAITING:
                    raise translated(error, self._settings, ASK_TIMEOUT_S, self._faults) from error
                if deadline.is_over:
                    cause = f"{what}: {error.args[0].name()}"
                    raise unreachable(self._settings, timeout_s, cause) from error
            time.sleep(backoff.wait_s(attempt))
            attempt += 1

    def _probe(self) -> None:
        """Nothing has come for a while: ask a broker for a sign of life."""
        consumer = self._open_consumer()
        self._silence.asked()
        try:
            consumer.get_watermark_offsets(TopicPartition(self._settings.topic, 0), timeout=PROBE_TIMEOUT_S)
            self._silence.heard()
        except KafkaException as error:
            if self._faults.refusal is not None:
                raise refused(self._settings, self._faults.refusal.str()) from error
            if self._silence.is_too_long:
                raise fell_silent(self._settings) from error

    def _note_error(self, error: KafkaError, message: Any) -> None:
        """An error that librdkafka hands out between records; most of them it deals with itself."""
        if error.code() in _OUTSIDE:
            partition = Partition(message.topic(), message.partition())
            if partition in self._positions:
                self._hold_back_outside(partition)
        elif error.fatal() or error.code() in (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
        ):
            raise refused(self._settings, error.str())

    def _hold_back_outside(self, partition: Partition) -> None:
        """Read no more of a partition whose position the log does not hold, until it is sought again.

        librdkafka has stopped fetching it, also where the log holds the position after all.
        """
        position = self._positions.pop(partition)
        self._open_consumer().incremental_unassign([TopicPartition(*partition)])
        self._waiting.add(partition)
        bounds = self.bounds([partition])[partition]
        if bounds.earliest <= position <= bounds.latest:
            self.seek(partition, position)
        else:
            self._outside.add(partition)
            self._log_id = None

    def _open_consumer(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return self._consumer


def _ignore(_partitions: frozenset[Partition]) -> None:
    """Before `open` nothing can be revoked."""


def _seek(consumer: Consumer, target: TopicPartition) -> None:
    """Move a partition; one that librdkafka has stopped fetching, after an error, is taken out and put in again."""
    try:
        consumer.seek(target)
    except KafkaException as error:
        if error.args[0].code() != KafkaError._STATE:
            raise
        consumer.incremental_unassign([target])
        consumer.incremental_assign([target])


def _checked(found: Sequence[TopicPartition]) -> Sequence[TopicPartition]:
    """Raise the error of a single partition as that of the call."""
    for item in found:
        if item.error is not None:
            raise KafkaException(item.error)
    return found


def _as_batch(partition: Partition, messages: Sequence[Any], next_position: Position) -> RecordBatch:
    num_records = len(messages)
    times = np.fromiter((message.timestamp()[1] for message in messages), np.int64, num_records)
    headers = [message.headers() for message in messages]
    return RecordBatch(
        partition=partition,
        offsets=np.fromiter((message.offset() for message in messages), np.int64, num_records),
        timestamps_ns=np.where(times < 0, -1, times * 1_000_000),
        keys=[message.key() for message in messages],
        values=[message.value() for message in messages],
        headers=plain_headers(headers) if any(headers) else None,
        next_position=next_position,
    )
