"""From kill -9 to the first forecast of a reading sent after it, on a real Kafka and a real Redis, session timeout 6 s.

    python -m tests.benchmarks.recovery [--sensors 1000] [--rounds 3]

Each sensor sends once a second, all into one partition. Either a new worker is started at the kill (and a second clock
tells when it has reached its servers), or another one has been waiting in the group.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
from confluent_kafka import OFFSET_END, Consumer, Producer, TopicPartition

from tests.benchmarks.results import save
from tests.support.kafka_server import KafkaServer
from tests.support.redis_server import RedisServer
from tests.support.topics import create_topic
from tests.support.waiting import poll_for

CLIENTS = ("librdkafka", "python")
CASES = ("a new worker", "one that waits")
GOAL_S = 10.0
SESSION_S = 6.0
SLICE_S = 0.1
"""How often a part of the fleet sends."""
FED_S = 6.0
"""How long a worker is fed before it is killed: at least one checkpoint."""


@contextmanager
def feeding(servers: str, topic: str, num_sensors: int) -> Iterator[None]:
    """Each sensor's reading once a second, with the wall time as its event time."""
    over = threading.Event()
    num_slices = round(1.0 / SLICE_S)

    def feed() -> None:
        producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})
        turn, due_s = 0, time.monotonic()
        while not over.wait(max(0.0, due_s - time.monotonic())):
            for number in range(turn % num_slices, num_sensors, num_slices):
                body = {"sensor": f"s-{number}", "ts": time.time_ns() // 1_000_000, "value": float(turn % 60)}
                producer.produce(topic, orjson.dumps(body), f"s-{number}".encode())
            producer.flush(10.0)
            turn, due_s = turn + 1, due_s + SLICE_S

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Fleet:
    """Workers of one group over one topic, each a process of the program."""

    def __init__(self, kafka: str, redis: str, client: str, name: str, folder: Path) -> None:
        self.kafka, self.name, self._folder = kafka, name, folder
        self._config = folder / "engine.yaml"
        self._config.write_text(
            f"source: kafka://{kafka}/{name}?group={name}\n"
            f"sink: kafka://{kafka}/{name}-forecasts\n"
            f"store: {redis}\n"
            f"kafka: {{client: {client}, options: {{session.timeout.ms: {SESSION_S * 1000:.0f}}}}}\n"
        )
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """One more worker."""
        with self.log(len(self.workers)).open("wb") as log:
            command = [sys.executable, "-m", "stream_engine.cli", "run", "-c", str(self._config)]
            self.workers.append(subprocess.Popen(command, stdout=log, stderr=log))

    def log(self, number: int) -> Path:
        """What a worker says."""
        return self._folder / f"worker-{number}.log"

    def is_running(self, number: int) -> bool:
        """Whether a worker has reached its servers."""
        return "running; model" in self.log(number).read_text()

    def close(self) -> None:
        """End all."""
        for worker in self.workers:
            worker.kill()
            worker.wait()


def recovery_s(kafka: str, redis: str, client: str, case: str, name: str, num_sensors: int) -> dict[str, float]:
    """Seconds from a kill to the first forecast of a reading sent after it, and to the new worker's first line."""
    create_topic(kafka, name)
    create_topic(kafka, f"{name}-forecasts")
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "watch", "enable.auto.commit": False})
    consumer.assign([TopicPartition(f"{name}-forecasts", 0, OFFSET_END)])
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(consumer),
        closing(Fleet(kafka, redis, client, name, Path(folder))) as fleet,
        feeding(kafka, name, num_sensors),
    ):
        fleet.start()
        first_origin(consumer, 0)
        if case == CASES[1]:
            fleet.start()
            poll_for(lambda: fleet.is_running(1), 60.0, 0.1)
        fed_until_s = time.monotonic() + FED_S
        while time.monotonic() < fed_until_s:
            consumer.consume(10_000, 0.1)
        fleet.workers[0].kill()
        killed_s, killed_ms = time.monotonic(), time.time_ns() // 1_000_000
        if case == CASES[0]:
            fleet.start()
            poll_for(lambda: fleet.is_running(1), 120.0, 0.02)
        running_s = time.monotonic() - killed_s
        first_origin(consumer, killed_ms)
        return {"forecast": time.monotonic() - killed_s, "running": running_s}


def first_origin(consumer: Consumer, after_ms: int) -> None:
    """Wait for the forecast of a reading of that time or later."""

    def has_come() -> bool:
        found = consumer.consume(10_000, 0.02)
        return any(orjson.loads(one.value() or b"")["origin"] >= after_ms for one in found if one.error() is None)

    poll_for(has_come, 120.0, every_s=0.0, what="a forecast")


def measure(num_sensors: int, rounds: int) -> dict[str, object]:
    """Both cases with both clients, in turn."""
    measured: dict[str, object] = {"sensors": num_sensors, "session_timeout_s": SESSION_S, "goal_s": GOAL_S}
    with closing(KafkaServer()) as kafka, closing(RedisServer()) as redis:
        kafka.start()
        redis.start()
        for case in CASES:
            for client in CLIENTS:
                found = [
                    recovery_s(
                        kafka.servers, redis.url, client, case, f"{client}-{CASES.index(case)}-{number}", num_sensors
                    )
                    for number in range(rounds)
                ]
                seconds = [round(one["forecast"], 2) for one in found]
                running = [round(one["running"], 2) for one in found] if case == CASES[0] else None
                measured[f"{case}, {client}"] = {
                    "median_s": round(statistics.median(seconds), 2),
                    "all_s": seconds,
                    "servers_reached_after_s": running,
                }
                print(
                    f"{case:15} {client:11} first forecast after {statistics.median(seconds):5.2f} s of {seconds}, "
                    f"servers reached after {running}   (goal {GOAL_S:g})",
                    flush=True,
                )
    return measured


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    save("recovery", "python -m tests.benchmarks.recovery", measure(asked.sensors, asked.rounds))


if __name__ == "__main__":
    main()
