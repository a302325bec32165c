"""What every streaming model offers the engine: `init_state`, `step`, `advance`, `sequence`, `ask`.

I know nothing of sensors' names, bytes or clocks. A model is a value without memory: all that it
remembers is in the state, one row of float32 per slot, which goes into a step and comes out anew.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Runs:
    """Which rows of a slab a batch of readings goes to; a slot's readings, its *run*, stand in order of time.

    Attributes:
        slots: [n] row of each reading.
        wave_ends: [waves] wave k is the readings [wave_ends[k-1], wave_ends[k]), all of different slots.
    """

    slots: NDArray[np.int64]
    wave_ends: NDArray[np.int64]

    @classmethod
    def of(cls, slots: NDArray[np.int64]) -> "tuple[NDArray[np.int64], Runs]":
        """The runs of readings that go to slots, [n], each slot's in order of time.

        Returns:
            the order, [n], in which the readings stand in the runs; the runs.
        """
        by_slot = np.argsort(slots, kind="stable")
        firsts = np.flatnonzero(np.diff(slots[by_slot], prepend=-1))
        wave = np.empty(len(slots), np.int64)
        wave[by_slot] = np.arange(len(slots)) - np.repeat(firsts, np.diff(firsts, append=len(slots)))
        order = np.argsort(wave, kind="stable")
        return order, cls(slots[order], np.cumsum(np.bincount(wave)))


@dataclass(frozen=True, slots=True)
class Arrival:
    """One reading for each slot of the batch.

    Attributes:
        value: [batch] float64, finite.
        elapsed_s: [batch] float64, seconds since the slot's last reading; 0 at its first. Below 0, for a model that
            refolds alone, it is a late reading's.
        cadence_s: [batch] float64, > 0, the slot's expected seconds from reading to reading.
        second_of_week: [batch] float64 in [0, 604800), local time of the reading; 0 is Monday 00:00.
    """

    value: Tensor
    elapsed_s: Tensor
    cadence_s: Tensor
    second_of_week: Tensor


@dataclass(frozen=True, slots=True)
class Groups:
    """Which readings of a batch hear of which, for models whose series attend to each other within a group.

    Attributes:
        state: [groups, group_floats] float64, each group's, changed by the model.
        of: [n] int64, the group of each reading.
        rank: [n] int64, readings are heard in this order; those of equal rank hear each other.
        time_s: [n] float64, event time of each reading, seconds.
    """

    state: NDArray[np.float64]
    of: NDArray[np.int64]
    rank: NDArray[np.int64]
    time_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Question:
    """A forecast asked of each slot at a moment when it has no reading.

    Attributes:
        elapsed_s: [batch] float64, seconds from the slot's last reading to the origin, > 0.
        cadence_s, second_of_week: as in Arrival, of the origin.
    """

    elapsed_s: Tensor
    cadence_s: Tensor
    second_of_week: Tensor


@dataclass(frozen=True, slots=True)
class Outlook:
    """Forecasts of one batch; lead h = 1 … horizon stands in column h - 1.

    Attributes:
        mean: [batch, horizon] float64, in the unit of the values.
        quantiles: [batch, 3, horizon] float64, levels 0.1, 0.5, 0.9, never crossing.
        scale: [batch] float64, the slot's running scale, > 0.
        is_warming_up: [batch] bool, too few readings yet for a forecast to rely on.
        is_drifting: [batch] bool, the slot's recent errors are out of its usual range.
    """

    mean: Tensor
    quantiles: Tensor
    scale: Tensor
    is_warming_up: Tensor
    is_drifting: Tensor


class StreamingModel(ABC):
    """A forecaster over many slots, whose whole memory is the state it is handed.

    Promises:
        1. `step` and `ask` leave their arguments unchanged; `advance` changes the state it is handed, and no more.
        2. A batch gives what its slots would give one by one (within float32 rounding).
        3. Everything returned is finite for finite inputs, from a slot's first reading on.
        4. `ask` changes nothing: asked or not, later forecasts are the same.
        5. A fresh slot is a row of `init_state`; rows beside it do not matter.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The artifact's name, such as `default`."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The artifact's version; forecasts carry `name@version`."""

    @property
    @abstractmethod
    def state_floats(self) -> int:
        """Floats of state per slot."""

    @property
    @abstractmethod
    def layout_id(self) -> str:
        """Changes whenever stored state of an older layout could not be read."""

    @property
    @abstractmethod
    def max_horizon(self) -> int:
        """The longest horizon that can be asked for."""

    @abstractmethod
    def init_state(self, num_slots: int) -> Tensor:
        """The state of num_slots fresh slots, [num_slots, state_floats] float32."""

    def number_of(self, name: str, channel: str) -> int:
        """The number of a series that the model has learnt weights for, 1 and up; 0 for any other."""
        return 0

    def inscribe(self, state: Tensor, numbers: NDArray[np.int64]) -> None:  # noqa: B027  most models know no series
        """Write into fresh rows, [n, state_floats], in place, which series they are of; numbers [n] of `number_of`."""

    def init_group(self) -> NDArray[np.float64]:
        """The state of a group that has heard nothing, [group_floats]; empty for a model without groups."""
        return np.empty(0)

    def renew(self, state: Tensor) -> None:
        """Make rows, [n, state_floats], fresh in place; of which series they are stays."""
        state.copy_(self.init_state(len(state)))

    def keep_told(self, state: Tensor, before: Tensor) -> None:  # noqa: B027  most have no groups
        """Let rows that were folded anew, in place, keep what their series have told their groups.

        Args:
            state, before: [n, state_floats], the rows, and as they were; a group's sums hold what these told it last.
        """

    def prepare(self, device: torch.device, threads: int = 1) -> None:  # noqa: B027  most have nothing to prepare
        """Do now what would make the first readings on this device slow, such as compiling.

        Args:
            threads: of the CPU, to share a batch's slots between; what comes out is the same but for rounding.
        """

    @abstractmethod
    def advance(self, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
        """Fold one reading into every row, in place, and forecast from it.

        For an owner of the slab, whose gathered rows are a copy already; everyone else takes `step`.

        Args:
            arrival: [batch] columns on the state's device.
            state: [batch, state_floats] float32; becomes the new state.
            horizon: leads wanted, 1 … max_horizon.
        """

    def step(self, arrival: Arrival, state: Tensor, horizon: int) -> tuple[Outlook, Tensor]:
        """Fold one reading into every slot and forecast from it; arguments as in `advance`.

        Returns:
            the forecasts, and the new state shaped like state, which is left unchanged.
        """
        new_state = state.clone()
        return self.advance(arrival, new_state, horizon), new_state

    def sequence(
        self, arrival: Arrival, runs: Runs, slab: Tensor, horizon: int, groups: Groups | None = None
    ) -> Outlook:
        """Fold runs of readings into the rows of a slab, in place, and forecast after each.

        A value of NaN is a question: the slot forecasts from its state as it stands, and elapsed_s, > 0, is the time
        since its last reading. The same as `advance` and `ask` wave by wave, which is what it does where a model has
        no faster way.

        Args:
            arrival: [n] columns on the slab's device; a question's slot has had a reading.
            runs: where they go.
            slab: [rows, state_floats] float32, changed.
            groups: who hears whom; None where nobody does, as in `advance` and `ask`. A model without groups, as one
                that has only this way, does not look at them.
        """
        is_question = arrival.value.isnan()
        order = torch.arange(len(is_question), device=slab.device)
        slots = torch.from_numpy(runs.slots).to(slab.device)
        outlooks, places, start = [], [], 0
        for end in runs.wave_ends.tolist():
            wave = order[start:end]
            for which in (wave[~is_question[wave]], wave[is_question[wave]]):
                if len(which):
                    outlooks.append(self._one_wave(arrival, which, slots[which], slab, horizon))
                    places.append(which)
            start = end
        return put_back(outlooks, places)

    def _one_wave(self, arrival: Arrival, which: Tensor, slots: Tensor, slab: Tensor, horizon: int) -> Outlook:
        """Readings, or questions, of different slots."""
        value, *when = (
            column[which] for column in (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
        )
        rows = slab[slots]
        if value[0].isnan():
            return self.ask(Question(*when), rows, horizon)
        outlook = self.advance(Arrival(value, *when), rows, horizon)
        slab[slots] = rows
        return outlook

    @abstractmethod
    def ask(self, question: Question, state: Tensor, horizon: int) -> Outlook:
        """Forecast from the state as it stands, leads counted from the question's origin."""

    @abstractmethod
    def describe(self, state: Tensor) -> dict[str, float]:
        """A few named numbers that sum up one slot's state ([state_floats]), for people."""


def put_back(outlooks: Sequence[Outlook], places: Sequence[Tensor]) -> Outlook:
    """Outlooks of parts of a batch as one; places: which readings of the batch each part's are."""
    back = torch.cat([*places]).argsort()
    columns = zip(*([getattr(outlook, field.name) for field in fields(outlook)] for outlook in outlooks), strict=True)
    return Outlook(*(torch.cat(column)[back] for column in columns))
