"""Where the errors lie: by local hour, along time, by sensor, and how well the quantiles keep their word at each lead.

I know nothing of files or pages. Arrays of a fixed size are summed up; memory grows with the sensors alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from stream_engine.backtest.scores import Judged
from stream_engine.localtime import second_of_week
from stream_engine.records import QUANTILE_LEVELS, Bools, Float64s, Int64s

HOURS = 24
MOST_SPELLS = 120

_SPELLS_S = (60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_419_200)
_DAY_NS, _NS_PER_S = 86_400_000_000_000, 1_000_000_000

_COUNTED = ("count", "inside", "absolute", "truth")


@dataclass(frozen=True, slots=True)
class Spells:
    """A stretch of time cut into equal spells: days or weeks where it is long, so that hours do not show as waves.

    Attributes:
        first_ns: where it begins. width_ns: length of a spell. num: how many there are.
    """

    first_ns: int
    width_ns: int
    num: int

    @classmethod
    def of(cls, first_ns: int, last_ns: int) -> "Spells":
        """At most MOST_SPELLS that cover both times."""
        span_ns = max(1, last_ns - first_ns + 1)
        least_ns = _DAY_NS if span_ns >= 10 * _DAY_NS else 1
        widths = (seconds * _NS_PER_S for seconds in _SPELLS_S)
        width_ns = next((w for w in widths if w >= least_ns and -(-span_ns // w) <= MOST_SPELLS), None)
        width_ns = width_ns or -(-span_ns // MOST_SPELLS)
        return cls(first_ns, width_ns, -(-span_ns // width_ns))

    def number(self, times_ns: Int64s) -> Int64s:
        """Which spell each time falls into; those outside into the nearest."""
        return np.clip((times_ns - self.first_ns) // self.width_ns, 0, self.num - 1)


class Sums:
    """Sums over cells by one property of theirs, for the model and for baselines on the cells both have.

    Attributes:
        model: "count", "inside" (the 80 % interval), "absolute" (error) and "truth" (size), [num] each.
        baselines: name -> (the model's absolute error, the baseline's, number of cells), [num] each, on common cells.
    """

    def __init__(self, num: int, baselines: Sequence[str]) -> None:
        self.model = {name: np.zeros(num) for name in _COUNTED}
        self.baselines = {name: np.zeros((3, num)) for name in baselines}
        self._num = num

    def add(self, index: Int64s, cells: "_Cells") -> None:
        """Count cells [n] whose property has the numbers index [n]."""
        for name in _COUNTED:
            self.model[name] += np.bincount(index, getattr(cells, name), self._num)
        for name, sums in self.baselines.items():
            error = cells.baselines[name]
            is_there = np.isfinite(error)
            chosen = index[is_there]
            sums[0] += np.bincount(chosen, cells.absolute[is_there], self._num)
            sums[1] += np.bincount(chosen, error[is_there], self._num)
            sums[2] += np.bincount(chosen, minlength=self._num)

    @property
    def mae(self) -> Float64s:
        """The model's MAE, [num]; NaN where there is no cell."""
        return ratio(self.model["absolute"], self.model["count"])

    @property
    def coverage(self) -> Float64s:
        """Share of truths within the 80 % interval, [num]; NaN where there is no cell."""
        return ratio(self.model["inside"], self.model["count"])

    def baseline_mae(self, name: str) -> Float64s:
        """A baseline's MAE where it has forecasts, [num]."""
        return ratio(self.baselines[name][1], self.baselines[name][2])

    def ratio_to(self, name: str) -> Float64s:
        """The model's MAE over the baseline's on common cells, [num]; NaN where there is none."""
        return ratio(self.baselines[name][0], self.baselines[name][1])


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The cells that count, [n] each; baselines' errors are NaN where they have no forecast."""

    count: Float64s
    inside: Float64s
    absolute: Float64s
    truth: Float64s
    baselines: dict[str, Float64s]


class Breakdown:
    """Running sums of one backtest.

    Attributes:
        hours: by local hour of the target time. spells: by target time. sensors: by sensor.
        below: [levels, horizon] truths below each quantile, half of those equal to it.
        counts: [horizon] cells.
        timespan: what the spells are.
    """

    def __init__(
        self, horizon: int, num_sensors: int, baselines: Sequence[str], timespan: Spells, timezone: ZoneInfo
    ) -> None:
        self._names = tuple(baselines)
        self._timezone = timezone
        self.timespan = timespan
        self.hours = Sums(HOURS, baselines)
        self.spells = Sums(timespan.num, baselines)
        self.sensors = Sums(num_sensors, baselines)
        self.below = np.zeros((len(QUANTILE_LEVELS), horizon))
        self.counts = np.zeros(horizon)
        self.first_origin_ns: int | None = None
        self.last_origin_ns = 0

    def add(self, judged: Judged) -> None:
        """Count more forecasts."""
        is_cell = np.isfinite(judged.truths) & np.isfinite(judged.median) & np.isfinite(judged.mean)
        if not is_cell.any():
            return
        origins_ns = judged.origins_ns[is_cell.any(axis=1)]
        first = int(origins_ns.min())
        self.first_origin_ns = first if self.first_origin_ns is None else min(first, self.first_origin_ns)
        self.last_origin_ns = max(self.last_origin_ns, int(origins_ns.max()))
        self._add_quantiles(judged, is_cell)
        cells = self._cells(judged, is_cell)
        times_ns = judged.targets_ns[is_cell]
        hours = (second_of_week(times_ns, self._timezone) // 3_600).astype(np.int64) % HOURS
        self.hours.add(hours, cells)
        self.spells.add(self.timespan.number(times_ns), cells)
        self.sensors.add(np.broadcast_to(judged.series[:, None], is_cell.shape)[is_cell].astype(np.int64), cells)

    def result(self) -> dict[str, object]:
        """`hours` and `calibration` of scores.json."""
        hours: dict[str, object] = {}
        for hour in np.flatnonzero(self.hours.model["count"]).tolist():
            hours[str(hour)] = {
                "mae": float(self.hours.mae[hour]),
                "coverage_80": float(self.hours.coverage[hour]),
                "count": int(self.hours.model["count"][hour]),
                "baselines_mae": {name: _number(self.hours.baseline_mae(name)[hour]) for name in self._names},
            }
        shares = ratio(self.below, self.counts)
        leads = range(self.below.shape[1])
        calibration = {
            str(h + 1): {str(level): _number(shares[n, h]) for n, level in enumerate(QUANTILE_LEVELS)} for h in leads
        }
        return {"hours": hours, "calibration": calibration}

    def _add_quantiles(self, judged: Judged, is_cell: Bools) -> None:
        self.counts += is_cell.sum(axis=0)
        for number in range(len(QUANTILE_LEVELS)):
            quantile = judged.quantiles[:, number]
            below = (judged.truths < quantile) + 0.5 * (judged.truths == quantile)
            self.below[number] += np.sum(below, axis=0, where=is_cell)

    def _cells(self, judged: Judged, is_cell: Bools) -> _Cells:
        truths = judged.truths[is_cell]
        low, high = judged.quantiles[:, 0][is_cell], judged.quantiles[:, -1][is_cell]
        return _Cells(
            count=np.ones_like(truths),
            inside=((low <= truths) & (truths <= high)).astype(np.float64),
            absolute=np.abs(truths - judged.median[is_cell]),
            truth=np.abs(truths),
            baselines={name: np.abs(truths - judged.baselines[name][is_cell]) for name in self._names},
        )


def ratio(above: Float64s, below: Float64s) -> Float64s:
    """above / below, NaN where below is 0; of the shape both broadcast to."""
    above, below = np.broadcast_arrays(above, below)
    found: Float64s = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
