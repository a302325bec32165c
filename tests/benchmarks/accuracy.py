"""Scores a streaming model on the development grids, beside persistence and the seasonal naive forecast.

    OMP_NUM_THREADS=1 python tests/benchmarks/accuracy.py            # test windows and all sets, saved
    OMP_NUM_THREADS=1 python tests/benchmarks/accuracy.py --rows 6000 --sensors 8 --no-save

Every set is streamed row by row from an empty state; a sensor without a reading at a row is asked all the same.
Slots are strangers to one another, so the sets go side by side in one batch. I know nothing of a model's inside.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2]))
from recurrent_core.models.interface import Arrival, Question, StreamingModel
from recurrent_core.weights import load_model
from tests.benchmarks.grids import (
    NUM_LEADS,
    WEEK_S,
    Grid,
    loader,
    persistence,
    read_grid,
    seasonal_forecasts,
    seasonal_naive,
    targets,
)

RESULTS = Path(__file__).parent / "results" / "accuracy.json"
TEST_WINDOWS = {"metr_la_tail65": 3420, "pems08_flow_tail": 3595, "aarhus_speed": 13990}
"""Sets with published test windows and their first origin (last input row of the first window)."""
MONDAY_S = 3 * 86400
"""1970-01-01 was a Thursday."""
CHUNK_ROWS = 256
Results = dict[str, dict[str, float]]
"""Numbers by set and name."""
Floats = NDArray[np.float64]


@dataclass
class Score:
    """Sums over the scored cells of one set, per sensor [sensors]."""

    cells: Floats
    model: Floats
    model_squares: Floats
    persistence: Floats
    seasonal: Floats
    is_inside: Floats
    pinball: Floats
    seconds: float = 0.0
    steps: int = 0
    leads: dict[int, list[float]] = field(default_factory=dict)

    @classmethod
    def empty(cls, num_sensors: int) -> "Score":
        """Nothing scored yet."""
        return cls(*(np.zeros(num_sensors) for _ in range(7)))

    def add(self, truth: Floats, said: Floats, last: Floats, season: Floats) -> None:
        """Add cells.

        Args:
            truth, season: [rows, sensors, leads]; said: [rows, sensors, 4, leads], mean and the three quantiles;
                last: [rows, sensors].
        """
        is_scored = ~(np.isnan(truth) | np.isnan(said[:, :, 0]) | np.isnan(season))
        error = np.where(is_scored, truth - said[:, :, 0], 0.0)
        self.cells += is_scored.sum(axis=(0, 2))
        self.model += np.abs(error).sum(axis=(0, 2))
        self.model_squares += np.square(error).sum(axis=(0, 2))
        self.persistence += np.abs(np.where(is_scored, truth - last[..., None], 0.0)).sum(axis=(0, 2))
        self.seasonal += np.abs(np.where(is_scored, truth - season, 0.0)).sum(axis=(0, 2))
        is_inside = (truth >= said[:, :, 1]) & (truth <= said[:, :, 3])
        self.is_inside += (is_inside & is_scored).sum(axis=(0, 2))
        for place, level in enumerate((0.1, 0.5, 0.9), start=1):
            miss = np.where(is_scored, truth - said[:, :, place], 0.0)
            self.pinball += np.maximum(level * miss, (level - 1.0) * miss).sum(axis=(0, 2)) / 3.0
        for lead in (1, 3, 6, 12):
            sums = self.leads.setdefault(lead, [0.0, 0.0])
            sums[0] += float(np.abs(error[..., lead - 1]).sum())
            sums[1] += float(is_scored[..., lead - 1].sum())

    def summary(self) -> dict[str, float]:
        """The numbers of the table; ratios are means over sensors of MAE over MAE."""
        cells, is_ratio = self.cells.sum(), self.seasonal > 0
        return {
            "cells": int(cells),
            "mae": self.model.sum() / cells,
            "rmse": float(np.sqrt(self.model_squares.sum() / cells)),
            "persistence_mae": self.persistence.sum() / cells,
            "seasonal_mae": self.seasonal.sum() / cells,
            "ratio": float(np.mean(self.model[is_ratio] / self.seasonal[is_ratio])),
            "persistence_ratio": float(np.mean(self.persistence[is_ratio] / self.seasonal[is_ratio])),
            "coverage": self.is_inside.sum() / cells,
            "pinball": self.pinball.sum() / cells,
        } | {f"mae@{lead}": total / max(count, 1.0) for lead, (total, count) in self.leads.items()}


class Stream:
    """The grids side by side in one slab, streamed chunk by chunk; owned by one `evaluate`."""

    def __init__(self, model: StreamingModel, grids: list[Grid]) -> None:
        self.model = model
        self.grids = grids
        ends = np.cumsum([grid.readings.shape[1] for grid in grids])
        self.columns = [slice(end - grid.readings.shape[1], end) for grid, end in zip(grids, ends, strict=True)]
        self.num_slots = int(ends[-1])
        self.state = model.init_state(self.num_slots)
        self.last_s = np.full(self.num_slots, -1.0)
        self.cadence_s = np.concatenate([np.full(grid.readings.shape[1], grid.cadence_s) for grid in grids])
        self.num_readings = 0

    def chunk(self, start: int, end: int) -> Floats:
        """Stream rows start ... end - 1; return [rows, slots, 4, leads], NaN where nothing could be said."""
        readings = np.full((end - start, self.num_slots), np.nan)
        times_s = np.full((end - start, self.num_slots), np.nan)
        for grid, columns in zip(self.grids, self.columns, strict=True):
            rows = max(0, min(end, len(grid.readings)) - start)
            readings[:rows, columns] = grid.readings[start : start + rows]
            times_s[:rows, columns] = grid.times_s[start : start + rows, None]
        said = np.full((end - start, self.num_slots, 4, NUM_LEADS), np.nan)
        for row in range(end - start):
            has_reading = ~np.isnan(readings[row])
            self._step(readings[row], times_s[row], np.flatnonzero(has_reading), said[row])
            is_silent = ~has_reading & ~np.isnan(times_s[row]) & (self.last_s >= 0)
            self._ask(times_s[row], np.flatnonzero(is_silent), said[row])
        return said

    def _step(self, values: Floats, times_s: Floats, slots: NDArray[np.int64], said: Floats) -> None:
        if not len(slots):
            return
        first = self.last_s[slots] < 0
        elapsed = np.where(first, 0.0, times_s[slots] - self.last_s[slots])
        arrival = Arrival(torch.from_numpy(values[slots]), *self._when(times_s, slots, elapsed))
        everyone = len(slots) == self.num_slots
        place = torch.from_numpy(slots)
        rows = self.state if everyone else self.state[place]
        outlook, rows = self.model.step(arrival, rows, NUM_LEADS)
        if everyone:
            self.state = rows
        else:
            self.state[place] = rows
        self.last_s[slots] = times_s[slots]
        self.num_readings += len(slots)
        said[slots, 0], said[slots, 1:] = outlook.mean.numpy(), outlook.quantiles.numpy()

    def _ask(self, times_s: Floats, slots: NDArray[np.int64], said: Floats) -> None:
        if not len(slots):
            return
        question = Question(*self._when(times_s, slots, times_s[slots] - self.last_s[slots]))
        outlook = self.model.ask(question, self.state[torch.from_numpy(slots)], NUM_LEADS)
        said[slots, 0], said[slots, 1:] = outlook.mean.numpy(), outlook.quantiles.numpy()

    def _when(self, times_s: Floats, slots: NDArray[np.int64], elapsed: Floats) -> tuple[torch.Tensor, ...]:
        second = (times_s[slots] + MONDAY_S) % WEEK_S
        return tuple(torch.from_numpy(column) for column in (elapsed, self.cadence_s[slots], second))


def evaluate(model: StreamingModel, grids: list[Grid], is_quiet: bool = False) -> Results:
    """Stream the grids through the model and score each."""
    stream = Stream(model, grids)
    scores = {grid.name: Score.empty(grid.readings.shape[1]) for grid in grids}
    lasts = {grid.name: persistence(grid) for grid in grids}
    seasons = {grid.name: seasonal_naive(grid) for grid in grids}
    num_rows = max(len(grid.readings) for grid in grids)
    began = shown = time.perf_counter()
    for start in range(0, num_rows, CHUNK_ROWS):
        end = min(start + CHUNK_ROWS, num_rows)
        said = stream.chunk(start, end)
        for grid, columns in zip(grids, stream.columns, strict=True):
            rows = np.arange(max(start, grid.first_origin), min(end, len(grid.readings) - NUM_LEADS))
            if len(rows):
                truth = targets(grid, rows)
                season = seasonal_forecasts(grid, seasons[grid.name], rows)
                scores[grid.name].add(truth, said[rows - start, columns], lasts[grid.name][rows], season)
        if not is_quiet and time.perf_counter() - shown > 10:
            shown = time.perf_counter()
            print(f"  row {end}/{num_rows}, {shown - began:.0f} s, {stream.num_readings} readings", file=sys.stderr)
    return {name: score.summary() for name, score in scores.items() if score.cells.sum() > 0}


def table(results: Results) -> str:
    """The results as lines of text, with the geometric means of the ratios last."""
    columns = ("mae", "rmse", "persistence_mae", "seasonal_mae", "ratio", "persistence_ratio", "coverage")
    lines = [f"{'set':42s}" + "".join(f"{column[:14]:>15s}" for column in columns)]
    for name, result in results.items():
        lines.append(f"{name:42s}" + "".join(f"{result[column]:15.4g}" for column in columns))
    means = {ratio: geometric_mean(results, ratio) for ratio in ("ratio", "persistence_ratio")}
    lines.append(f"{'geometric mean':42s}{'':60s}{means['ratio']:15.4f}{means['persistence_ratio']:15.4f}")
    return "\n".join(lines)


def geometric_mean(results: Results, what: str) -> float:
    """Of one number over the sets."""
    return float(np.exp(np.mean([np.log(result[what]) for result in results.values()])))


def commit_now() -> str:
    """The commit checked out, to be read before the code can change under a long run."""
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def save(model: StreamingModel, commit: str, development: Results, tests: Results) -> None:
    """Write what has been scored so far, with commit and command."""
    content = {
        "commit": commit,
        "command": " ".join(["python", "tests/benchmarks/accuracy.py", *sys.argv[1:]]),
        "model": f"{model.name}@{model.version}",
        "layout_id": model.layout_id,
        "state_bytes": model.state_floats * 4,
        "geometric_mean_ratio": geometric_mean(development, "ratio") if development else None,
        "test_windows": tests,
        "development": development,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """Score a model on the test windows and the development sets, and save the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a shipped artifact's name or a folder")
    parser.add_argument("--rows", type=int, default=0, help="first rows of the development sets, 0 for all")
    parser.add_argument("--sensors", type=int, default=32, help="of each development set, evenly spaced")
    parser.add_argument("--only", nargs="*", help="these development sets alone")
    parser.add_argument("--skip-tests", action="store_true", help="leave out the test windows of the three big sets")
    parser.add_argument("--no-save", action="store_true")
    wanted = parser.parse_args()
    commit = commit_now()
    model = load_model(wanted.model)
    print(f"{model.name}@{model.version}, {model.state_floats * 4} bytes of state a sensor", flush=True)
    tests: Results = {}
    development: Results = {}
    for name, first_origin in {} if wanted.skip_tests else TEST_WINDOWS.items():
        tests |= evaluate(model, [read_grid(name, first_origin=first_origin)])
        print(table(tests), flush=True)
        if not wanted.no_save:
            save(model, commit, development, tests)
    names = loader().names() if wanted.only is None else wanted.only
    if names:
        development = evaluate(model, [read_grid(name, wanted.sensors, wanted.rows) for name in names])
        print(table(development), flush=True)
        if not wanted.no_save:
            save(model, commit, development, tests)


if __name__ == "__main__":
    main()
