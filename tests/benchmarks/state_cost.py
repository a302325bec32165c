"""What a reading costs after a long history, and how many bytes a sensor's state takes in the store.

    python -m tests.benchmarks.state_cost [--sensors 1] [--readings 1000000]

Two states are told runs of the same readings in turn: one with 100 readings of history, one with very many.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from recurrent_core.models.interface import Arrival, Runs, StreamingModel
from recurrent_core.weights import load_model
from stream_engine.checkpoint import Shard, encode_shard
from stream_engine.slots import fresh_entries
from tests.benchmarks.results import save

CADENCE_S = 300.0
WEEK_S = 604_800.0
YOUNG = 100
RUN = 100
"""Readings of each sensor that are timed at a time."""
ROUNDS = 300
HISTORY_RUN = 10_000


def told(model: StreamingModel, state: torch.Tensor, first: int, num: int, noise: np.ndarray) -> None:
    """The state after readings first ... first + num - 1 of every sensor: a season and noise."""
    num_sensors = len(state)
    numbers = np.arange(first, first + num)[:, None]
    season = 10.0 * np.sin(2 * np.pi * numbers / 288 + np.arange(num_sensors))
    values = 50.0 + season + noise[numbers[:, 0] % len(noise)]

    def column(of_reading: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.broadcast_to(of_reading, values.shape).astype(np.float64).reshape(-1))

    columns = (values, np.where(numbers > 0, CADENCE_S, 0.0), np.array([[CADENCE_S]]), numbers * CADENCE_S % WEEK_S)
    runs = Runs(np.tile(np.arange(num_sensors), num), np.arange(1, num + 1) * num_sensors)
    model.sequence(Arrival(*map(column, columns)), runs, state, 12)


@torch.inference_mode()
def measure(num_sensors: int, num_readings: int) -> dict[str, object]:
    """Median seconds of a run from a young and an old state, and the stored bytes."""
    model = load_model("default")
    noise = np.random.default_rng(0).normal(size=(4096, num_sensors))
    old, young = model.init_state(num_sensors), model.init_state(num_sensors)
    told(model, young, 0, YOUNG, noise)
    for first in range(0, num_readings, HISTORY_RUN):
        told(model, old, first, min(HISTORY_RUN, num_readings - first), noise)
    print(f"history: {num_readings:,} readings a sensor", flush=True)
    seconds: dict[str, list[float]] = {"young": [], "old": []}
    for number in range(ROUNDS):
        fresh = young.clone()
        for name, state, first in (("young", fresh, YOUNG), ("old", old, num_readings)):
            before = time.perf_counter()
            told(model, state, first + (number * RUN if name == "old" else 0), RUN, noise)
            seconds[name].append((time.perf_counter() - before) / RUN / num_sensors)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    rows = old[:1].expand(128, -1).numpy()
    keys = [(f"sensor-{number:05d}", "") for number in range(128)]
    blob = encode_shard(model.layout_id, Shard(keys, fresh_entries(128), rows))
    measured = {
        "sensors": num_sensors,
        "readings_of_history": {"young": YOUNG, "old": num_readings, "old_of_all_sensors": num_sensors * num_readings},
        "seconds_a_reading": middle,
        "ratio": round(middle["old"] / middle["young"], 4),
        "state_bytes_per_sensor": 4 * model.state_floats,
        "stored_bytes_per_sensor": round(len(blob) / 128, 1),
    }
    print(
        f"a reading after {num_readings * num_sensors:,} readings, beside after {YOUNG}: "
        f"{measured['ratio']}   (goal 1.00 ± 0.03)\n"
        f"stored bytes a sensor: {measured['stored_bytes_per_sensor']}   (goal 8192)"
    )
    return measured


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=1)
    parser.add_argument("--readings", type=int, default=1_000_000, help="of history, for each sensor")
    asked = parser.parse_args()
    save("state_cost", "python -m tests.benchmarks.state_cost", measure(asked.sensors, asked.readings))


if __name__ == "__main__":
    main()
