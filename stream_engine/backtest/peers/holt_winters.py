"""River's Holt-Winters, streamed: learn a reading, forecast the ones after it.

I know nothing of other peers. The one file that names River. It has no clock of its own, so a tick without a reading is
filled with what it forecast for it; then every season has as many steps as it should.
"""

from typing import Any

import numpy as np
import river.time_series

from stream_engine.backtest.peers.peer import Peer, Season
from stream_engine.records import Float64s

ALPHA, BETA, GAMMA = 0.5, 0.001, 0.1
_MOST_SEASONS_FILLED = 4


class StreamedHoltWinters(Peer):
    """Additive level, trend and season with fixed weights."""

    def __init__(self, season: Season) -> None:
        self._season = season.num_steps
        has_season = self._season > 1
        make: Any = river.time_series.HoltWinters
        self._model = make(ALPHA, BETA, GAMMA if has_season else None, self._season if has_season else 0)
        self._last: int | None = None
        self._latest = 0.0
        self._num_learned = 0

    def learn(self, tick: int, value: float) -> None:
        """Take in a reading; ticks left out before it are filled with forecasts."""
        if self._last is not None:
            for _ in range(self._passed(tick) - 1):
                self._learn(self._next(1)[0] if self._is_ready else self._latest)
        self._learn(value)
        self._last, self._latest = tick, value

    def forecast(self, tick: int, num_steps: int) -> Float64s | None:
        """None until a whole season has been learned."""
        if not self._is_ready or self._last is None:
            return None
        behind = self._passed(tick)
        return np.array(self._next(behind + num_steps)[behind:])

    @property
    def _is_ready(self) -> bool:
        return self._num_learned >= max(2, self._season)

    def _passed(self, tick: int) -> int:
        """Ticks since the last reading; of a very long gap only what keeps the place in the season."""
        passed = tick - (self._last or 0)
        return passed if passed <= _MOST_SEASONS_FILLED * self._season else 1 + (passed - 1) % self._season

    def _learn(self, value: float) -> None:
        self._model.learn_one(value)
        self._num_learned += 1

    def _next(self, num_steps: int) -> list[float]:
        return [float(value) for value in self._model.forecast(num_steps)]


def settings(season: Season) -> str:
    """What a reader of the scores should know."""
    wording = f"season of {season.num_steps} steps" if season.num_steps > 1 else "no season"
    return f"River HoltWinters, additive, {wording}, alpha {ALPHA}, beta {BETA}, gamma {GAMMA}; learns every reading"
