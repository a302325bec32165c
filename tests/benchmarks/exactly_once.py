"""What exactly-once costs: the engine's rate in transactions over its rate at least once, on a real Kafka, in one run.

    python -m tests.benchmarks.exactly_once [--readings 300000] [--rounds 3]

Both modes take turns, so that what else the machine does falls on both alike.
"""

import argparse
import statistics
from contextlib import closing

from tests.benchmarks.pipeline import CLIENTS, NUM_PARTITIONS, PRODUCER_BATCH_BYTES, engine_rate, readings
from tests.benchmarks.results import save
from tests.support.kafka_server import KafkaServer
from tests.support.redis_server import RedisServer
from tests.support.topics import create_topic, produce

MODES = ("at_least_once", "exactly_once")
GOALS = {"1s": 0.85, "500ms": 0.75}
"""Commit interval -> the ratio to reach."""


def measure(num: int, num_sensors: int, rounds: int) -> dict[str, object]:
    """Both modes in turn, for each client and commit interval."""
    measured: dict[str, object] = {"readings": num, "sensors": num_sensors, "rounds": rounds}
    with closing(KafkaServer()) as kafka, closing(RedisServer()) as redis:
        kafka.start()
        redis.start()
        create_topic(kafka.servers, "readings", NUM_PARTITIONS)
        produce(kafka.servers, "readings", readings(num, num_sensors), **{"batch.size": PRODUCER_BATCH_BYTES})
        engine_rate(kafka.servers, redis.url, CLIENTS[0], num, "warm")
        for client in CLIENTS:
            for interval, goal in GOALS.items():
                rates: dict[str, list[float]] = {mode: [] for mode in MODES}
                for number in range(rounds):
                    for mode in MODES:
                        name = f"{mode}-{client}-{interval}-{number}"
                        more = {"delivery": mode, "commit_interval": interval}
                        rates[mode].append(engine_rate(kafka.servers, redis.url, client, num, name, more))
                plain, exact = (statistics.median(rates[mode]) for mode in MODES)
                measured[f"{client}, commit_interval {interval}"] = {
                    "at_least_once": round(plain),
                    "exactly_once": round(exact),
                    "ratio": round(exact / plain, 3),
                    "goal": goal,
                    "all": {mode: [round(rate) for rate in found] for mode, found in rates.items()},
                }
                print(
                    f"{client:11} every {interval:5} at least once {plain:>8,.0f}/s   exactly once {exact:>8,.0f}/s   "
                    f"ratio {exact / plain:.3f}   (goal {goal})",
                    flush=True,
                )
    return measured


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=300_000)
    parser.add_argument("--sensors", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    save(
        "exactly_once", "python -m tests.benchmarks.exactly_once", measure(asked.readings, asked.sensors, asked.rounds)
    )


if __name__ == "__main__":
    main()
