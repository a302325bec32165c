"""Trains a windowed network on a grid of readings: standardised windows, masked absolute error, the best epoch kept.

I know nothing of the network but that it maps windows to forecasts, nor of where the grid comes from.
"""

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stream_engine.records import Float64s, Int64s
from stream_engine.training.keep import Keeper, under

_SCORES, _STEP = "valid_mae", "step"
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
        cls, readings: Float64s, second_of_week: NDArray[np.number], fit_rows: int, num_in: int, num_out: int
    ) -> "Windows":
        """Windows of readings [rows, sensors], NaN where there is none, scaled by the first fit_rows."""
        known = readings[:fit_rows]
        count = np.maximum(np.isfinite(known).sum(axis=0), 1)
        mean = np.nansum(known, axis=0) / count
        std = np.sqrt(np.nansum((known - mean) ** 2, axis=0) / count)
        std = np.where(std > 0, std, 1.0)
        is_there = ~np.isnan(readings)
        last = np.maximum.accumulate(np.where(is_there, np.arange(len(readings))[:, None], -1), axis=0)
        filled = np.where(last >= 0, np.take_along_axis(readings, np.maximum(last, 0), axis=0), mean)
        return cls(
            torch.from_numpy((filled - mean) / std).float(),
            torch.from_numpy(is_there),
            torch.from_numpy(readings).float(),
            torch.from_numpy(second_of_week),
            torch.from_numpy(mean).float(),
            torch.from_numpy(std).float(),
            num_in,
            num_out,
        )

    def to(self, device: torch.device) -> "Windows":
        """The same on a device."""
        tensors = (self.values, self.is_there, self.truths, self.second_of_week, self.mean, self.std)
        values, is_there, truths, second_of_week, mean, std = (each.to(device) for each in tensors)
        return Windows(values, is_there, truths, second_of_week, mean, std, self.num_in, self.num_out)

    @property
    def last_values(self) -> Tensor:
        """The last reading of each row's sensors, [rows, sensors], in the readings' unit: persistence."""
        return self.values * self.std + self.mean

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
class Effort:
    """Batches of BATCH in all, over so many looks at the validation windows; seed of the batches."""

    num_steps: int
    num_epochs: int
    seed: int


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a training: validation MAE of each epoch, and median seconds of a step."""

    valid_mae: list[float]
    step_s: float


def whole_starts(ticks: Int64s, first: int, last: int, num_rows: int, stride: int = 1) -> Tensor:
    """First rows, from first to last, every stride, of the windows of num_rows rows with none missing between."""
    starts = np.arange(max(first, 0), last + 1, stride)
    starts = starts[starts + num_rows <= len(ticks)]
    return torch.from_numpy(starts[ticks[starts + num_rows - 1] - ticks[starts] == num_rows - 1])


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
    effort: Effort,
    told: Callable[[int, float], None] = lambda _step, _loss: None,
    keeper: Keeper | None = None,
) -> Trained:
    """Train a network in place; the weights of the best epoch on the validation windows stay.

    Args:
        starts: the first rows of the windows to fit, and of those that choose.
        told: hears of every step and its loss.
        keeper: where the progress is written after every epoch, and taken up from.
    """
    num_steps, num_epochs = effort.num_steps, effort.num_epochs
    generator = torch.Generator().manual_seed(effort.seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=MOST_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, MOST_RATE, num_steps)
    fitted, choosing = starts
    decided, tensors = ({}, {}) if keeper is None else keeper.load()
    scores: list[float] = decided.get(_SCORES, [])
    begin = decided.get(_STEP, 0)
    best, kept = min(scores, default=float("inf")), copy.deepcopy(net.state_dict())
    if tensors:
        kept = _take_up(tensors, net, optimiser, generator)
        with warnings.catch_warnings(action="ignore"):  # that no step of the optimiser came before
            for _ in range(begin):
                schedule.step()
    seconds = []
    for step in range(begin, num_steps):
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
            if keeper is not None:
                state = _progress(net, kept, optimiser, generator)
                keeper.save({_SCORES: scores, _STEP: step + 1}, state)
    net.load_state_dict(kept)
    return Trained(scores, float(np.median(seconds)) if seconds else 0.0)


def _progress(
    net: nn.Module, kept: dict[str, Tensor], optimiser: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, Tensor]:
    """All that a later process needs to go on, by name."""
    tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    tensors |= {f"kept.{name}": tensor for name, tensor in kept.items()}
    for name, weight in net.named_parameters():
        tensors |= {f"optimiser.{key}.{name}": value for key, value in optimiser.state[weight].items()}
    return tensors | {"draw": generator.get_state()}


def _take_up(
    tensors: dict[str, Tensor], net: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, Tensor]:
    """Take up what `_progress` gave; the weights of the best epoch."""
    net.load_state_dict(under("net.", tensors))
    for name, weight in net.named_parameters():
        keys = [key for key in ("step", "exp_avg", "exp_avg_sq") if f"optimiser.{key}.{name}" in tensors]
        optimiser.state[weight] = {key: tensors[f"optimiser.{key}.{name}"] for key in keys}
    generator.set_state(tensors["draw"])
    return under("kept.", tensors)
