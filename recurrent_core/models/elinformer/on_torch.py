"""The elinformer by torch, for any device: one reading of every row at a time.

I know nothing of runs of readings or of who owns the slab. These are the equations as README.md has them.
"""

import torch
from torch import Tensor

from recurrent_core import scaling
from recurrent_core.calendar import clock
from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.drift import ticks_since_break
from recurrent_core.models.elinformer.features import features
from recurrent_core.models.elinformer.fold import MOST_TICKS, fold
from recurrent_core.models.elinformer.forecast import Forecast, Origin, forecast, leads_of, note
from recurrent_core.models.elinformer.layout import Parts
from recurrent_core.models.elinformer.made import Finish, Made, outlook
from recurrent_core.models.elinformer.settle import choose, learn, note_final, spread
from recurrent_core.models.interface import Arrival, Outlook, Question


class OnTorch:
    """Folds and forecasts by torch's operations; keeps nothing but the config."""

    def __init__(self, config: ElinformerConfig, has_network: bool) -> None:
        self._config = config
        self._has_network = has_network

    def advance(self, arrival: Arrival, parts: Parts, horizon: int, prior: Tensor, finish: Finish) -> Outlook:
        """Fold one reading into every row, in place, and forecast from it; parts are views of the rows."""
        at, scale = fold(parts, arrival, self._config)
        origin = Origin(at, at.second_of_week, scale, None)
        said = forecast(parts, origin, horizon, prior, self._config)
        ticks = (arrival.elapsed_s / arrival.cadence_s).clamp(max=MOST_TICKS)
        made = self._made(parts, origin, said, ticks)
        note(parts, said)
        final = finish(made)
        learn(parts, arrival.value)
        leads = leads_of(None, said.mix.shape[1], said.mix.device)
        middle = choose(parts, final, leads)
        note_final(parts, final, middle)
        mean, quantiles = spread(parts, final, middle, leads)
        return self._outlook(made, parts, mean[:, :horizon], quantiles[..., :horizon])

    def ask(self, question: Question, parts: Parts, horizon: int, prior: Tensor, finish: Finish) -> Outlook:
        """Forecast from the rows as they stand."""
        config = self._config
        last = question.second_of_week - question.elapsed_s
        at = clock(question.second_of_week, question.cadence_s, config.day_cells, config.week_cells)
        gap = (question.elapsed_s / question.cadence_s).clamp(max=MOST_TICKS)[:, None]
        scale = scaling.scale(parts["step_sizes"], parts["count"], parts["anchor"], parts["level"])
        origin = Origin(at, last, scale, gap)
        said = forecast(parts, origin, horizon, prior, config)
        made = self._made(parts, origin, said, torch.full_like(question.elapsed_s, torch.nan))
        final, leads = finish(made), leads_of(gap, said.mix.shape[1], said.mix.device)
        mean, quantiles = spread(parts, final, choose(parts, final, leads), leads)
        return self._outlook(made, parts, mean[:, :horizon], quantiles[..., :horizon])

    def _made(self, parts: Parts, origin: Origin, said: Forecast, ticks: Tensor) -> Made:
        seen = features(parts, origin, said) if self._has_network else torch.empty(len(said.mix), 0)
        newest = scaling.join_anchor(parts["anchor"]) + parts["ring"][:, 0]
        series = parts["series"].long() if "series" in parts else torch.zeros_like(newest, dtype=torch.int64)
        rows = torch.arange(len(newest), device=newest.device)
        return Made(said.mix, said.error, said.scale, parts["count"].clone(), newest, series, rows, ticks, seen)

    def _outlook(self, made: Made, parts: Parts, mean: Tensor, quantiles: Tensor) -> Outlook:
        drift = torch.stack([parts["drift"][:, 0], ticks_since_break(parts)], dim=1)
        return outlook(self._config, made.scale, made.count, drift, mean, quantiles)
