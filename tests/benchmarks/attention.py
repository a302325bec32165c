"""The moments' read-outs alone, beside softmax attention over the same history: what the constant size costs.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.attention [--sets metr_la_tail65 ...] [--sensors 8] [--origins 100]

The model is streamed; at every third row its keys and scales are noted, as it pairs them itself. At a sample of origins
every way then reads the same pairs, all whose twelve values had arrived, in float64 and with the same decay (`served`
weighs them against outliers besides): softmax with the affine read-out's own logits u'k, to which its slope is matched,
and with flatter ones; softmax of the distance of query and key; softmax over the newest window alone; the affine
read-out and the ridge, the latter also with keys that know no calendar. MAE over persistence's on the same cells.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray

from recurrent_core import scaling
from recurrent_core.calendar import clock
from recurrent_core.models.elinformer.fold import CLIP
from recurrent_core.models.elinformer.forecast import Origin, forecast
from recurrent_core.models.elinformer.layout import PAIR_TICKS, READOUTS
from recurrent_core.models.elinformer.model import PRIOR, Elinformer
from tests.benchmarks.accuracy import MONDAY_S, TEST_WINDOWS, Stream
from tests.benchmarks.grids import NUM_LEADS, WEEK_S, Grid, read_grid, targets
from tests.benchmarks.results import save

SETS = (*TEST_WINDOWS, "ETTh1", "beijing_air", "ecl_35days", "nab_nyc_taxi", "pemsd7_25", "pjm_hourly")
MOST_ROWS = 20_000
FEWEST_VALUES = 6
FEWEST_PAIRS = 10
WINDOW_TICKS = 288
LEAST_RIDGE = 1e-6
"""For keys that do not vary, as the model has it."""
FLATTER = (1.0, 1 / 2, 1 / 4, 1 / 8)
SHARPER = (1.0, 2.0, 4.0, 8.0)
OWN = [0, 1, 2, 3, 4, 14]
"""Features of a key that know no calendar: the lags and the level."""
RIDGE, AFFINE = READOUTS.index("ridge"), READOUTS.index("affine")
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Noted:
    """What one sensor's state showed at some rows; NaN where it had no reading.

    Attributes:
        ticks: [p]. keys: [p, D_KEY]. scales: [p]. truths: [p, NUM_LEADS] minus the reading.
        values: [p, NUM_LEADS] the truths over the scale, gaps filled on straight lines; NaN where most are missing.
        served: name -> [p, NUM_LEADS] what the model's own read-outs said, minus the reading.
        is_scored: [p].
    """

    ticks: NDArray[np.int64]
    keys: Floats
    scales: Floats
    truths: Floats
    values: Floats
    served: dict[str, Floats]
    is_scored: NDArray[np.bool_]


class Watched(Stream):
    """A stream whose states are looked at; owned by one `watch`."""

    def shown(self, row: int) -> tuple[Floats, Floats, dict[str, Floats]]:
        """Keys [N, D_KEY], scales [N] and read-outs minus the last reading, [N, NUM_LEADS], after this row."""
        model = self.model
        if not isinstance(model, Elinformer):
            raise TypeError(f"{model.name} is no elinformer")
        (grid,) = self.grids
        parts = model.layout.views(self.state)
        seconds = torch.full((self.num_slots,), float((grid.times_s[row] + MONDAY_S) % WEEK_S), dtype=torch.float64)
        at = clock(seconds, torch.from_numpy(self.cadence_s), model.config.day_cells, model.config.week_cells)
        scale = scaling.scale(parts["step_sizes"], parts["count"], parts["anchor"], parts["level"])
        said = forecast(parts, Origin(at, seconds, scale, None), NUM_LEADS, model.tensors[PRIOR], model.config)
        outs = said.outs.double().numpy()
        mix = (said.mix - parts["ring"][:, :1]).double().numpy()
        served = {"ridge, served": outs[:, RIDGE], "affine, served": outs[:, AFFINE], "the whole mix": mix}
        return said.key.double().numpy(), scale.double().numpy(), served


@torch.inference_mode()
def watch(grid: Grid) -> list[Noted]:
    """Stream a set through the untrained model and note what each sensor's state shows."""
    stream = Watched(Elinformer.untrained(), [grid])
    rows = np.arange(0, len(grid.readings) - NUM_LEADS, PAIR_TICKS)
    seen, end = [], 0
    for row in rows.tolist():
        stream.chunk(end, row + 1)
        seen.append(stream.shown(row))
        end = row + 1
    keys, scales = np.stack([key for key, _, _ in seen]), np.stack([scale for _, scale, _ in seen])
    served = {name: np.stack([outs[name] for _, _, outs in seen]) for name in seen[0][2]}
    readings = grid.readings[rows]
    truths = targets(grid, rows) - readings[..., None]
    filled = _filled(grid)[grid.ticks[rows][:, None] + np.arange(1, NUM_LEADS + 1)].swapaxes(1, 2) - readings[..., None]
    filled[np.isfinite(truths).sum(axis=2) < FEWEST_VALUES] = np.nan
    return [
        Noted(
            grid.ticks[rows],
            keys[:, n],
            scales[:, n],
            truths[:, n],
            (filled[:, n] / scales[:, n, None]).clip(-CLIP, CLIP),
            {name: outs[:, n] for name, outs in served.items()},
            (rows >= grid.first_origin) & ~np.isnan(readings[:, n]),
        )
        for n in range(readings.shape[1])
    ]


def _filled(grid: Grid) -> Floats:
    """The truths by tick with straight lines over gaps."""
    filled, ticks = grid.truths.copy(), np.arange(len(grid.truths))
    for column in filled.T:
        is_there = ~np.isnan(column)
        if is_there.any():
            column[:] = np.interp(ticks, ticks[is_there], column[is_there])
    return filled


@dataclass(frozen=True)
class History:
    """Pairs that an origin can read: keys [p, d], values [p, leads], weights [p] of sum 1 and what it was, ages [p]."""

    keys: Floats
    values: Floats
    prior: Floats
    mass: float
    ages: NDArray[np.int64]

    @cached_property
    def moments(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Means and covariances: kbar, vbar, C_kk, C_kv."""
        key_mean, value_mean = self.prior @ self.keys, self.prior @ self.values
        apart = self.keys - key_mean
        weighted = self.prior[:, None] * apart
        return key_mean, value_mean, weighted.T @ apart, weighted.T @ (self.values - value_mean)


def widths(history: History) -> Floats:
    """What the model divides the keys' features by, in u'k; [d]."""
    variances = np.diag(history.moments[2])
    return np.asarray((variances + 0.1 * variances.mean() + 1e-3) * len(variances) ** 0.5)


def scaled_query(history: History, key: Floats) -> Floats:
    """u, as the model has it."""
    return np.asarray((key - history.moments[0]) / widths(history))


def affine(history: History, key: Floats) -> Floats:
    """vbar + C_kv' u / sqrt(1 + u' C_kk u / 2)."""
    _, value_mean, key_cov, cross = history.moments
    u = scaled_query(history, key)
    return np.asarray(value_mean + cross.T @ u / np.sqrt(1.0 + u @ key_cov @ u / 2.0))


def ridge(history: History, key: Floats) -> Floats:
    """vbar + C_kv' (C_kk + r I)^-1 (q - kbar)."""
    key_mean, value_mean, key_cov, cross = history.moments
    strength = np.trace(key_cov) / len(key) * (0.01 + 30.0 / history.mass) + LEAST_RIDGE
    return np.asarray(value_mean + cross.T @ np.linalg.solve(key_cov + strength * np.eye(len(key)), key - key_mean))


def softmax(history: History, key: Floats, by: float = 1.0) -> Floats:
    """The values weighted by the prior times exp(by u'k)."""
    return _averaged(history, by * (history.keys @ scaled_query(history, key)))


def nearest(history: History, key: Floats, by: float = 1.0) -> Floats:
    """The same with the distance as logits, as between keys of one length: by (u'k - k'k / 2), in the same units."""
    return _averaged(history, -0.5 * by * np.square(history.keys - key) @ (1.0 / widths(history)))


def _averaged(history: History, logits: Floats) -> Floats:
    logits = logits + np.log(history.prior)
    weights = np.exp(logits - logits.max())
    return np.asarray(weights @ history.values / weights.sum())


def windowed(way: Callable[[History, Floats], Floats]) -> Callable[[History, Floats], Floats]:
    """The same way over the pairs of the last WINDOW_TICKS alone; nothing while they are few."""

    def read(history: History, key: Floats) -> Floats:
        is_near = history.ages <= WINDOW_TICKS
        if is_near.sum() < FEWEST_PAIRS:
            return np.zeros(NUM_LEADS)
        near, ages = history.prior[is_near], history.ages[is_near]
        share = near.sum()
        return way(
            History(history.keys[is_near], history.values[is_near], near / share, history.mass * share, ages), key
        )

    return read


def own(history: History) -> History:
    """The same pairs, their keys without the calendar."""
    return History(history.keys[:, OWN], history.values, history.prior, history.mass, history.ages)


WAYS: dict[str, Callable[[History, Floats], Floats]] = {
    "affine": affine,
    "ridge": ridge,
    "ridge, no calendar in its keys": lambda history, key: ridge(own(history), key[OWN]),
    f"ridge, last {WINDOW_TICKS} ticks": windowed(ridge),
    f"softmax of distance, last {WINDOW_TICKS} ticks": windowed(nearest),
    **{f"softmax, logits x {by:g}": partial(softmax, by=by) for by in FLATTER},
    **{f"softmax of distance x {by:g}": partial(nearest, by=by) for by in SHARPER},
}


def history_at(noted: Noted, place: int, decay_ticks: float) -> History | None:
    """The pairs whose values had all arrived by this place; None while they are few."""
    is_pair = np.isfinite(noted.values).all(axis=1) & (noted.ticks + NUM_LEADS <= noted.ticks[place])
    if is_pair.sum() < FEWEST_PAIRS:
        return None
    ages = noted.ticks[place] - noted.ticks[is_pair]
    weights = np.exp(-ages / decay_ticks)
    return History(noted.keys[is_pair], noted.values[is_pair], weights / weights.sum(), float(weights.sum()), ages)


def errors(noted: Noted, num_origins: int, decay_ticks: float) -> dict[str, float]:
    """Sum of |error| of each way over a sample of one sensor's origins, with `persistence` and `cells`."""
    scored = np.flatnonzero(noted.is_scored)
    chosen = scored[np.unique(np.linspace(0, len(scored) - 1, num_origins).astype(int))] if len(scored) else scored
    sums = dict.fromkeys((*WAYS, *noted.served, "persistence", "cells"), 0.0)
    for place in chosen.tolist():
        history = history_at(noted, place, decay_ticks)
        if history is None:
            continue
        truth, scale = noted.truths[place], noted.scales[place]
        said = {name: scale * way(history, noted.keys[place]).clip(-CLIP, CLIP) for name, way in WAYS.items()}
        said |= {name: outs[place] for name, outs in noted.served.items()}
        said["persistence"] = np.zeros(NUM_LEADS)
        for name, increments in said.items():
            sums[name] += float(np.nansum(np.abs(truth - increments)))
        sums["cells"] += float(np.isfinite(truth).sum())
    return sums


def measure(name: str, num_sensors: int, num_origins: int) -> dict[str, float]:
    """MAE over persistence's of each way, mean over sensors, and the cells."""
    grid = read_grid(name, num_sensors, MOST_ROWS, TEST_WINDOWS.get(name, -1))
    decay_ticks = Elinformer.untrained().config.moments_ticks
    found = [errors(noted, num_origins, decay_ticks) for noted in watch(grid)]
    found = [sums for sums in found if sums["persistence"] > 0]
    ratios = {
        way: float(np.mean([sums[way] / sums["persistence"] for sums in found]))
        for way in found[0]
        if way not in ("persistence", "cells")
    }
    return ratios | {"cells": sum(sums["cells"] for sums in found)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--sensors", type=int, default=8)
    parser.add_argument("--origins", type=int, default=100)
    asked = parser.parse_args()
    found: dict[str, object] = {}
    for name in asked.sets:
        ratios = measure(name, asked.sensors, asked.origins)
        found[name] = {way: round(ratio, 4) for way, ratio in ratios.items()}
        print(f"\n{name}: MAE over persistence's, {ratios.pop('cells'):,.0f} cells")
        for way, ratio in ratios.items():
            print(f"  {way:38s}{ratio:8.4f}", flush=True)
        save("attention", "python -m tests.benchmarks.attention", {"mae_over_persistence": found})


if __name__ == "__main__":
    main()
