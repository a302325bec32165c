"""Messages a second in and out of a real broker, through our connectors and through the bare clients.

    python -m tests.benchmarks.kafka_rates [--records N] [--client python|librdkafka]

I know nothing of forecasting: payloads have the sizes of readings and forecasts.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Producer, TopicPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as PythonTopicPartition

from connectors.contracts import Sink, Source
from connectors.kafka.sink import KafkaSink
from connectors.kafka.source import KafkaSource
from connectors.kafka_settings import KafkaSettings
from connectors.librdkafka.sink import LibrdkafkaSink
from connectors.librdkafka.source import LibrdkafkaSource
from connectors.records import SinkRecord
from tests.support.kafka_server import KafkaServer
from tests.support.topics import NewRecord, create_topic, produce

READING = b'{"sensor": "s-%06d", "ts": 1700000000000, "value": 12.3456}'
FORECAST = (b'{"sensor":"s-000017","origin":1700000000000,"mean":[' + b"12.345678," * 48)[:600]
HEADERS = (
    ("forecast-id", b"s-000017||1700000000000|default@1"),
    ("source-topic", b"readings"),
    ("source-partition", b"0"),
    ("source-offset", b"12345"),
    ("model-version", b"1"),
    ("content-type", b"application/json"),
)
BATCH = 5000


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--client", choices=["python", "librdkafka"])
    asked = parser.parse_args()
    server = KafkaServer().start()
    try:
        create_topic(server.servers, "in", 2)
        create_topic(server.servers, "out", 2)
        rows = (NewRecord(READING % (row % 1000), b"s-%06d" % (row % 1000)) for row in range(asked.records))
        produce(server.servers, "in", rows, **{"compression.type": "lz4", "linger.ms": 20})
        for kind in [asked.client] if asked.client else ["librdkafka", "python"]:
            _run(kind, server.servers, asked.records)
    finally:
        server.close()


def _run(kind: str, servers: str, num_records: int) -> None:
    source: Callable[[KafkaSettings], Source] = LibrdkafkaSource if kind == "librdkafka" else KafkaSource
    sink: Callable[[KafkaSettings], Sink] = LibrdkafkaSink if kind == "librdkafka" else KafkaSink
    settings = KafkaSettings.from_url(f"kafka://{servers}/in?group=rates-{kind}")
    _measured(f"{kind:10s}  in, connector", num_records, lambda: _read(source(settings), num_records))
    bare_in = _bare_read if kind == "librdkafka" else _bare_python_read
    _measured(f"{kind:10s}  in, bare client", num_records, lambda: bare_in(servers, num_records))
    bare_out = _bare_write if kind == "librdkafka" else _bare_python_write
    for run in ("cold", "warm"):
        settings = KafkaSettings.from_url(f"kafka://{servers}/out")
        _measured(f"{kind:10s} out, connector, {run}", num_records, lambda s=settings: _write(sink(s), num_records))
        _measured(f"{kind:10s} out, bare client, {run}", num_records, lambda: bare_out(servers, num_records))


def _measured(label: str, num_records: int, work: Callable[[], Iterator[None]]) -> None:
    """Time what work does between its first and its second yield; before it opens, after it closes."""
    steps = contextmanager(work)()
    with steps:
        pass
    started_s, ended_s, cpu_s = _clock
    print(f"{label:36s} {num_records / (ended_s - started_s):10,.0f} messages/s   {cpu_s:5.2f} s of CPU", flush=True)


_clock: list[float] = [0.0, 0.0, 0.0]


@contextmanager
def _timed() -> Iterator[None]:
    started_s, cpu_s = time.perf_counter(), time.process_time()
    yield
    _clock[:] = started_s, time.perf_counter(), time.process_time() - cpu_s


def _read(source: Source, num_records: int) -> Iterator[None]:
    source.open(lambda _gone: None, 20)
    assigned: set[object] = set()
    while len(assigned) < 2:
        new = source.poll(BATCH, 0.1).assigned
        assigned |= new
    with _timed():
        for partition in new:
            source.seek(partition, 0)
        count = 0
        while count < num_records:
            count += len(source.poll(BATCH, 0.1))
    yield
    source.close()


def _bare_read(servers: str, num_records: int) -> Iterator[None]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "bare", "auto.offset.reset": "earliest"})
    with _timed():
        consumer.assign([TopicPartition("in", number, 0) for number in range(2)])
        count = 0
        while count < num_records:
            count += len([message.value() for message in consumer.consume(BATCH, 0.1)])
    yield
    consumer.close()


def _bare_python_read(servers: str, num_records: int) -> Iterator[None]:
    consumer = KafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", metrics_enabled=False)
    with _timed():
        consumer.assign([PythonTopicPartition("in", number) for number in range(2)])
        count = 0
        while count < num_records:
            count += sum(map(len, consumer.poll(100, max_records=BATCH).values()))
    yield
    consumer.close()


def _rows(num_records: int) -> list[SinkRecord]:
    return [SinkRecord(b"s-%06d" % (row % 1000), FORECAST, HEADERS) for row in range(num_records)]


def _write(sink: Sink, num_records: int) -> Iterator[None]:
    sink.open(2, 20)
    rows = _rows(num_records)
    with _timed():
        for first in range(0, num_records, BATCH):
            sink.write(rows[first : first + BATCH])
        sink.flush(120)
    yield
    sink.close()


def _bare_write(servers: str, num_records: int) -> Iterator[None]:
    config = {"compression.type": "lz4", "linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, **config})
    rows, headers = _rows(num_records), list(HEADERS)
    with _timed():
        for number, row in enumerate(rows):
            producer.produce("out", row.value, row.key, headers=headers)
            if number % BATCH == 0:
                producer.poll(0)
        producer.flush(120)
    yield
    producer.close()


def _bare_python_write(servers: str, num_records: int) -> Iterator[None]:
    config = {"compression_type": "lz4", "linger_ms": 5, "batch_size": 128 << 10}
    producer = KafkaProducer(bootstrap_servers=servers, **config)
    rows, headers = _rows(num_records), list(HEADERS)
    with _timed():
        for row in rows:
            producer.send("out", row.value, row.key, headers)
        producer.flush(120)
    yield
    producer.close()


if __name__ == "__main__":
    main()
