"""What the fold hands to what comes after it: forecasts of the mix, final forecasts, and outlooks made of them.

I know nothing of how either was computed.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from recurrent_core.config import ElinformerConfig
from recurrent_core.intervals import UNIT
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.interface import Outlook

UNKNOWN = 0
"""The number of every series that was not learnt from."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Origins, as networks of the trained dress are shown them.

    Attributes:
        features: [n, NUM_FEATURES] float32.
        newest, scale: [n] float64, the slot's last value and its scale.
        series: [n] int64; numbers beyond those learnt count as UNKNOWN.
    """

    features: Tensor
    newest: Tensor
    scale: Tensor
    series: Tensor


@dataclass(frozen=True, slots=True)
class Made:
    """Forecasts of the mix; lives for one call. Values are relative to the anchor.

    Attributes:
        mix: [batch, leads] the point forecast.
        error: [batch, leads] the mean |error| expected of it.
        scale, count: [batch], of the slot when it forecast.
        newest: [batch] float64, the slot's last reading; series: [batch] int64, the number of its series, or 0.
        rows: [batch] int64, which of the rows handed in is the slot's; one's readings stand in order of time.
        ticks: [batch] float64, from the slot's reading before to this one; NaN at a question.
        features: [batch, NUM_FEATURES] float32 for a network; [batch, 0] where none is asked.
        heard: [batch, NUM_HEARD] float32 of the slot's group, for a network that listens; None without groups.
    """

    mix: Tensor
    error: Tensor
    scale: Tensor
    count: Tensor
    newest: Tensor
    series: Tensor
    rows: Tensor
    ticks: Tensor
    features: Tensor
    heard: Tensor | None = None

    @property
    def shown(self) -> Shown:
        """What networks of the trained dress look at."""
        return Shown(self.features, self.newest, self.scale, self.series)

    def __getitem__(self, places: Tensor) -> "Made":
        """Those of some slots."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: column[places] for name, column in columns.items() if column is not None})


@dataclass(frozen=True, slots=True)
class Final:
    """Forecasts to choose from, and how the one that is sent lies about them; lives for one call.

    Attributes:
        candidates: [batch, candidates, leads] medians relative to the anchor; the first is the mix.
        lean: [batch, leads] the mean minus the median.
        lower, upper: [batch, leads] distances of the outer quantiles from the median, >= 0.
    """

    candidates: Tensor
    lean: Tensor
    lower: Tensor
    upper: Tensor


Finish = Callable[[Made], Final]
"""Turns the mix's forecasts into final ones."""


def finish_plain(made: Made) -> Final:
    """The mix as it is, its sides UNIT times the error expected."""
    side = UNIT * made.error
    return Final(made.mix[:, None], torch.zeros_like(side), side, side)


def outlook(
    config: ElinformerConfig, scale: Tensor, count: Tensor, drift: Tensor, mean: Tensor, quantiles: Tensor
) -> Outlook:
    """The forecasts as the engine takes them.

    Args:
        scale, count: [batch], as in Made.
        drift: [batch, 2], running surprise and ticks since a break; see `drift`.
        mean: [batch, horizon] float64; quantiles: [batch, 3, horizon] float64.
    """
    is_surprised = (drift[:, 0].abs() > config.drift_ratio) & (count > 2 * config.warm_up_readings)
    is_drifting = is_surprised | (drift[:, 1] < NUM_LEADS)
    return Outlook(mean, quantiles, scale.double(), count < config.warm_up_readings, is_drifting)
