"""The elinformer by compiled loops, for rows in host memory: whole runs of readings at once.

I know nothing of who owns the slab. The same equations as `on_torch`; see `kernel`.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.features import NUM_FEATURES
from recurrent_core.models.elinformer.kernel import doors
from recurrent_core.models.elinformer.kernel.compiling import are_kept
from recurrent_core.models.elinformer.kernel.places import places_of, rates_of
from recurrent_core.models.elinformer.layout import NUM_LEADS, READOUTS
from recurrent_core.models.elinformer.made import Final, Finish, Made, finish_plain, outlook
from recurrent_core.models.interface import Arrival, Outlook, Question
from recurrent_core.state import StateLayout

Float64s = NDArray[np.float64]

logger = logging.getLogger(__name__)


class OnCpu:
    """Folds and forecasts by compiled loops; keeps nothing but the config."""

    def __init__(self, config: ElinformerConfig, layout: StateLayout, has_network: bool) -> None:
        self._config = config
        self._has_network = has_network
        self._places = places_of(layout, config)
        self._rates = rates_of(config)

    def prepare(self, fresh: Tensor) -> None:
        """Have the loops compiled; fresh is the row of a new slot, which is used up.

        The first time on a machine it takes some twenty seconds; then the machine code is read from disk.
        """
        one = torch.ones(1, dtype=torch.float64)
        prior = torch.ones(len(READOUTS))
        if not are_kept():
            logger.info("compiling the model's loops for this machine, once: some 20 s")
        self.advance(Arrival(one, 0.0 * one, one, one), np.zeros(1, np.int64), fresh, 1, prior, finish_plain)

    def advance(
        self, arrival: Arrival, slots: NDArray[np.int64], slab: Tensor, horizon: int, prior: Tensor, finish: Finish
    ) -> Outlook:
        """Fold readings into the rows at slots, in place, in order, and forecast after each.

        Args:
            arrival: [n] columns; those of one slot in order of time; a value of NaN is a question.
            slots: [n] row of each reading.
        """
        rows = slab.numpy()
        num, num_leads = len(slots), max(horizon, NUM_LEADS)
        order = np.argsort(slots, kind="stable")
        columns = np.stack(
            [column.numpy() for column in (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)]
        )
        mix, error, seen = np.empty((num, num_leads)), np.empty((num, num_leads)), np.empty((num, 4))
        features = self._features(num)
        doors.advance(rows, order, slots, columns, self._places, self._rates, _prior(prior), mix, error, seen, features)
        made = _made(mix, error, seen, features)
        sides = _sides(finish(made))
        drift, mean, quantiles = np.empty((num, 2)), np.empty((num, horizon)), np.empty((num, 3, horizon))
        doors.settle(rows, order, slots, columns[0], self._places, seen, *sides, drift, mean, quantiles)
        return self._outlook(made, drift, mean, quantiles)

    def ask(self, question: Question, state: Tensor, horizon: int, prior: Tensor, finish: Finish) -> Outlook:
        """Forecast from the rows as they stand."""
        nothing = torch.full_like(question.elapsed_s, torch.nan)
        arrival = Arrival(nothing, question.elapsed_s, question.cadence_s, question.second_of_week)
        return self.advance(arrival, np.arange(len(state)), state, horizon, prior, finish)

    def _features(self, num: int) -> NDArray[np.float32]:
        return np.empty((num, NUM_FEATURES) if self._has_network else (0, 0), np.float32)

    def _outlook(self, made: Made, drift: Float64s, mean: Float64s, quantiles: Float64s) -> Outlook:
        drifts, means, levels = (torch.from_numpy(array) for array in (drift, mean, quantiles))
        return outlook(made, drifts, means, levels, self._config)


def _prior(prior: Tensor) -> Float64s:
    return prior.double().numpy()


def _made(mix: Float64s, error: Float64s, seen: Float64s, features: NDArray[np.float32]) -> Made:
    scale, count = torch.from_numpy(seen[:, 0]), torch.from_numpy(seen[:, 2])
    return Made(torch.from_numpy(mix), torch.from_numpy(error), scale, count, torch.from_numpy(features))


def _sides(final: Final) -> tuple[Float64s, ...]:
    return tuple(side.double().numpy() for side in (final.candidates, final.lean, final.lower, final.upper))
