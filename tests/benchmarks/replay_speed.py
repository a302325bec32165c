"""How much faster a backtest's replay is than one reading at a time, of the same readings through the same engine.

    python -m tests.benchmarks.replay_speed [--sensors 1 3 10] [--rows 10000]

Rows of a grid in lots, and readings in order of arrival in batches, as `backtest` hands them to the engine; no scoring,
which costs the same either way. METR-LA where it is at hand, else a wave with noise. Time of the processor, all threads
together, so that other work on the machine counts for less.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from recurrent_core.weights import load_model
from stream_engine.backtest.engine import ReplayEngine
from stream_engine.backtest.history import GridHistory
from stream_engine.backtest.replay import READINGS_PER_BATCH, rows_of_lot
from stream_engine.router import RouterPolicy
from tests.benchmarks.grids import DATA, read_grid
from tests.benchmarks.results import save

HORIZON = 12
STEP_NS = 300 * 10**9
ONE_BY_ONE = 2_000
"""Readings handed in one at a time: enough, since each costs the same."""
GOAL = 20


def history_of(num_sensors: int, num_rows: int) -> GridHistory:
    """The first rows of so many sensors, evenly spaced."""
    ids = tuple(map(str, range(num_sensors)))
    if DATA.is_dir():
        readings = read_grid("metr_la_tail65", num_sensors, num_rows).readings
    else:
        rows = np.arange(num_rows)[:, None]
        readings = np.sin(rows / 46 + np.arange(num_sensors)) + np.random.default_rng(0).normal(
            size=(num_rows, num_sensors)
        )
    return GridHistory(ids, np.arange(len(readings)) * STEP_NS, readings, STEP_NS)


def seconds_a_reading(history: GridHistory, cadence_ns: int | None, replay: Callable[[ReplayEngine], None]) -> float:
    """What a fresh engine takes to replay; least of three."""
    least = np.inf
    for _ in range(3):
        policy = RouterPolicy(cadence_ns=cadence_ns)
        engine = ReplayEngine(load_model("default"), history.sensors, HORIZON, policy, torch.device("cpu"))
        before = time.process_time()
        replay(engine)
        least = min(least, (time.process_time() - before) / engine.num_readings)
    return least


def measure(num_sensors: int, num_rows: int) -> dict[str, float]:
    """Microseconds a reading each way, and the ratios."""
    history = history_of(num_sensors, num_rows)
    row, series = np.nonzero(~np.isnan(history.values))
    times_ns, values = history.times_ns[row], history.values[row, series]

    def in_pieces(size: int, end: int) -> Callable[[ReplayEngine], None]:
        def replay(engine: ReplayEngine) -> None:
            for start in range(0, end, size):
                piece = slice(start, min(start + size, end))
                engine.step(series[piece], times_ns[piece], values[piece])

        return replay

    def in_lots(engine: ReplayEngine) -> None:
        most = rows_of_lot(num_sensors, HORIZON)
        for start in range(0, len(history.values), most):
            lot = slice(start, start + most)
            engine.step_rows(history.times_ns[lot], history.values[lot], are_asked=True)

    one = seconds_a_reading(history, STEP_NS, in_pieces(1, ONE_BY_ONE))
    lots = seconds_a_reading(history, STEP_NS, in_lots)
    batches = seconds_a_reading(history, None, in_pieces(READINGS_PER_BATCH, len(row)))
    measured = {"one_by_one_us": 1e6 * one, "grid_us": 1e6 * lots, "arrivals_us": 1e6 * batches}
    return measured | {"grid_ratio": one / lots, "arrivals_ratio": one / batches}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--rows", type=int, default=10_000)
    asked = parser.parse_args()
    found: dict[str, object] = {}
    for num_sensors in asked.sensors:
        measured = measure(num_sensors, asked.rows)
        found[str(num_sensors)] = {name: round(number, 2) for name, number in measured.items()}
        print(
            f"{num_sensors:3d} sensors: one by one {measured['one_by_one_us']:6.0f} µs a reading, "
            f"grid {measured['grid_us']:5.1f} ({measured['grid_ratio']:.1f} times as fast), "
            f"arrivals {measured['arrivals_us']:5.1f} ({measured['arrivals_ratio']:.1f})   (goal {GOAL})",
            flush=True,
        )
    save("replay_speed", "python -m tests.benchmarks.replay_speed", {"rows": asked.rows, "sensors": found})


if __name__ == "__main__":
    main()
