"""The engine beside a bare consume → parse → produce loop of the same client, on a real Kafka, in one run.

    python -m tests.benchmarks.pipeline [--readings 200000] [--sensors 1000] [--rounds 3]

The bare loop parses each reading and sends a payload of a forecast's size under the same key; it keeps no state.
Both are timed from their first record to the last acknowledgement. Ratio = engine's rate / bare loop's rate.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import closing

import msgspec
import orjson
from confluent_kafka import Consumer, Producer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as PythonTopicPartition

from stream_engine.config import load_config
from stream_engine.worker import assemble
from tests.benchmarks.results import save
from tests.support.kafka_server import KafkaServer
from tests.support.redis_server import RedisServer
from tests.support.topics import NewRecord, consume_all, create_topic, produce

CLIENTS = ("librdkafka", "python")
NUM_PARTITIONS = 4
BATCH = 10_000
PRODUCER_BATCH_BYTES = 16_384
"""What Java's producer sends at a time by default: a fleet's readings come in small batches, not in megabytes."""


class Reading(msgspec.Struct):
    """What the bare loop parses."""

    sensor: str
    ts: int
    value: float


def readings(num: int, num_sensors: int) -> list[NewRecord]:
    """A fleet's readings tick by tick, keyed by sensor."""
    return [
        NewRecord(
            orjson.dumps(
                {
                    "sensor": f"sensor-{number % num_sensors:05d}",
                    "ts": 1_700_000_000_000 + number // num_sensors * 300_000,
                    "value": round(20.0 + (number * 7919 % 1000) / 100.0, 2),
                }
            ),
            key=f"sensor-{number % num_sensors:05d}".encode(),
        )
        for number in range(num)
    ]


def engine_rate(
    servers: str, store: str, client: str, num: int, name: str, more: Mapping[str, object] | None = None
) -> float:
    """Readings a second of the whole engine, from the first turn with records to the last commit and checkpoint.

    Like the bare loop's, its clock stops before the clients are closed.
    """
    worker = assemble(
        load_config(
            None,
            {
                "source": f"kafka://{servers}/readings?group={name}",
                "sink": f"kafka://{servers}/{name}",
                "store": {"url": store, "prefix": name},
                "kafka.client": client,
                "checkpoint_interval": "5s",
                **(more or {}),
            },
            {},
        )
    )
    started_s, ended_s, seen = [0.0], [0.0], [0]

    def after_turn(num_records: int) -> None:
        if seen[0] >= num:
            worker.stop()

    poll = worker.pipeline.turn

    def timed_turn() -> object:
        before = time.perf_counter()
        polled = poll()
        if len(polled) and not seen[0]:
            started_s[0] = before
        seen[0] += len(polled)
        return polled

    finish = worker.pipeline.finish

    def timed_finish() -> None:
        finish()
        ended_s[0] = time.perf_counter()

    worker.pipeline.turn = timed_turn  # type: ignore[method-assign, assignment]
    worker.pipeline.finish = timed_finish  # type: ignore[method-assign]
    worker.run(after_turn)
    return num / (ended_s[0] - started_s[0])


def bare_librdkafka(servers: str, num: int, payload: bytes, topic: str) -> float:
    """Records a second of the bare loop with confluent-kafka."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": topic, "enable.auto.commit": False})
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "queue.buffering.max.messages": 500_000,
        }
    )
    decode = msgspec.json.Decoder(Reading).decode
    consumer.assign([TopicPartition("readings", number, 0) for number in range(NUM_PARTITIONS)])
    seen, started_s = 0, 0.0
    while seen < num:
        messages = consumer.consume(BATCH, 0.1)
        if messages and not seen:
            started_s = time.perf_counter()
        for message in messages:
            decode(message.value())
            producer.produce(topic, payload, message.key())
        producer.poll(0)
        seen += len(messages)
    producer.flush()
    consumer.commit(asynchronous=False)
    seconds = time.perf_counter() - started_s
    consumer.close()
    return num / seconds


def bare_python(servers: str, num: int, payload: bytes, topic: str) -> float:
    """Records a second of the bare loop with kafka-python."""
    consumer = KafkaConsumer(bootstrap_servers=servers, group_id=None, auto_offset_reset="earliest")
    producer = KafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, compression_type="lz4", linger_ms=5
    )
    decode = msgspec.json.Decoder(Reading).decode
    consumer.assign([PythonTopicPartition("readings", number) for number in range(NUM_PARTITIONS)])
    seen, started_s = 0, 0.0
    while seen < num:
        found = consumer.poll(timeout_ms=100, max_records=BATCH)
        if found and not seen:
            started_s = time.perf_counter()
        for records in found.values():
            for record in records:
                decode(record.value)
                producer.send(topic, payload, record.key)
            seen += len(records)
    producer.flush()
    seconds = time.perf_counter() - started_s
    consumer.close()
    producer.close()
    return num / seconds


BARE: dict[str, Callable[[str, int, bytes, str], float]] = {"librdkafka": bare_librdkafka, "python": bare_python}


def measure(num: int, num_sensors: int, rounds: int) -> dict[str, object]:
    """Both loops in turn, for each client."""
    measured: dict[str, object] = {"readings": num, "sensors": num_sensors, "rounds": rounds}
    with closing(KafkaServer()) as kafka, closing(RedisServer()) as redis:
        kafka.start()
        redis.start()
        create_topic(kafka.servers, "readings", NUM_PARTITIONS)
        produce(kafka.servers, "readings", readings(num, num_sensors), **{"batch.size": PRODUCER_BATCH_BYTES})
        engine_rate(kafka.servers, redis.url, CLIENTS[0], num, "warm")
        payload = consume_all(kafka.servers, "warm")[num // 2].value or b""
        measured["payload_bytes"] = len(payload)
        for client in CLIENTS:
            bare, engine = [], []
            for number in range(rounds):
                create_topic(kafka.servers, f"bare-{client}-{number}", NUM_PARTITIONS)
                bare.append(BARE[client](kafka.servers, num, payload, f"bare-{client}-{number}"))
                engine.append(engine_rate(kafka.servers, redis.url, client, num, f"engine-{client}-{number}"))
            middle = {"bare": statistics.median(bare), "engine": statistics.median(engine)}
            measured[client] = {
                **{name: round(rate) for name, rate in middle.items()},
                "ratio": round(middle["engine"] / middle["bare"], 3),
                "all": {"bare": [round(rate) for rate in bare], "engine": [round(rate) for rate in engine]},
            }
            print(
                f"{client:11} bare loop {middle['bare']:>9,.0f}/s   engine {middle['engine']:>9,.0f}/s   "
                f"ratio {middle['engine'] / middle['bare']:.3f}   (goal 0.25, then 0.50)",
                flush=True,
            )
    return measured


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=200_000)
    parser.add_argument("--sensors", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    save("pipeline", "python -m tests.benchmarks.pipeline", measure(asked.readings, asked.sensors, asked.rounds))


if __name__ == "__main__":
    main()
