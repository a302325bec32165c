"""The elinformer by compiled loops, for rows in host memory: whole runs of readings at once.

I know nothing of who owns the slab. The same equations as `on_torch`; see `kernel`.
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.crew import Crew
from recurrent_core.models.elinformer.features import NUM_FEATURES
from recurrent_core.models.elinformer.kernel import doors
from recurrent_core.models.elinformer.kernel.compiling import are_kept
from recurrent_core.models.elinformer.kernel.places import places_of, rates_of
from recurrent_core.models.elinformer.layout import NUM_LEADS, READOUTS
from recurrent_core.models.elinformer.made import Final, Finish, Made, finish_plain, outlook
from recurrent_core.models.interface import Arrival, Outlook, Question
from recurrent_core.state import StateLayout

Float64s = NDArray[np.float64]
Int64s = NDArray[np.int64]

PIECE = 2048
"""Readings carried through at a time: so many origins with their features stay in a core's own memory."""

logger = logging.getLogger(__name__)


class OnCpu:
    """Folds and forecasts by compiled loops; keeps nothing but the config, and threads where it has several."""

    def __init__(self, config: ElinformerConfig, layout: StateLayout, has_network: bool) -> None:
        self._config = config
        self._has_network = has_network
        self._places = places_of(layout, config)
        self._rates = rates_of(config)
        self._crew = Crew()

    def prepare(self, fresh: Tensor, threads: int) -> None:
        """Have the loops compiled; fresh is the row of a new slot, which is used up.

        The first time on a machine it takes some twenty seconds; then the machine code is read from disk.
        """
        self._crew = Crew(threads)
        one = torch.ones(1, dtype=torch.float64)
        prior = torch.ones(len(READOUTS))
        if not are_kept():
            logger.info("compiling the model's loops for this machine, once: some 20 s")
        self.advance(Arrival(one, 0.0 * one, one, one), np.zeros(1, np.int64), fresh, 1, prior, finish_plain)

    def advance(
        self, arrival: Arrival, slots: Int64s, slab: Tensor, horizon: int, prior: Tensor, finish: Finish
    ) -> Outlook:
        """Fold readings into the rows at slots, in place, in order, and forecast after each.

        Args:
            arrival: [n] columns; those of one slot in order of time; a value of NaN is a question.
            slots: [n] row of each reading.
        """
        num = len(slots)
        scale, count, drift = np.empty(num), np.empty(num), np.empty((num, 2))
        mean, quantiles = np.empty((num, horizon)), np.empty((num, 3, horizon))
        columns = _columns(arrival)

        def carry(part: Int64s) -> None:
            for start in range(0, len(part), PIECE):
                piece = part[start : start + PIECE]
                made, final = self._carry(np.take(columns, piece, axis=1), slots[piece], slab, horizon, prior, finish)
                scale[piece], count[piece] = made.scale, made.count
                drift[piece], mean[piece], quantiles[piece] = final

        self._crew.map(carry, self._crew.cut(np.argsort(slots, kind="stable"), slots))
        tensors = [torch.from_numpy(array) for array in (scale, count, drift, mean, quantiles)]
        return outlook(self._config, *tensors)

    def _carry(
        self, columns: Float64s, slots: Int64s, slab: Tensor, horizon: int, prior: Tensor, finish: Finish
    ) -> tuple[Made, tuple[Float64s, Float64s, Float64s]]:
        """What the mix makes of readings, [4, n], and the drift, mean and quantiles of what it is finished to."""
        rows, num = slab.numpy(), len(slots)
        num_leads = max(horizon, NUM_LEADS)
        mix, error, seen = np.empty((num, num_leads)), np.empty((num, num_leads)), np.empty((num, doors.NUM_SEEN))
        features = np.empty((num, NUM_FEATURES if self._has_network else 0), np.float32)
        doors.advance(rows, slots, columns, self._places, self._rates, _prior(prior), mix, error, seen, features)
        scale, count, newest, series = seen[:, 0], seen[:, 2], seen[:, 6], seen[:, 7].astype(np.int64)
        made = Made(*(torch.from_numpy(array) for array in (mix, error, scale, count, newest, series, features)))
        mean, quantiles = np.empty((num, horizon)), np.empty((num, 3, horizon))
        doors.settle(rows, slots, columns[0], self._places, seen, *_sides(finish(made)), mean, quantiles)
        return made, (seen[:, 4:6], mean, quantiles)

    def observe(self, arrival: Arrival, slots: Int64s, slab: Tensor, prior: Tensor) -> Made:
        """Fold readings as `advance` does; what a network is shown at each."""
        order = np.argsort(slots, kind="stable")
        made, _ = self._carry(np.take(_columns(arrival), order, axis=1), slots[order], slab, 1, prior, finish_plain)
        back = torch.from_numpy(np.argsort(order))
        return made[back]

    def ask(self, question: Question, state: Tensor, horizon: int, prior: Tensor, finish: Finish) -> Outlook:
        """Forecast from the rows as they stand."""
        nothing = torch.full_like(question.elapsed_s, torch.nan)
        arrival = Arrival(nothing, question.elapsed_s, question.cadence_s, question.second_of_week)
        return self.advance(arrival, np.arange(len(state)), state, horizon, prior, finish)


def _columns(arrival: Arrival) -> Float64s:
    columns = (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
    return np.stack([column.numpy() for column in columns])


def _prior(prior: Tensor) -> Float64s:
    return prior.double().numpy()


def _sides(final: Final) -> tuple[Float64s, ...]:
    return tuple(side.double().numpy() for side in (final.candidates, final.lean, final.lower, final.upper))
