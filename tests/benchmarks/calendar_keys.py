"""The calendar memory by cells beside the same by Fourier keys and ridge regression: which serves the mix better.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.calendar_keys [--sets metr_la_tail65 ...] [--sensors 16]

The untrained model is streamed by torch's equations, all of it the same but for what stands behind the five memories:
their cells, or for each of them a ridge regression on sines and cosines of the day (and of the week) that forgets at
the cells' rates. Each regression has a Gram matrix of its own, so that gaps do no harm: the best that such keys can
do. `floats` counts what a state would keep if it shared that matrix among all sensors, and in brackets with its own.
MAE of the mix over the MAE with cells, on the same cells of the protocol of `tests.benchmarks.accuracy`.
"""

import argparse
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurrent_core import calendar
from recurrent_core.models.elinformer import fold
from recurrent_core.models.elinformer.model import PRIOR, Elinformer
from recurrent_core.models.interface import Arrival, Groups, Outlook, Question, Runs, StreamingModel
from tests.benchmarks.accuracy import TEST_WINDOWS, evaluate
from tests.benchmarks.grids import read_grid
from tests.benchmarks.results import save

SETS = (*TEST_WINDOWS, "ETTh1", "nab_nyc_taxi", "pjm_hourly", "pemsd7_25")
MOST_ROWS = 5000
WEEKEND_S = 5 * calendar.DAY_S
HARMONICS = ((4, 3), (12, 6))
RIDGE = (0.01, 1.0)
"""Share of the mass, and readings, added to the diagonal."""


class OnTorch(Elinformer):
    """The untrained model by torch's equations, also on a CPU."""

    def advance(self, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
        with torch.inference_mode():
            parts = self.layout.views(state)
            return self._on_torch.advance(arrival, parts, horizon, self.tensors[PRIOR], self._finisher(state))

    def ask(self, question: Question, state: Tensor, horizon: int) -> Outlook:
        with torch.inference_mode():
            parts = self.layout.views(state.clone())
            return self._on_torch.ask(question, parts, horizon, self.tensors[PRIOR], self._finisher(state))

    def sequence(
        self, arrival: Arrival, runs: Runs, slab: Tensor, horizon: int, groups: Groups | None = None
    ) -> Outlook:
        return StreamingModel.sequence(self, arrival, runs, slab, horizon, groups)


class NumberedRows(OnTorch):
    """The same; a row's day cells, not used by Fourier keys, hold its number."""

    def init_state(self, num_slots: int) -> Tensor:
        state = super().init_state(num_slots)
        self.layout.views(state)["day"][:, 0, 0] = torch.arange(num_slots)
        return state


@dataclass(frozen=True, slots=True)
class Timed(calendar.Places):
    """Places that know their second of the week, [batch, moments]."""

    second: Tensor


class Regression:
    """One memory of many slots: ridge regression of values on Fourier keys, forgetting with time."""

    def __init__(self, num_slots: int, day: int, week: int, forgotten_s: float) -> None:
        """Start empty.

        Args:
            day, week: harmonics of each.
        """
        self.day, self.week, self.forgotten_s = day, week, forgotten_s
        self.width = 1 + 2 * day + 2 * week
        self.gram = torch.zeros(num_slots, self.width, self.width, dtype=torch.float64)
        self.cross = torch.zeros(num_slots, self.width, dtype=torch.float64)
        self.weights = torch.zeros(num_slots, self.width, dtype=torch.float64)

    def keys(self, second: Tensor, period_s: Tensor) -> Tensor:
        """[..., width] of seconds; period_s: of the day calendar, like second."""
        day = torch.arange(1, self.day + 1) * (2 * math.pi / period_s[..., None] * second[..., None])
        week = torch.arange(1, self.week + 1) * (2 * math.pi / calendar.WEEK_S * second[..., None])
        ones = torch.ones_like(second)[..., None]
        return torch.cat([ones, day.sin(), day.cos(), week.sin(), week.cos()], dim=-1).double()

    def learn(self, slots: Tensor, keys: Tensor, values: Tensor, elapsed_s: Tensor) -> None:
        """One value for each of the slots; keys: [batch, width]."""
        keep = torch.exp(-elapsed_s / self.forgotten_s)[:, None]
        self.gram[slots] = keep[..., None] * self.gram[slots] + keys[:, :, None] * keys[:, None]
        self.cross[slots] = keep * self.cross[slots] + keys * values.double()[:, None]
        gram = self.gram[slots]
        strength = RIDGE[0] * gram[:, 0, 0] + RIDGE[1]
        penalty = torch.diag_embed(strength[:, None] * (torch.arange(self.width) > 0) + 1e-9)
        self.weights[slots] = torch.linalg.solve(gram + penalty, self.cross[slots])

    def read(self, slots: Tensor, keys: Tensor) -> Tensor:
        """[batch, moments]; keys: [batch, moments, width]."""
        return (keys @ self.weights[slots][..., None])[..., 0].float()


class Fourier:
    """Stands in for the calendar's cells while a model is streamed."""

    def __init__(self, num_slots: int, day: int, week: int, config: Any) -> None:
        rates = (1.0, config.profile_rate, config.class_rate, config.class_rate)
        spans = [calendar.DAY_S / rate for rate in rates]
        self.by_day = [Regression(num_slots, day, 0, span) for span in spans]  # A, C, D0, D1
        self.hours = Regression(num_slots, day, week, calendar.WEEK_S / config.week_rate)
        self.last_week = Regression(num_slots, day, week, calendar.WEEK_S)
        self.was_places = calendar.places

    @property
    def floats(self) -> tuple[int, int]:
        """Of one slot's state, with a Gram matrix in common and with its own."""
        widths = [one.width for one in (*self.by_day, self.hours, self.last_week)]
        return sum(width + 1 for width in widths), sum(width + width * (width + 1) // 2 for width in widths)

    def places(self, at: calendar.Clock, ticks: Tensor, num_day: int, num_week: int) -> Timed:
        """As calendar.places; the moments' seconds beside."""
        found = self.was_places(at, ticks, num_day, num_week)
        second = torch.remainder(at.second_of_week[:, None] + ticks.double() * at.cadence_s[:, None], calendar.WEEK_S)
        self.period_s = at.day_period_s[:, None].expand_as(second)
        return Timed(found.day_cells, found.week_cells, found.day_shares, found.week_shares, found.is_weekend, second)

    def read(self, day: Tensor, week: Tensor, level: Tensor, where: Timed) -> tuple[Tensor, Tensor]:
        """As calendar.read."""
        slots, keys = day[:, 0, 0].long(), self.by_day[0].keys(where.second, self.period_s)
        last, profile, weekdays, weekend = (one.read(slots, keys) for one in self.by_day)
        is_weekend = where.second >= WEEKEND_S
        of_class = torch.where(is_weekend, weekend, weekdays)
        mass = torch.stack([one.gram[slots, 0, 0] for one in self.by_day[2:]], dim=1)
        is_class_known = torch.where(is_weekend, mass[:, 1:] > 0, mass[:, :1] > 0)
        of_class = torch.where(is_class_known, of_class, profile)
        keys = self.hours.keys(where.second, self.period_s)
        of_week, last_week = self.hours.read(slots, keys), self.last_week.read(slots, keys)
        is_known = (self.by_day[1].gram[slots, 0, 0] > 0).float()[:, None].expand_as(last)
        memories = torch.stack([last, profile, of_class, of_week, last_week], dim=1)
        return torch.lerp(level[:, None, None], memories, is_known[:, None]), is_known

    def learn(self, parts: dict[str, Tensor], landing: fold.Landing, arrival: Arrival, config: Any) -> None:
        """As fold._learn_calendar."""
        at, slots = landing.clock, parts["day"][:, 0, 0].long()
        second, elapsed_s = at.second_of_week, arrival.elapsed_s
        keys = self.by_day[0].keys(second, at.day_period_s)
        is_weekend = second >= WEEKEND_S
        for one, is_mine in zip(self.by_day, (None, None, ~is_weekend, is_weekend), strict=True):
            chosen = torch.arange(len(slots)) if is_mine is None else is_mine.nonzero()[:, 0]
            if len(chosen):
                one.learn(slots[chosen], keys[chosen], landing.value[chosen], elapsed_s[chosen])
        keys = self.hours.keys(second, at.day_period_s)
        for one in (self.hours, self.last_week):
            one.learn(slots, keys, landing.value, elapsed_s)

    def __enter__(self) -> "Fourier":
        self._kept = (calendar.places, calendar.read, fold._learn_calendar)
        calendar.places, calendar.read, fold._learn_calendar = self.places, self.read, self.learn  # type: ignore
        return self

    def __exit__(self, *_: object) -> None:
        calendar.places, calendar.read, fold._learn_calendar = self._kept


def measure(names: list[str], num_sensors: int) -> dict[str, dict[str, float]]:
    """Keys -> set -> MAE of the mix; all sets side by side in one slab."""
    grids = [read_grid(name, num_sensors, MOST_ROWS) for name in names]
    born = Elinformer.untrained()
    found = {"cells": evaluate(OnTorch(born.config, born.tensors, "cells", "0"), grids)}
    for day, week in HARMONICS:
        num_slots = sum(grid.readings.shape[1] for grid in grids)
        with Fourier(num_slots, day, week, born.config) as memory:
            common, own = memory.floats
            keys = f"{day} harmonics of the day, {week} of the week, {common} floats ({own})"
            found[keys] = evaluate(NumberedRows(born.config, born.tensors, keys, "0"), grids)
    return {keys: {name: scores[name]["mae"] for name in names} for keys, scores in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--sensors", type=int, default=16)
    chosen = parser.parse_args()
    found = measure(chosen.sets, chosen.sensors)
    for keys, maes in found.items():
        ratios = {name: mae / found["cells"][name] for name, mae in maes.items()}
        print(keys, *(f"  {name} {ratio:.4f}" for name, ratio in ratios.items()), sep="\n")
        print(f"  geometric mean {np.exp(np.mean(np.log(list(ratios.values())))):.4f}")
    print(save("calendar_keys", "python -m tests.benchmarks.calendar_keys", {"mae": found}))


if __name__ == "__main__":
    main()
