"""What moving a fleet's state costs: a restore from Redis beside a bare MGET of the same bytes, and a checkpoint of all
sensors while readings keep coming.

    python -m tests.benchmarks.restore [--sensors 100000] [--partitions 4] [--rounds 3]

A *stop* is what a turn takes beyond what turns of the same size take when nothing is saved; of its seconds those are
told too in which the loop's thread was at work, since another process may have the core. The whole engine runs, on
an in-process log and a real Redis.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import orjson
import redis

from connectors.embedded.log import create_log, drop_log, find_log
from connectors.records import SinkRecord
from stream_engine.clock import SystemClock
from stream_engine.config import load_config
from stream_engine.metrics import Metrics
from stream_engine.worker import Worker, assemble
from stream_engine.worker.loop import _spare_the_collector
from tests.benchmarks.results import save
from tests.support.redis_server import RedisServer

FIRST_MS, CADENCE_MS = 1_700_000_000_000, 300_000
LIVE_READINGS = 100
"""Readings that come between two turns while a checkpoint is under way."""
QUIET_TURNS = 200
AT_ONCE = 64
"""Values that the bare loop asks for at a time, as the store does."""
GOAL_RESTORE_S, GOAL_STOP_S = 3.0, 0.05


class MovableClock(SystemClock):
    """The machine's clock, moved forward by hand so that a checkpoint is due when it is wanted."""

    ahead_s = 0.0

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment."""
        return super().monotonic_s() + self.ahead_s


class Fleet:
    """Sensors that report on an in-process log, one tick after the other."""

    def __init__(self, num_sensors: int, num_partitions: int) -> None:
        self.log = create_log("readings", num_partitions)
        self.names = [f"sensor-{number:06d}" for number in range(num_sensors)]
        self._ticks = np.zeros(num_sensors, np.int64)
        self._random = np.random.default_rng(0)

    def report(self, numbers: np.ndarray) -> None:
        """One reading of each of these sensors."""
        self._ticks[numbers] += 1
        values = self._random.normal(50.0, 10.0, len(numbers)).round(2).tolist()
        self.log.append([self._record(number, value) for number, value in zip(numbers.tolist(), values, strict=True)])

    def some(self) -> np.ndarray:
        """As many sensors as report between two turns."""
        return self._random.choice(len(self.names), LIVE_READINGS, replace=False)

    def _record(self, number: int, value: float) -> SinkRecord:
        ts = FIRST_MS + int(self._ticks[number]) * CADENCE_MS
        name = self.names[number]
        return SinkRecord(name.encode(), orjson.dumps({"sensor": name, "ts": ts, "value": value}))


@contextmanager
def opened(url: str, num_sensors: int, clock: SystemClock) -> Iterator[Worker]:
    """A worker with its connections open, that is turned by hand; ended as kill -9 would."""
    worker = assemble(
        load_config(
            None,
            {
                "source": "embedded://readings?group=bench",
                "sink": "embedded://forecasts",
                "store": {"url": url, "prefix": "bench"},
                "model.slots": num_sensors,
                "checkpoint_interval": "1h",
                "cadence": f"{CADENCE_MS}ms",
            },
            {},
        ),
        clock,
    )
    worker._open()
    _spare_the_collector()
    try:
        yield worker
    finally:
        for part in (worker._parts.source, worker._parts.delivery, worker._parts.checkpointer, worker._parts.store):
            part.close()
        drop_log("forecasts")


def run_out(worker: Worker, fleet: Fleet) -> None:
    """Turn until every reading is folded."""
    wanted = sum(shelf.end for shelf in fleet.log.shelves)
    while sum(worker.pipeline.positions.values()) < wanted:
        worker.pipeline.turn()
    worker.pipeline.commit()
    forecasts = find_log("forecasts")
    for number, shelf in enumerate(forecasts.shelves):  # they would fill the memory
        forecasts.remove_before(number, shelf.end)


def live_turn(worker: Worker, fleet: Fleet) -> tuple[float, float]:
    """Seconds of one turn of LIVE_READINGS readings, and those of them that its thread was at work."""
    fleet.report(fleet.some())
    before, cpu_before = time.perf_counter(), time.thread_time()
    worker.pipeline.turn()
    return time.perf_counter() - before, time.thread_time() - cpu_before


def num_saved(metrics: Metrics) -> int:
    """Checkpoints of partitions that have ended."""
    return int(metrics.registry.get_sample_value("stream_engine_checkpoints_total") or 0)


def checkpoint(worker: Worker, fleet: Fleet, clock: MovableClock) -> dict[str, Any]:
    """A checkpoint with every sensor changed, while readings come: its length, and how turns went on beside it."""
    fleet.report(np.arange(len(fleet.names)))
    run_out(worker, fleet)
    quiet_s, quiet_cpu_s = zip(*(live_turn(worker, fleet) for _ in range(QUIET_TURNS)), strict=True)
    wanted = num_saved(worker._parts.metrics) + len(worker.pipeline.positions)
    clock.ahead_s += 3600.0
    before = time.perf_counter()
    turns = [live_turn(worker, fleet)]
    while num_saved(worker._parts.metrics) < wanted:
        turns.append(live_turn(worker, fleet))
    turns_s, cpu_s = zip(*turns, strict=True)
    return {
        "whole_s": round(time.perf_counter() - before, 3),
        "turns": len(turns),
        "longest_stop_s": round(max(turns_s) - statistics.median(quiet_s), 4),
        "longest_stop_cpu_s": round(max(cpu_s) - statistics.median(quiet_cpu_s), 4),
        "median_turn_s": round(statistics.median(turns_s), 4),
        "quiet_turn_s": {"median": round(statistics.median(quiet_s), 4), "longest": round(max(quiet_s), 4)},
    }


def restore(url: str, num_sensors: int, num_partitions: int) -> dict[str, float]:
    """Seconds from the assignment to all partitions held, beside a bare read of the same values."""
    with opened(url, num_sensors, SystemClock()) as worker:
        before, longest_s = time.perf_counter(), 0.0
        while len(worker.pipeline.positions) < num_partitions:
            started = time.perf_counter()
            worker.pipeline.turn()
            longest_s = max(longest_s, time.perf_counter() - started)
        seconds = time.perf_counter() - before
        if len(worker._parts.ledger) != num_sensors:
            raise RuntimeError(f"{len(worker._parts.ledger)} sensors restored, wanted {num_sensors}")
    bare_s = bare_read(url)
    print(f"restore {seconds:.2f} s (longest turn {longest_s:.3f} s), bare MGET {bare_s:.2f} s", flush=True)
    return {"seconds": round(seconds, 3), "longest_turn_s": round(longest_s, 4), "bare_s": round(bare_s, 3)}


def bare_read(url: str) -> float:
    """Seconds of MGET alone, of every shard."""
    with closing(redis.Redis.from_url(url)) as client:
        keys = [key for key in client.scan_iter(count=1000) if key.rpartition(b":")[2][:1].isdigit()]
        before = time.perf_counter()
        for first in range(0, len(keys), AT_ONCE):
            client.mget(keys[first : first + AT_ONCE])
        return time.perf_counter() - before


def measure(num_sensors: int, num_partitions: int, rounds: int) -> dict[str, object]:
    """Checkpoints of everything, then restores."""
    clock = MovableClock()
    with closing(RedisServer()) as server:
        server.start()
        fleet = Fleet(num_sensors, num_partitions)
        with opened(server.url, num_sensors, clock) as worker:
            checkpoints = []
            for _ in range(rounds):
                checkpoints.append(checkpoint(worker, fleet, clock))
                print(f"checkpoint {checkpoints[-1]}", flush=True)
            worker.pipeline.checkpoint()
        restores = [restore(server.url, num_sensors, num_partitions) for _ in range(rounds)]
    drop_log("readings")
    seconds = statistics.median(one["seconds"] for one in restores)
    stop_s, cpu_s = (max(one[name] for one in checkpoints) for name in ("longest_stop_s", "longest_stop_cpu_s"))
    print(
        f"restore of {num_sensors:,} sensors: {seconds:.2f} s   (goal {GOAL_RESTORE_S})\n"
        f"longest stop of a checkpoint of all of them: {1e3 * stop_s:.0f} ms, {1e3 * cpu_s:.0f} ms of work   "
        f"(goal {1e3 * GOAL_STOP_S:.0f})"
    )
    return {
        "sensors": num_sensors,
        "partitions": num_partitions,
        "restore_s": seconds,
        "longest_stop_s": stop_s,
        "longest_stop_cpu_s": cpu_s,
        "goals": {"restore_s": GOAL_RESTORE_S, "longest_stop_s": GOAL_STOP_S},
        "checkpoints": checkpoints,
        "restores": restores,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    save("restore", "python -m tests.benchmarks.restore", measure(asked.sensors, asked.partitions, asked.rounds))


if __name__ == "__main__":
    main()
