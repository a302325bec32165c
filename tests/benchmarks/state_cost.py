"""What a reading costs after a long history, and how many bytes a sensor's state takes in the store.

    python -m tests.benchmarks.state_cost [--sensors 10] [--readings 100000]

Two states are stepped in turn with the same readings: one with 100 readings of history, one with very many.
"""

import argparse
import statistics
import time

import numpy as np
import torch

from recurrent_core.models.interface import Arrival
from recurrent_core.weights import load_model
from stream_engine.checkpoint import Shard, encode_shard
from stream_engine.slots import fresh_entries
from tests.benchmarks.results import save

CADENCE_S = 300.0
WEEK_S = 604_800.0
YOUNG = 100
ROUNDS = 300


def arrival(number: int, values: torch.Tensor) -> Arrival:
    """The number-th reading of every sensor."""
    num = len(values)

    def full(value: float) -> torch.Tensor:
        return torch.full((num,), value, dtype=torch.float64)

    return Arrival(values, full(CADENCE_S if number else 0.0), full(CADENCE_S), full(number * CADENCE_S % WEEK_S))


def values_at(number: int, num_sensors: int, noise: np.ndarray) -> torch.Tensor:
    """A season and noise."""
    season = 10.0 * np.sin(2 * np.pi * number / 288 + np.arange(num_sensors))
    return torch.from_numpy(50.0 + season + noise[number % len(noise)])


@torch.inference_mode()
def measure(num_sensors: int, num_readings: int) -> dict[str, object]:
    """Median seconds of a step from a young and an old state, and the stored bytes."""
    model = load_model("default")
    noise = np.random.default_rng(0).normal(size=(4096, num_sensors))
    state = model.init_state(num_sensors)
    young = state
    for number in range(num_readings):
        if number == YOUNG:
            young = state
        _, state = model.step(arrival(number, values_at(number, num_sensors, noise)), state, 12)
        if number % 20_000 == 0:
            print(f"history: {number:,} of {num_readings:,} readings a sensor", flush=True)
    old = state
    seconds: dict[str, list[float]] = {"young": [], "old": []}
    for number in range(ROUNDS):
        for name, first in (("young", YOUNG), ("old", num_readings)):
            state = young if name == "young" else old
            step = arrival(first + number, values_at(first + number, num_sensors, noise))
            before = time.perf_counter()
            _, state = model.step(step, state, 12)
            seconds[name].append(time.perf_counter() - before)
            young, old = (state, old) if name == "young" else (young, state)
    middle = {name: statistics.median(times) for name, times in seconds.items()}
    rows = old[:1].expand(128, -1).numpy()
    keys = [(f"sensor-{number:05d}", "") for number in range(128)]
    blob = encode_shard(model.layout_id, Shard(keys, fresh_entries(128), rows))
    measured = {
        "sensors": num_sensors,
        "readings_of_history": {"young": YOUNG, "old": num_readings, "old_of_all_sensors": num_sensors * num_readings},
        "seconds_a_step": middle,
        "ratio": round(middle["old"] / middle["young"], 4),
        "state_bytes_per_sensor": 4 * model.state_floats,
        "stored_bytes_per_sensor": round(len(blob) / 128, 1),
    }
    print(
        f"a reading after {num_readings * num_sensors:,} readings of the fleet, beside after {YOUNG}: "
        f"{measured['ratio']}   (goal 1.00 ± 0.03)\n"
        f"stored bytes a sensor: {measured['stored_bytes_per_sensor']}   (goal 8192)"
    )
    return measured


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=10)
    parser.add_argument("--readings", type=int, default=100_000, help="of history, for each sensor")
    asked = parser.parse_args()
    save("state_cost", "python -m tests.benchmarks.state_cost", measure(asked.sensors, asked.readings))


if __name__ == "__main__":
    main()
