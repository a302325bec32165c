"""Everything that is counted while a backtest goes on, and the part of scores.json it makes.

I know nothing of files, tables or pages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_engine.backtest.baselines import SEASONAL
from stream_engine.backtest.breakdown import Breakdown
from stream_engine.backtest.comparison import Comparisons
from stream_engine.backtest.scores import Judged, Scoreboard


@dataclass(frozen=True, slots=True)
class Contenders:
    """Who is scored beside the model.

    Attributes:
        names: of the baselines.
        settings: name -> a sentence, of those that have settings.
        num_sensors: name -> sensors it forecasts, of those that forecast only some.
    """

    names: Sequence[str]
    settings: Mapping[str, str]
    num_sensors: Mapping[str, int]


class Outcome:
    """Scores, comparisons and breakdown of one backtest."""

    def __init__(self, horizon: int, contenders: Contenders, step_ns: int, breakdown: Breakdown) -> None:
        self._contenders = contenders
        self._board = Scoreboard(horizon, contenders.names, SEASONAL)
        self._comparisons = Comparisons(horizon, contenders.names, step_ns)
        self.breakdown = breakdown

    @property
    def num_cells(self) -> int:
        """Cells scored so far."""
        return int(self._board.pooled["count"] or 0)

    def add(self, judged: Judged) -> None:
        """Count more forecasts."""
        self._board.add(judged)
        self._comparisons.add(judged)
        self.breakdown.add(judged)

    def result(self) -> dict[str, object]:
        """`horizons`, `mean`, `hours`, `calibration` and `baselines` of scores.json."""
        scores = self._board.result()
        compared = self._comparisons.result()
        baselines: dict[str, object] = {}
        for name, own in self._board.baselines.items():
            more: dict[str, object] = {**own, **compared[name]}
            if name in self._contenders.settings:
                more["settings"] = self._contenders.settings[name]
            if name in self._contenders.num_sensors:
                more["num_sensors"] = self._contenders.num_sensors[name]
            baselines[name] = more
        return {**scores, **self.breakdown.result(), "baselines": baselines}
