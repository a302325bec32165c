"""Scores a streaming model on the development grids, beside persistence and the seasonal naive forecast.

    OMP_NUM_THREADS=1 python tests/benchmarks/accuracy.py            # test windows and all sets, saved
    OMP_NUM_THREADS=1 python tests/benchmarks/accuracy.py --rows 6000 --sensors 8 --no-save
    OMP_NUM_THREADS=1 python tests/benchmarks/accuracy.py --left-out out/default-without-{}   # each group by its own

Every set is streamed row by row from an empty state; a sensor without a reading at a row is asked all the same. As in
`stream-engine backtest`, absolute errors are the median's and squared ones the mean's. New
sensors are scored by themselves too: on their first YOUNG origins, and on the first YOUNG with a seasonal forecast.
Slots are strangers to one another, so the sets go side by side. I know nothing of a model's inside.
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
from recurrent_core.models.interface import Arrival, Runs, StreamingModel
from recurrent_core.weights import load_model
from stream_engine.training.default.sets import GROUPS
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

RESULTS = Path(__file__).parent / "results"
TEST_WINDOWS = {"metr_la_tail65": 3420, "pems08_flow_tail": 3595, "aarhus_speed": 13990}
"""Sets with published test windows and their first origin (last input row of the first window)."""
MONDAY_S = 3 * 86400
"""1970-01-01 was a Thursday."""
CHUNK_ROWS = 256
YOUNG = 300
"""Origins of a new sensor that are scored by themselves."""
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
    truth: Floats
    leads: dict[int, list[float]] = field(default_factory=dict)

    @classmethod
    def empty(cls, num_sensors: int) -> "Score":
        """Nothing scored yet."""
        return cls(*(np.zeros(num_sensors) for _ in range(8)))

    def add(self, truth: Floats, said: Floats, last: Floats, season: Floats) -> None:
        """Add cells.

        Args:
            truth, season: [rows, sensors, leads]; said: [rows, sensors, 4, leads], mean and the three quantiles;
                last: [rows, sensors].
        """
        is_scored = ~(np.isnan(truth) | np.isnan(said[:, :, 0]) | np.isnan(season))
        error, error_of_mean = (np.where(is_scored, truth - said[:, :, place], 0.0) for place in (2, 0))
        self.cells += is_scored.sum(axis=(0, 2))
        self.model += np.abs(error).sum(axis=(0, 2))
        self.model_squares += np.square(error_of_mean).sum(axis=(0, 2))
        self.persistence += np.abs(np.where(is_scored, truth - last[..., None], 0.0)).sum(axis=(0, 2))
        self.seasonal += np.abs(np.where(is_scored, truth - season, 0.0)).sum(axis=(0, 2))
        is_inside = (truth >= said[:, :, 1]) & (truth <= said[:, :, 3])
        self.is_inside += (is_inside & is_scored).sum(axis=(0, 2))
        for place, level in enumerate((0.1, 0.5, 0.9), start=1):
            miss = np.where(is_scored, truth - said[:, :, place], 0.0)
            self.pinball += np.maximum(level * miss, (level - 1.0) * miss).sum(axis=(0, 2)) / 3.0
        self.truth += np.abs(np.where(is_scored, truth, 0.0)).sum(axis=(0, 2))
        for lead in (1, 3, 6, 12):
            sums = self.leads.setdefault(lead, [0.0, 0.0])
            sums[0] += float(np.abs(error[..., lead - 1]).sum())
            sums[1] += float(is_scored[..., lead - 1].sum())

    def summary(self) -> dict[str, float]:
        """The numbers of the table; ratios are means over sensors of MAE over MAE, or WQL over WQL."""
        cells, is_ratio, is_moving = self.cells.sum(), self.seasonal > 0, self.persistence > 0
        return {
            "cells": int(cells),
            "mae": self.model.sum() / cells,
            "rmse": float(np.sqrt(self.model_squares.sum() / cells)),
            "persistence_mae": self.persistence.sum() / cells,
            "seasonal_mae": self.seasonal.sum() / cells,
            "ratio": float(np.mean(self.model[is_ratio] / self.seasonal[is_ratio])),
            "persistence_ratio": float(np.mean(self.persistence[is_ratio] / self.seasonal[is_ratio])),
            "to_persistence": float(np.mean(self.model[is_moving] / self.persistence[is_moving])),
            "coverage": self.is_inside.sum() / cells,
            "wql": 2.0 * self.pinball.sum() / self.truth.sum(),
            "wql_ratio": float(np.mean(2.0 * self.pinball[is_ratio] / self.seasonal[is_ratio])),
        } | {f"mae@{lead}": total / max(count, 1.0) for lead, (total, count) in self.leads.items()}


class Youth:
    """One set's sensors while they are new; owned by one `evaluate`."""

    def __init__(self, grid: Grid) -> None:
        self._heard = np.zeros(grid.readings.shape[1], np.int64)
        self._seasoned = np.zeros(grid.readings.shape[1], np.int64)
        self.first, self.first_seasonal = (Score.empty(grid.readings.shape[1]) for _ in range(2))

    def add(self, truth: Floats, said: Floats, last: Floats, season: Floats) -> None:
        """Score those of the next rows' cells that belong to young sensors; arguments as in Score.add."""
        self._heard, is_young = _among_first(~np.isnan(last), self._heard)
        self._seasoned, is_young_seasonal = _among_first(~np.isnan(season).all(axis=2), self._seasoned)
        itself = np.broadcast_to(last[..., None], truth.shape)
        for score, is_in, naive in ((self.first, is_young, itself), (self.first_seasonal, is_young_seasonal, season)):
            if is_in.any():
                score.add(np.where(is_in[..., None], truth, np.nan), said, last, naive)

    def summary(self) -> dict[str, float]:
        """MAE over persistence's on the first origins, and over both peers' on the first that have a seasonal one."""
        first, seasonal = self.first.summary(), self.first_seasonal.summary()
        return {
            "first_to_persistence": first["to_persistence"],
            "first_seasonal_to_persistence": seasonal["to_persistence"],
            "first_seasonal_to_seasonal": seasonal["ratio"],
            "first_wql": first["wql"],
            "first_coverage": first["coverage"],
        }


def _among_first(
    is_there: NDArray[np.bool_], num_before: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How many origins there have been after these rows, [sensors], and which are among the first, [rows, sensors]."""
    number = num_before + np.cumsum(is_there, axis=0)
    return number[-1], is_there & (number <= YOUNG)


class Stream:
    """The grids side by side in one slab, streamed chunk by chunk; owned by one `evaluate`."""

    def __init__(self, model: StreamingModel, grids: list[Grid]) -> None:
        self.model = model
        self.grids = grids
        ends = np.cumsum([grid.readings.shape[1] for grid in grids])
        self.columns = [slice(end - grid.readings.shape[1], end) for grid, end in zip(grids, ends, strict=True)]
        self.num_slots = int(ends[-1])
        self.state = model.init_state(self.num_slots)
        self.last_s = np.full(self.num_slots, np.nan)
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
        elapsed_s = np.empty_like(readings)
        for row, values in enumerate(readings):
            is_reading = ~np.isnan(values)
            elapsed_s[row] = np.where(is_reading & np.isnan(self.last_s), 0.0, times_s[row] - self.last_s)
            self.last_s[is_reading] = times_s[row, is_reading]
        said = np.full((end - start, self.num_slots, 4, NUM_LEADS), np.nan)
        row, slots = np.nonzero(~np.isnan(elapsed_s))
        if len(row):
            told = (readings[row, slots], elapsed_s[row, slots], self.cadence_s[slots])
            when = (times_s[row, slots] + MONDAY_S) % WEEK_S
            in_row = np.bincount(row)
            runs = Runs(slots, np.cumsum(in_row[in_row > 0]))
            outlook = self.model.sequence(Arrival(*map(torch.from_numpy, (*told, when))), runs, self.state, NUM_LEADS)
            said[row, slots, 0], said[row, slots, 1:] = outlook.mean.numpy(), outlook.quantiles.numpy()
            self.num_readings += int((~np.isnan(readings)).sum())
        return said


def evaluate(model: StreamingModel, grids: list[Grid], is_young_scored: bool = False) -> Results:
    """Stream the grids through the model and score each."""
    stream = Stream(model, grids)
    scores = {grid.name: Score.empty(grid.readings.shape[1]) for grid in grids}
    youths = {grid.name: Youth(grid) for grid in grids if is_young_scored}
    lasts = {grid.name: persistence(grid) for grid in grids}
    seasons = {grid.name: seasonal_naive(grid) for grid in grids}
    num_rows = max(len(grid.readings) for grid in grids)
    began = shown = time.perf_counter()
    for start in range(0, num_rows, CHUNK_ROWS):
        end = min(start + CHUNK_ROWS, num_rows)
        said = stream.chunk(start, end)
        for grid, columns in zip(grids, stream.columns, strict=True):
            rows = np.arange(start, min(end, len(grid.readings) - NUM_LEADS))
            if not len(rows):
                continue
            truth, last = targets(grid, rows), lasts[grid.name][rows]
            season = seasonal_forecasts(grid, seasons[grid.name], rows)
            mine = said[: len(rows), columns]
            if grid.name in youths:
                youths[grid.name].add(truth, mine, last, season)
            scored = slice(max(0, grid.first_origin - start), None)
            scores[grid.name].add(truth[scored], mine[scored], last[scored], season[scored])
        if time.perf_counter() - shown > 10:
            shown = time.perf_counter()
            print(f"  row {end}/{num_rows}, {shown - began:.0f} s, {stream.num_readings} readings", file=sys.stderr)
    return {
        name: score.summary() | (youths[name].summary() if name in youths else {})
        for name, score in scores.items()
        if score.cells.sum() > 0
    }


HEADS = {
    "mae": "mae",
    "rmse": "rmse",
    "wql": "wql",
    "ratio": "ratio",
    "wql_ratio": "wql ratio",
    "persistence_ratio": "pers. ratio",
    "coverage": "in 80 %",
    "first_to_persistence": "first/pers.",
    "first_seasonal_to_persistence": "day 2/pers.",
    "first_seasonal_to_seasonal": "day 2/season",
}
"""Columns of the table, and what stands above them."""


def table(results: Results) -> str:
    """The results as lines of text, with the geometric means of the ratios last."""
    has_young = all("first_to_persistence" in result for result in results.values())
    columns = [name for name in HEADS if has_young or not name.startswith("first_")]
    lines = [f"{'set':42s}" + "".join(f"{HEADS[name]:>13s}" for name in columns)]
    for name, result in results.items():
        lines.append(f"{name:42s}" + "".join(f"{result[column]:13.4g}" for column in columns))
    is_ratio = {name: "ratio" in name or "_to_" in name for name in columns}
    means = [f"{geometric_mean(results, name):13.4f}" if is_ratio[name] else " " * 13 for name in columns]
    lines.append(f"{'geometric mean':42s}" + "".join(means))
    return "\n".join(lines)


def geometric_mean(results: Results, what: str) -> float:
    """Of one number over the sets."""
    return float(np.exp(np.mean([np.log(result[what]) for result in results.values()])))


def commit_now() -> str:
    """The commit checked out, to be read before the code can change under a long run."""
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def save(to: str, model: StreamingModel, commit: str, development: Results, tests: Results) -> None:
    """Write what has been scored so far, with commit and command, into results/<to>.json."""
    ratios = {name: geometric_mean(development, name) for name in ("ratio", "wql_ratio")} if development else {}
    content = {
        "commit": commit,
        "command": " ".join(["python", "tests/benchmarks/accuracy.py", *sys.argv[1:]]),
        "model": f"{model.name}@{model.version}",
        "layout_id": model.layout_id,
        "state_bytes": model.state_floats * 4,
        **{f"geometric_mean_{name}": mean for name, mean in ratios.items()},
        "test_windows": tests,
        "development": development,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{to}.json").write_text(json.dumps(content, indent=1) + "\n")


def models_of(asked: argparse.Namespace) -> list[tuple[str, frozenset[str]]]:
    """Each model's name or folder, and the sets it is to be judged on."""
    names = frozenset(loader().names() if asked.only is None else asked.only)
    if asked.left_out is None:
        return [(asked.model, names)]
    return [(asked.left_out.format(number), group & names) for number, group in enumerate(GROUPS)]


def main() -> None:
    """Score a model on the test windows and the development sets, and save the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a shipped artifact's name or a folder")
    parser.add_argument("--left-out", help="folders of `make default-model LEAVE_OUT=0` ... `3`, {} for the number")
    parser.add_argument("--rows", type=int, default=0, help="first rows of the development sets, 0 for all")
    parser.add_argument("--sensors", type=int, default=32, help="of each development set, evenly spaced")
    parser.add_argument("--only", nargs="*", help="these development sets alone")
    parser.add_argument("--skip-tests", action="store_true", help="leave out the test windows of the three big sets")
    parser.add_argument("--to", default="accuracy", help="results/<to>.json is written")
    parser.add_argument("--no-save", action="store_true")
    wanted = parser.parse_args()
    commit = commit_now()
    tests: Results = {}
    development: Results = {}
    for place, names in models_of(wanted):
        model = load_model(place)
        print(f"{model.name}@{model.version}, {model.state_floats * 4} bytes of state a sensor", flush=True)
        for name, first_origin in {} if wanted.skip_tests else TEST_WINDOWS.items():
            if wanted.left_out is None or name in names:
                tests |= evaluate(model, [read_grid(name, first_origin=first_origin)])
                print(table(tests), flush=True)
        if names:
            grids = [read_grid(name, wanted.sensors, wanted.rows) for name in sorted(names)]
            development |= evaluate(model, grids, is_young_scored=True)
            print(table(development), flush=True)
        if not wanted.no_save:
            save(wanted.to, model, commit, development, tests)


if __name__ == "__main__":
    main()
