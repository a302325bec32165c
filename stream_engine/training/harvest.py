"""What a network is shown of a history, and what it should have said: replays through the engine's own model.

I know nothing of networks but their features. Everything is in units of the mix's expected error, see `MixNet`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.made import Made, Shown
from recurrent_core.models.elinformer.mix_net import FIRST_COUNT
from recurrent_core.models.elinformer.model import Elinformer
from recurrent_core.models.interface import Arrival, Runs
from stream_engine.records import Float64s, Int64s
from stream_engine.training.material import Part
from stream_engine.training.passages import Passage

CHUNK = 20_000
"""Forecasts made at a time, so that features take little memory."""
MOST_ERRORS = 50.0
MOST_WEIGHT = 20.0
NS_PER_S = 1e9
Float32s = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """Forecast origins to learn from.

    Attributes:
        features: [n, NUM_FEATURES] float32.
        truths: [n, NUM_LEADS] float32, truth minus the mix over the mix's expected error; 0 where there is no truth.
        weights: [n, NUM_LEADS] float32, the expected error over what is usual in the set; 0 where there is no truth.
        error: [n, NUM_LEADS] float32, the mix's expected error, in the unit of the values.
        newest, scale: [n] float64, the slot's last reading and its scale.
        series: [n] int64, the number of the slot's series, 0 where none is known.
        ticks: [n] float32, from the slot's reading before to this one; NaN where it had none at this row.
        moment: [n] int64, never falling; origins of equal moment are of one row of one passage, and hear each other.
    """

    features: Tensor
    truths: Tensor
    weights: Tensor
    error: Tensor
    newest: Tensor
    scale: Tensor
    series: Tensor
    ticks: Tensor
    moment: Tensor

    def __len__(self) -> int:
        return len(self.features)

    @property
    def shown(self) -> Shown:
        """What networks of the trained dress look at."""
        return Shown(self.features, self.newest, self.scale, self.series)

    @classmethod
    def joined(cls, some: Sequence["Origins"]) -> "Origins":
        """All of them, in order; moments of different ones stay apart and do not follow each other."""
        columns = {field.name: torch.cat([getattr(one, field.name) for one in some]) for field in fields(cls)}
        ends = [0, *(int(one.moment[-1]) + 2 if len(one) else 0 for one in some)]
        first = torch.tensor(ends).cumsum(0)[:-1]
        columns["moment"] += first.repeat_interleave(torch.tensor([len(one) for one in some]))
        return cls(**columns)

    def __getitem__(self, places: Tensor | slice) -> "Origins":
        """Some of them."""
        return Origins(*(getattr(self, field.name)[places] for field in fields(self)))

    def to(self, device: torch.device) -> "Origins":
        """The same on a device."""
        return Origins(*(getattr(self, field.name).to(device) for field in fields(self)))

    def batches(self, size: int) -> Iterator["Origins"]:
        """All of them in order, about so many at a time, no moment cut in two."""
        starts = moment_starts(self.moment)
        cuts = torch.unique(starts[torch.searchsorted(starts, torch.arange(0, len(self), size), right=True) - 1])
        for start, end in pairwise([*cuts.tolist(), len(self)]):
            yield self[start:end]


def moment_starts(moment: Tensor) -> Tensor:
    """Places at which moments begin, [moments]; moment: [n], never falling."""
    return torch.cat([torch.zeros(min(1, len(moment)), dtype=torch.int64), 1 + moment.diff().nonzero()[:, 0]])


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which origins are kept.

    Attributes:
        share: of the origins shown, those kept by chance.
        young_share: the same for a slot's first `num_young` readings, if higher.
        num_young: readings.
    """

    share: float = 1.0
    young_share: float = 1.0
    num_young: int = 0


def harvest(
    part: Part,
    passage: Passage,
    model: Elinformer,
    sampling: Sampling,
    draw: np.random.Generator,
    advance: Callable[[int], None] = lambda _: None,
) -> Origins:
    """Replay a passage and keep what the slots showed at a sample of the origins.

    A sensor without a reading at a row is asked all the same. Truths are the readings at the rows' next NUM_LEADS,
    below the highest row of the passage.

    Args:
        model: whose mix and features; its own network, if it has one, is left aside.
        advance: is told how many rows have been replayed.
    """
    num_sensors = len(part.sensors)
    slab = model.init_state(num_sensors)
    model.inscribe(slab, part.numbers)
    last_s = np.full(num_sensors, np.nan)
    truths = _truths(part, int(passage.rows.max(initial=-1)) + 1)
    kept: list[Origins] = []
    num_rows = max(1, CHUNK // num_sensors)
    for start in range(0, len(passage.rows), num_rows):
        cut = slice(start, start + num_rows)
        rows, times_s = passage.rows[cut], passage.times_s[cut]
        values, elapsed_s = _elapsed(part.values[rows], times_s, last_s)
        is_told = np.isfinite(elapsed_s)
        step, slots = np.nonzero(is_told)
        if len(step):
            arrival = Arrival(
                torch.from_numpy(values[step, slots]),
                torch.from_numpy(elapsed_s[step, slots]),
                torch.full((len(step),), part.step_ns / NS_PER_S, dtype=torch.float64),
                torch.from_numpy(part.second_of_week[rows][step]),
            )
            made = model.observe(arrival, Runs(slots, np.cumsum(is_told.sum(axis=1))), slab)
            is_kept = passage.is_shown[cut][step] & _drawn(made.count.numpy(), sampling, draw)
            apart = truths[rows][step, slots] - model.anchors(slab).numpy()[slots, None]
            kept.append(_origins(made, apart, start + step, is_kept))
        advance(len(rows))
    return Origins.joined(kept)


def _elapsed(values: Float64s, times_s: Float64s, last_s: Float64s) -> tuple[Float64s, Float64s]:
    """Seconds since each sensor's last reading, [rows, N], 0 at its first, NaN before it; last_s [N] moves on."""
    elapsed_s = np.empty_like(values)
    for row, now_s in enumerate(times_s):
        is_reading = np.isfinite(values[row])
        elapsed_s[row] = np.where(np.isnan(last_s) & is_reading, 0.0, now_s - last_s)
        last_s[is_reading] = now_s
    return values, elapsed_s


def _truths(part: Part, end: int) -> Float64s:
    """Readings NUM_LEADS steps on from each row, [end, N, NUM_LEADS]; NaN from row `end` on and across missing rows."""
    beyond = np.full((NUM_LEADS, part.values.shape[1]), np.nan)
    values = np.concatenate([part.values[:end], beyond])
    ahead = np.lib.stride_tricks.sliding_window_view(values, NUM_LEADS, axis=0)[1:]
    times_ns = np.concatenate([part.times_ns[:end], np.full(NUM_LEADS, np.iinfo(np.int64).max // 2)])
    waits_ns = np.lib.stride_tricks.sliding_window_view(times_ns, NUM_LEADS)[1:] - part.times_ns[:end, None]
    is_on_time = np.abs(waits_ns - part.step_ns * np.arange(1, NUM_LEADS + 1)) <= part.step_ns // 2
    return np.where(is_on_time[:, None], ahead, np.nan)


def _drawn(count: Float64s, sampling: Sampling, draw: np.random.Generator) -> NDArray[np.bool_]:
    share = np.where(count <= sampling.num_young, max(sampling.share, sampling.young_share), sampling.share)
    return np.asarray((count >= FIRST_COUNT) & (draw.random(len(count)) < share))


def _origins(made: Made, truths: Float64s, moment: Int64s, is_kept: NDArray[np.bool_]) -> Origins:
    """The origins kept, truths relative to the anchor; moment: [n], never falling."""
    made = made[torch.from_numpy(np.flatnonzero(is_kept))]
    error = np.maximum(made.error.numpy(), 1e-30)
    miss = (truths[is_kept] - made.mix.numpy()) / error
    has_truth = np.isfinite(miss)
    miss = np.where(has_truth, np.clip(miss, -MOST_ERRORS, MOST_ERRORS), 0.0)
    missed, weights, usual = (torch.from_numpy(each.astype(np.float32)) for each in (miss, error * has_truth, error))
    when = torch.from_numpy(moment[is_kept])
    ticks = made.ticks.float()
    return Origins(made.features, missed, weights, usual, made.newest, made.scale.double(), made.series, ticks, when)


def balanced(origins: Origins) -> Origins:
    """The same origins with weights of mean 1, so that a set counts the same in whatever unit it is measured."""
    has_truth = origins.weights > 0
    usual = origins.weights[has_truth].mean() if has_truth.any() else torch.ones(())
    return replace(origins, weights=(origins.weights / usual).clamp(max=MOST_WEIGHT))
