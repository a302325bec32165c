"""Small histories for the tests of training, days of a rising and falling tide with a weekend's ebb; and a kill."""

from pathlib import Path

import numpy as np

from stream_engine.training.run import Watcher

HOUR_S = 3600
MONDAY_S = 1_699_833_600
"""A Monday, 00:00 UTC."""


def tide(num_days: int = 12, num_sensors: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Hourly times [T] in seconds and values [T, N]; a few are NaN."""
    draw = np.random.default_rng(seed)
    times_s = MONDAY_S + HOUR_S * np.arange(24 * num_days)
    hour = (times_s // HOUR_S % 24)[:, None]
    is_weekend = ((times_s // (24 * HOUR_S) + 3) % 7 >= 5)[:, None]
    level = 50.0 + 10.0 * np.arange(num_sensors)
    values = level + 20.0 * np.sin(2 * np.pi * hour / 24) - 8.0 * is_weekend
    values = values + np.cumsum(draw.normal(size=values.shape), axis=0) * 0.3 + draw.normal(size=values.shape)
    values[draw.random(values.shape) < 0.05] = np.nan
    return times_s, values


def write_wide(path: Path, times_s: np.ndarray, values: np.ndarray) -> Path:
    """A CSV with a column per sensor; an empty cell is no reading."""
    head = ",".join(["time", *(f"s{n}" for n in range(values.shape[1]))])
    rows = [
        ",".join([str(int(time)), *("" if np.isnan(value) else f"{value:.4f}" for value in row)])
        for time, row in zip(times_s, values, strict=True)
    ]
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def write_long(path: Path, times_s: np.ndarray, values: np.ndarray, jitter_s: int = 0) -> Path:
    """The same as one reading a line, each up to jitter_s late."""
    draw = np.random.default_rng(1)
    lines = ["unique_id,ds,y"]
    for time, row in zip(times_s, values, strict=True):
        for sensor, value in enumerate(row):
            if not np.isnan(value):
                late_s = int(draw.integers(0, jitter_s + 1))
                lines.append(f"s{sensor},{int(time) + late_s},{value:.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path


class KilledError(Exception):
    """Stands for a kill in between."""


def killed_at(stage: str, steps: int) -> Watcher:
    """A watcher that kills the run after so many steps of a stage."""
    seen = {"stage": "", "steps": 0}

    def begin(name: str, _: int) -> None:
        seen.update(stage=name, steps=0)

    def advance(num: int) -> None:
        seen["steps"] = int(seen["steps"]) + num
        if str(seen["stage"]).startswith(stage) and int(seen["steps"]) > steps:
            raise KilledError

    return Watcher(begin, advance)
