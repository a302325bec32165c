"""Write and read whole topics simply, for tests; knows nothing of the engine's connectors.

All of it goes through confluent-kafka, also where kafka-python is under test: a second opinion.
"""

import itertools
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from tests.support.waiting import poll_for

TIMEOUT_S = 20.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """One record as it stands in a topic."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int = -1


@dataclass(frozen=True, slots=True)
class NewRecord:
    """One record to write; without a partition the key decides (murmur2, as in Java's client)."""

    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None


def _settings(servers: str, **more: Any) -> dict[str, Any]:
    return {"bootstrap.servers": servers, "log_level": 0, "error_cb": lambda _error: None, **more}


def _ask(servers: str, question: Callable[[AdminClient], T]) -> T:
    """The answer to one question by a client of its own: one that outlives its test opens threads in the next."""
    client = AdminClient(_settings(servers))
    return question(client)


def _topics(servers: str) -> dict[str, Any]:
    """What the broker tells of each of its topics."""
    return _ask(servers, lambda admin: dict(admin.list_topics(timeout=TIMEOUT_S).topics))


def topic_namer(base: str) -> Callable[[], str]:
    """A function that gives a new name at each call; no other test of any run has it."""
    clean = "".join(letter if letter.isalnum() else "-" for letter in base).strip("-")[:60]
    run = secrets.token_hex(3)
    count = itertools.count(1)
    return lambda: f"{clean}-{run}-{next(count)}"


def create_topic(servers: str, topic: str, num_partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
    """Create a topic, wait until the broker names its leaders, and return its name."""
    new = NewTopic(topic, num_partitions=num_partitions, replication_factor=1, config=dict(config or {}))
    _ask(servers, lambda admin: admin.create_topics([new])[topic].result(TIMEOUT_S))
    poll_for(lambda: num_partitions_of(servers, topic) == num_partitions, TIMEOUT_S, what=f"leaders of {topic}")
    return topic


def add_partitions(servers: str, topic: str, num_partitions: int) -> None:
    """Let a topic have so many partitions, and wait until the broker names their leaders."""
    _ask(
        servers, lambda admin: admin.create_partitions([NewPartitions(topic, num_partitions)])[topic].result(TIMEOUT_S)
    )
    poll_for(lambda: num_partitions_of(servers, topic) == num_partitions, TIMEOUT_S, what=f"leaders of {topic}")


def delete_topic(servers: str, topic: str) -> None:
    """Delete a topic and wait until the broker no longer lists it."""
    _ask(servers, lambda admin: admin.delete_topics([topic])[topic].result(TIMEOUT_S))
    poll_for(lambda: topic not in topic_names(servers), TIMEOUT_S, what=f"removal of {topic}")


def delete_records(servers: str, topic: str, partition: int, before_offset: int) -> None:
    """Remove the head of a partition, so that its earliest offset is before_offset."""
    target = TopicPartition(topic, partition, before_offset)
    _ask(servers, lambda admin: admin.delete_records([target])[target].result(TIMEOUT_S))


def topic_names(servers: str) -> set[str]:
    """Every topic of the broker but its internal ones."""
    return {name for name in _topics(servers) if not name.startswith("__")}


def num_partitions_of(servers: str, topic: str) -> int:
    """How many partitions with a leader the topic has; 0 if there is no such topic."""
    found = _topics(servers).get(topic)
    return 0 if found is None else sum(part.leader >= 0 for part in found.partitions.values())


def committed_offsets(servers: str, group: str, topic: str) -> dict[int, int]:
    """The group's committed offset of each partition that has one."""
    wanted = [TopicPartition(topic, number) for number in range(num_partitions_of(servers, topic))]
    consumer = Consumer(_settings(servers, **{"group.id": group}))
    try:
        found = consumer.committed(wanted, timeout=TIMEOUT_S)
    finally:
        consumer.close()
    return {item.partition: item.offset for item in found if item.offset >= 0}


def produce(
    servers: str,
    topic: str,
    records: Iterable[NewRecord | bytes],
    *,
    timeout_s: float = TIMEOUT_S,
    **settings: Any,
) -> None:
    """Write records (or bare values) in order and wait until the broker keeps all of them."""
    failed: list[KafkaError] = []
    options = {"partitioner": "murmur2_random", "linger.ms": 5, "enable.idempotence": True, **settings}
    producer = Producer(_settings(servers, **options))

    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failed.append(error)

    for record in records:
        _produce_one(producer, topic, record if isinstance(record, NewRecord) else NewRecord(record), delivered)
    left = producer.flush(timeout_s)
    if failed or left:
        raise AssertionError(f"{len(failed) + left} records did not reach {topic}: {failed[:1]}")


def _produce_one(producer: Producer, topic: str, record: NewRecord, delivered: Callable[..., None]) -> None:
    more: dict[str, Any] = {}
    if record.partition is not None:
        more["partition"] = record.partition
    if record.timestamp_ms is not None:
        more["timestamp"] = record.timestamp_ms
    while True:
        try:
            producer.produce(topic, record.value, record.key, headers=list(record.headers), callback=delivered, **more)
            return
        except BufferError:
            producer.poll(0.1)


def consume_all(servers: str, topic: str, isolation: str = "read_committed") -> list[TopicRecord]:
    """Every record of a topic up to its present end, by partition and offset."""
    settings = {"group.id": "tests", "enable.auto.commit": False, "isolation.level": isolation}
    settings |= {"enable.partition.eof": True, "auto.offset.reset": "earliest"}
    consumer = Consumer(_settings(servers, **settings))
    num_partitions = poll_for(lambda: num_partitions_of(servers, topic), TIMEOUT_S, what=f"topic {topic}")
    try:
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(num_partitions)])
        return sorted(_until_end(consumer, num_partitions), key=lambda record: (record.partition, record.offset))
    finally:
        consumer.close()


def _until_end(consumer: Consumer, num_partitions: int) -> list[TopicRecord]:
    records: list[TopicRecord] = []
    ended: set[int] = set()

    def step() -> bool:
        for message in consumer.consume(5000, timeout=0.2):
            error = message.error()
            if error is None:
                records.append(_as_record(message))
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            else:
                raise KafkaException(error)
        return len(ended) == num_partitions

    poll_for(step, 60.0, every_s=0.0, what="the end of every partition")
    return records


def _as_record(message: Any) -> TopicRecord:
    headers = tuple(message.headers() or ())
    return TopicRecord(
        message.partition(), message.offset(), message.key(), message.value(), headers, message.timestamp()[1]
    )
