"""What the page is made of, and which of it is shown: `Found`.

I know nothing of HTML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from stream_engine.backtest.baselines import PERSISTENCE, SEASONAL
from stream_engine.backtest.breakdown import Breakdown, ratio
from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.records import Float64s, Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """One backtest's results.

    Attributes:
        document: what scores.json holds.
        breakdown: by hour, time, sensor and quantile.
        history: what was replayed.
        timezone: in which times are told.
    """

    document: Mapping[str, Any]
    breakdown: Breakdown
    history: GridHistory | ArrivalHistory
    timezone: ZoneInfo

    @property
    def horizon(self) -> int:
        """Greatest lead."""
        return len(self.document["horizons"])

    @property
    def baselines(self) -> tuple[str, ...]:
        """Names of the baselines that are scored."""
        return tuple(self.document["baselines"])

    def is_partial(self, name: str) -> bool:
        """Whether a baseline forecasts so much fewer cells than the model that their MAE cannot be held together."""
        return bool(self.document["baselines"][name]["mean"]["count"] < 0.98 * self.document["mean"]["count"])

    @property
    def whole(self) -> tuple[str, ...]:
        """The baselines that forecast (nearly) all cells of the model."""
        return tuple(name for name in self.baselines if not self.is_partial(name))

    def strongest(self, names: Sequence[str]) -> str | None:
        """Of these baselines the one that comes nearest to the model, or beats it by most, on common cells."""
        ratios = {name: self.document["baselines"][name]["mae_ratio"]["mean"] for name in names}
        known = {name: value for name, value in ratios.items() if value is not None}
        return max(known, key=known.__getitem__) if known else None

    @property
    def has_reference(self) -> bool:
        """Whether any sensor can be measured by the seasonal naive forecast."""
        return bool(np.isfinite(self.breakdown.sensors.ratio_to(SEASONAL)).any())

    @property
    def yardstick(self) -> Float64s:
        """What sensors are ranked by, [N], low is good, free of scale; NaN for sensors without a cell.

        The MAE over the seasonal naive's, or over the mean size of the truths where that has no forecast for anyone.
        """
        sensors = self.breakdown.sensors
        if self.has_reference:
            return sensors.ratio_to(SEASONAL)
        return ratio(sensors.model["absolute"], sensors.model["truth"])

    def ranked(self) -> Int64s:
        """Numbers of the sensors with a yardstick, best first."""
        order = np.argsort(self.yardstick, kind="stable")
        return order[: int(np.isfinite(self.yardstick).sum())]

    def unranked(self) -> Int64s:
        """Numbers of the sensors that have cells, yet no yardstick."""
        return np.flatnonzero(~np.isfinite(self.yardstick) & (self.breakdown.sensors.model["count"] > 0))

    def portrayed(self) -> tuple[tuple[str, int], ...]:
        """(place, sensor) of those whose forecasts are drawn: a good, a middling and the worst one, fewer of few."""
        ranked = self.ranked()
        num = len(ranked)
        if num == 0:
            return ()
        places = {num - 1: "worst"}
        places.setdefault((num - 1) // 2, "median")
        places.setdefault(round(0.1 * (num - 1)), "good")
        if num == 1:
            places = {0: "only"}
        return tuple((places[place], int(ranked[place])) for place in sorted(places))

    def per_sensor_ratio(self, name: str) -> Float64s | None:
        """The model's MAE over a baseline's, [N]; None where the baseline was not followed."""
        sensors = self.breakdown.sensors
        return sensors.ratio_to(name) if name in sensors.baselines else None

    @property
    def measured_by(self) -> tuple[str, ...]:
        """Baselines that each sensor is held against."""
        return tuple(name for name in (SEASONAL, PERSISTENCE) if self.per_sensor_ratio(name) is not None)
