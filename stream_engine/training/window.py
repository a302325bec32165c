"""Trains a windowed network on a grid of readings: standardised windows, masked absolute error, the best epoch kept.

I know nothing of the network but that it maps windows to forecasts, nor of where the grid comes from.
"""

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

WEEK_S, MONDAY_S = 604_800, 345_600
"""1970-01-05 was a Monday."""
BATCH, MOST_RATE = 8, 1e-2
"""Windows of a step, and the highest learning rate; chosen on validation windows (docs/diary.md)."""


@dataclass(frozen=True, slots=True)
class Windows:
    """A grid as windows are cut from it; window s has inputs of rows s ... s + num_in - 1, targets of the rows after.

    Attributes:
        values: [rows, sensors] float32, standardised by the fit rows, gaps filled with the last reading, else 0.
        is_there: [rows, sensors] bool.
        truths: [rows, sensors] float32 in the readings' unit, NaN where nothing is to be scored.
        second_of_week: [rows].
        mean, std: [sensors] of the fit rows.
        num_in, num_out: rows of inputs and of targets.
    """

    values: Tensor
    is_there: Tensor
    truths: Tensor
    second_of_week: Tensor
    mean: Tensor
    std: Tensor
    num_in: int
    num_out: int

    @classmethod
    def of(
        cls, readings: NDArray[np.float64], times_s: NDArray[np.int64], fit_rows: int, num_in: int, num_out: int
    ) -> "Windows":
        """Windows of readings [rows, sensors], NaN where there is none, scaled by the first fit_rows."""
        with np.errstate(invalid="ignore"):
            mean, std = np.nanmean(readings[:fit_rows], axis=0), np.nanstd(readings[:fit_rows], axis=0)
        mean, std = np.nan_to_num(mean), np.where(std > 0, std, 1.0)
        is_there = ~np.isnan(readings)
        last = np.maximum.accumulate(np.where(is_there, np.arange(len(readings))[:, None], -1), axis=0)
        filled = np.where(last >= 0, np.take_along_axis(readings, np.maximum(last, 0), axis=0), mean)
        return cls(
            torch.from_numpy((filled - mean) / std).float(),
            torch.from_numpy(is_there),
            torch.from_numpy(readings).float(),
            torch.from_numpy((times_s - MONDAY_S) % WEEK_S),
            torch.from_numpy(mean).float(),
            torch.from_numpy(std).float(),
            num_in,
            num_out,
        )

    def inputs(self, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the network sees of these windows."""
        rows = starts.unsqueeze(-1) + torch.arange(self.num_in)
        return self.values[rows], self.is_there[rows], self.second_of_week[rows[:, -1]]

    def targets(self, starts: Tensor) -> Tensor:
        """[windows, num_out, sensors]."""
        return self.truths[starts.unsqueeze(-1) + self.num_in + torch.arange(self.num_out)]

    def forecasts(self, net: nn.Module, starts: Tensor) -> Tensor:
        """In the readings' unit, [windows, num_out, sensors]."""
        said: Tensor = net(*self.inputs(starts))
        return said * self.std + self.mean


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training: validation MAE of each epoch, and median seconds of a step."""

    valid_mae: list[float]
    step_s: float


def in_batches(starts: Tensor, size: int = BATCH) -> Iterator[Tensor]:
    """The windows, so many at a time."""
    yield from torch.split(starts, size)


@torch.no_grad()
def absolute_errors(net: nn.Module, windows: Windows, starts: Tensor) -> Tensor:
    """|error| of every cell, NaN where nothing is scored, [windows, num_out, sensors]."""
    net.eval()
    return torch.cat(
        [(windows.forecasts(net, batch) - windows.targets(batch)).abs() for batch in in_batches(starts, 16 * BATCH)]
    )


def fit(
    net: nn.Module,
    windows: Windows,
    starts: tuple[Tensor, Tensor],
    num_steps: int,
    num_epochs: int,
    seed: int,
    told: Callable[[int, float], None] = lambda _step, _loss: None,
) -> Trained:
    """Train a network in place; the weights of the best epoch on the validation windows stay.

    Args:
        starts: the first rows of the windows to fit, and of those that choose.
        num_steps: batches of BATCH in all, over num_epochs looks at the validation windows.
        seed: of the batches.
        told: hears of every step and its loss.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=MOST_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, MOST_RATE, num_steps)
    fitted, choosing = starts
    best, kept, scores, seconds = float("inf"), copy.deepcopy(net.state_dict()), [], []
    for step in range(num_steps):
        net.train()
        begun = time.perf_counter()
        batch = fitted[torch.randint(len(fitted), (BATCH,), generator=generator)]
        wanted = windows.targets(batch)
        is_scored = ~wanted.isnan()
        error = (windows.forecasts(net, batch) - wanted.nan_to_num()).abs() / windows.std
        loss = error[is_scored].mean()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        seconds.append(time.perf_counter() - begun)
        told(step, float(loss.detach()))
        if (step + 1) % max(1, num_steps // num_epochs) == 0:
            scores.append(float(absolute_errors(net, windows, choosing).nanmean()))
            if scores[-1] < best:
                best, kept = scores[-1], copy.deepcopy(net.state_dict())
    net.load_state_dict(kept)
    return Trained(scores, float(np.median(seconds)))
