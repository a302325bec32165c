"""Statsforecast's AutoETS and AutoTheta: fitted to a window of the past, refitted once a season.

I know nothing of other peers. The one file that names statsforecast. Between two fits the fitted model is carried
forward over the newest window, so every forecast has seen every reading up to its origin, and none after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from statsforecast.models import AutoETS, AutoTheta

from stream_engine.backtest.peers.peer import Peer, Season
from stream_engine.records import Float64s

_SEASONS_SEEN = 4
_LEAST_WINDOW = 336
_LEAST_READINGS = 16
_LEAST_REFIT = 24
_FAULTS = (ValueError, ArithmeticError, IndexError, RuntimeError, np.linalg.LinAlgError)


@dataclass(frozen=True, slots=True)
class Habit:
    """How a model is fitted.

    Attributes:
        name: its class.
        season: steps of a season; 1 for none.
        window: steps of the past it is fitted to.
        refit: steps from fit to fit.
    """

    name: str
    season: int
    window: int
    refit: int

    @classmethod
    def of(cls, name: str, season: Season) -> "Habit":
        """AutoETS takes seasons of up to 24 steps, AutoTheta of any; ones above 512 would take minutes a fit."""
        steps = season.at_most(24 if name == AutoETS.__name__ else 512)
        refit = season.num_steps if season.num_steps > 1 else _LEAST_REFIT
        return cls(name, steps, max(_SEASONS_SEEN * steps, _LEAST_WINDOW), refit)

    def __str__(self) -> str:
        season = f"season of {self.season} steps" if self.season > 1 else "no season"
        return f"statsforecast {self.name}, {season}, fitted to the last {self.window} steps every {self.refit} steps"


class Refitted(Peer):
    """One sensor's model and the window it sees; ticks without a reading are interpolated between their neighbours."""

    def __init__(self, habit: Habit) -> None:
        self._habit = habit
        make: Callable[..., Any] = AutoETS if habit.name == AutoETS.__name__ else AutoTheta
        self._model = make(season_length=habit.season)
        self._fitted_at: int | None = None
        self._ticks = np.zeros(2 * habit.window, np.int64)
        self._values = np.zeros(2 * habit.window)
        self._num = 0

    def learn(self, tick: int, value: float) -> None:
        """Keep a reading."""
        if self._num == len(self._ticks):
            kept = self._habit.window
            self._ticks[:kept], self._values[:kept] = self._ticks[-kept:], self._values[-kept:]
            self._num = kept
        self._ticks[self._num], self._values[self._num] = tick, value
        self._num += 1

    def forecast(self, tick: int, num_steps: int) -> Float64s | None:
        """None before there are enough readings, after a silence as long as the window, or where no fit is found."""
        ticks, values = self._ticks[: self._num], self._values[: self._num]
        if self._num < _LEAST_READINGS or tick - ticks[-1] > self._habit.window:
            return None
        first = max(int(ticks[0]), int(ticks[-1]) - self._habit.window + 1)
        window = np.interp(np.arange(first, int(ticks[-1]) + 1), ticks, values)
        behind = tick - int(ticks[-1])
        if np.ptp(window) == 0:
            return np.full(num_steps, window[-1])
        try:
            found = self._predicted(window, tick, behind + num_steps)
        except _FAULTS:
            self._fitted_at = None
            return None
        return found[behind:] if np.isfinite(found).all() else None

    def _predicted(self, window: Float64s, tick: int, num_steps: int) -> Float64s:
        if self._fitted_at is None or tick - self._fitted_at >= self._habit.refit:
            self._model.fit(window)
            self._fitted_at = tick
            return np.asarray(self._model.predict(h=num_steps)["mean"], np.float64)
        return np.asarray(self._model.forward(window, h=num_steps)["mean"], np.float64)
