"""The elinformer by compiled loops, for rows in host memory: whole runs of readings at once.

I know nothing of who owns the slab. The same equations as `on_torch`; see `kernel`.
"""

import logging
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core.compiling import are_kept
from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.crew import Crew
from recurrent_core.models.elinformer.features import NUM_FEATURES
from recurrent_core.models.elinformer.fold import MOST_TICKS
from recurrent_core.models.elinformer.hearing import Hearing
from recurrent_core.models.elinformer.kernel import doors
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


class _Batch:
    """Readings, the rows they go to, and what becomes of them; lives for one call."""

    def __init__(
        self, columns: Float64s, slots: Int64s, slab: Tensor, prior: Tensor, finish: Finish, horizon: int
    ) -> None:
        """Begin without answers; columns: [4, n], slots: [n]."""
        self.columns, self.slots, self.slab, self.prior = columns, slots, slab, prior
        self.finish, self.horizon = finish, horizon
        num = len(slots)
        self.answers = tuple(np.empty((num, *shape)) for shape in ((), (), (2,), (horizon,), (3, horizon)))
        """Scale, count, drift, mean and quantiles of each reading."""


class OnCpu:
    """Folds and forecasts by compiled loops; keeps nothing but the config, and threads where it has several."""

    def __init__(self, config: ElinformerConfig, layout: StateLayout, has_network: bool) -> None:
        self._config = config
        self._has_network = has_network
        self._places = places_of(layout, config)
        self._rates = rates_of(config)
        self._told = layout.slices.get("told", slice(0))
        self._crew = Crew()

    def prepare(self, fresh: Tensor, threads: int) -> None:
        """Have the loops compiled; fresh is the row of a new slot, which is used up.

        The first time on a machine it takes some twenty seconds; then the machine code is read from disk.
        """
        self._crew = Crew(threads)
        one = torch.ones(1, dtype=torch.float64)
        prior = torch.ones(len(READOUTS))
        if not are_kept("doors"):
            logger.info("compiling the model's loops for this machine, once: some 20 s")
        self.advance(Arrival(one, 0.0 * one, one, one), np.zeros(1, np.int64), fresh, 1, prior, finish_plain)

    def advance(
        self,
        arrival: Arrival,
        slots: Int64s,
        slab: Tensor,
        horizon: int,
        prior: Tensor,
        finish: Finish,
        hearing: Hearing | None = None,
    ) -> Outlook:
        """Fold readings into the rows at slots, in place, in order, and forecast after each.

        Args:
            arrival: [n] columns; those of one slot in order of time; a value of NaN is a question.
            slots: [n] row of each reading.
            hearing: of these readings, where series hear each other.
        """
        batch = _Batch(_columns(arrival), slots, slab, prior, finish, horizon)
        if hearing is None:
            self._crew.map(
                lambda part: self._carry(batch, part), self._crew.cut(np.argsort(slots, kind="stable"), slots)
            )
        else:
            self._carry_in_order(batch, hearing)
        return outlook(self._config, *map(torch.from_numpy, batch.answers))

    def _carry(self, batch: "_Batch", part: Int64s) -> None:
        """Carry readings through, a piece at a time."""
        for start in range(0, len(part), PIECE):
            piece = part[start : start + PIECE]
            self._settle(batch, piece, *self._fold(batch, piece))

    def _carry_in_order(self, batch: "_Batch", hearing: Hearing) -> None:
        """Carry readings through in the order in which they hear each other."""
        table = batch.slab.numpy()[:, self._told]
        for piece in hearing.pieces(PIECE * self._crew.threads):
            parts = self._crew.cut(piece[np.argsort(batch.slots[piece], kind="stable")], batch.slots)
            folded = self._crew.map(lambda part: self._fold(batch, part), parts)
            said = self._crew.map(lambda each: hearing.said(each[0]), folded)
            made = [made for made, _ in folded]
            heard = hearing.heard(table, batch.slots, list(zip(parts, made, said, strict=True)), batch.columns[0])
            whole = [(replace(one, heard=of), seen) for (one, seen), of in zip(folded, heard, strict=True)]
            self._crew.map(lambda each: self._settle(batch, each[0], *each[1]), list(zip(parts, whole, strict=True)))

    def _fold(self, batch: "_Batch", part: Int64s) -> tuple[Made, Float64s]:
        """What the mix makes of some readings, and what the rows showed at each."""
        slots, num = batch.slots[part], len(part)
        num_leads = max(batch.horizon, NUM_LEADS)
        mix, error, seen = np.empty((num, num_leads)), np.empty((num, num_leads)), np.empty((num, doors.NUM_SEEN))
        features = np.empty((num, NUM_FEATURES if self._has_network else 0), np.float32)
        columns = np.take(batch.columns, part, axis=1)
        rows, prior = batch.slab.numpy(), batch.prior.double().numpy()
        doors.advance(rows, slots, columns, self._places, self._rates, prior, mix, error, seen, features)
        scale, count, newest, series = seen[:, 0], seen[:, 2], seen[:, 6], seen[:, 7].astype(np.int64)
        value, elapsed_s, cadence_s = columns[:3]
        ticks = np.where(np.isnan(value), np.nan, np.minimum(elapsed_s / cadence_s, MOST_TICKS))
        made = (mix, error, scale, count, newest, series, slots, ticks, features)
        return Made(*(torch.from_numpy(array) for array in made)), seen

    def _settle(self, batch: "_Batch", part: Int64s, made: Made, seen: Float64s) -> None:
        """Finish some readings' forecasts, settle them in the rows, and keep the answers."""
        num, horizon = len(part), batch.horizon
        mean, quantiles = np.empty((num, horizon)), np.empty((num, 3, horizon))
        sides, values = _sides(batch.finish(made)), batch.columns[0, part]
        doors.settle(batch.slab.numpy(), batch.slots[part], values, self._places, seen, *sides, mean, quantiles)
        columns = (seen[:, 0], seen[:, 2], seen[:, 4:6], mean, quantiles)
        for answers, column in zip(batch.answers, columns, strict=True):
            answers[part] = column

    def observe(self, arrival: Arrival, slots: Int64s, slab: Tensor, prior: Tensor) -> Made:
        """Fold readings as `advance` does; what a network is shown at each."""
        order = np.argsort(slots, kind="stable")
        batch = _Batch(_columns(arrival), slots, slab, prior, finish_plain, 1)
        made, seen = self._fold(batch, order)
        self._settle(batch, order, made, seen)
        return made[torch.from_numpy(np.argsort(order))]

    def ask(self, question: Question, state: Tensor, horizon: int, prior: Tensor, finish: Finish) -> Outlook:
        """Forecast from the rows as they stand."""
        nothing = torch.full_like(question.elapsed_s, torch.nan)
        arrival = Arrival(nothing, question.elapsed_s, question.cadence_s, question.second_of_week)
        return self.advance(arrival, np.arange(len(state)), state, horizon, prior, finish)


def _columns(arrival: Arrival) -> Float64s:
    columns = (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
    return np.stack([column.numpy() for column in columns])


def _sides(final: Final) -> tuple[Float64s, ...]:
    return tuple(side.double().numpy() for side in (final.candidates, final.lean, final.lower, final.upper))
