"""Sums of errors per lead, and the scores they give.

I know nothing of sensors or times: arrays of truths and forecasts in, numbers out. A cell is one lead of one forecast;
it counts if its truth is a reading and there is a forecast.

    mae, mape (%), smape (0-200 %), mase    judge the median    |y - m|, |y - m| / |y|, 200 |y - m| / (|y| + |m|)
    rmse                                    judges the mean
    wql                                     judges the three quantiles: mean over levels q of 2 Σ pinball_q / Σ |y|
    coverage_80, width_80                   share of truths in [q 0.1, q 0.9], and its mean width

MASE is the MAE over the reference's MAE on the cells where both have a forecast; MAPE leaves truths of 0 out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream_engine.records import QUANTILE_LEVELS, Bools, Float64s

SCORES = ("mae", "rmse", "mape", "smape", "mase", "wql", "coverage_80", "width_80")

_SUMS = ("count", "absolute", "square", "percent", "num_nonzero", "symmetric", "pinball", "truth", "inside", "width")
_PAIRED = ("scaled", "reference")

Score = dict[str, float | int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Forecasts beside what came true; NaN is "none" in all of them.

    Attributes:
        series: [n] number of each forecast's sensor.
        origins_ns: [n].
        targets_ns: [n, horizon] event time of each truth.
        truths: [n, horizon].
        mean: [n, horizon].
        quantiles: [n, len(QUANTILE_LEVELS), horizon].
        baselines: name -> [n, horizon].
    """

    series: np.ndarray
    origins_ns: np.ndarray
    targets_ns: np.ndarray
    truths: Float64s
    mean: Float64s
    quantiles: Float64s
    baselines: Mapping[str, Float64s]

    @property
    def median(self) -> Float64s:
        """[n, horizon]."""
        return self.quantiles[:, QUANTILE_LEVELS.index(0.5)]


class Tally:
    """Running sums of one forecaster's errors, [horizon] each; its memory does not grow."""

    def __init__(self, horizon: int) -> None:
        self._sums = {name: np.zeros(horizon) for name in (*_SUMS, *_PAIRED)}

    def add(self, truths: Float64s, mean: Float64s, quantiles: Float64s, reference: Float64s | None) -> None:
        """Count more cells.

        Args:
            truths, mean: [n, horizon], NaN where there is none.
            quantiles: [n, len(QUANTILE_LEVELS), horizon].
            reference: [n, horizon] the reference's forecasts, for MASE.
        """
        median = quantiles[:, QUANTILE_LEVELS.index(0.5)]
        counts = np.isfinite(truths) & np.isfinite(median) & np.isfinite(mean)
        error = np.abs(truths - median)
        size = np.abs(truths)
        total = size + np.abs(median)
        low, high = quantiles[:, 0], quantiles[:, -1]
        is_nonzero = counts & (size > 0)
        self._add("count", np.ones_like(error), counts)
        self._add("absolute", error, counts)
        self._add("square", (truths - mean) ** 2, counts)
        self._add("percent", error / np.where(is_nonzero, size, 1.0), is_nonzero)
        self._add("num_nonzero", np.ones_like(error), is_nonzero)
        self._add("symmetric", error / np.where(total > 0, total, 1.0), counts)
        self._add("pinball", _pinball(truths, quantiles), counts)
        self._add("truth", size, counts)
        self._add("inside", ((low <= truths) & (truths <= high)).astype(np.float64), counts)
        self._add("width", high - low, counts)
        if reference is not None:
            both = counts & np.isfinite(reference)
            self._add("scaled", error, both)
            self._add("reference", np.abs(truths - reference), both)

    def per_lead(self) -> dict[str, Score]:
        """Scores of each lead, by its number from "1" on."""
        horizon = len(self._sums["count"])
        return {str(h + 1): _score({name: float(sums[h]) for name, sums in self._sums.items()}) for h in range(horizon)}

    def pooled(self) -> Score:
        """Scores over the cells of all leads."""
        return _score({name: float(sums.sum()) for name, sums in self._sums.items()})

    def _add(self, name: str, what: Float64s, where: Bools) -> None:
        self._sums[name] += np.sum(what, axis=0, where=where)


class Scoreboard:
    """A model's tally and its baselines', over the same cells."""

    def __init__(self, horizon: int, baselines: Sequence[str], reference: str) -> None:
        self._model = Tally(horizon)
        self._baselines = {name: Tally(horizon) for name in baselines}
        self._reference = reference

    def add(self, judged: Judged) -> None:
        """Count more forecasts; those of baselines without a tally serve as the reference only."""
        reference = judged.baselines.get(self._reference)
        self._model.add(judged.truths, judged.mean, judged.quantiles, reference)
        for name, tally in self._baselines.items():
            point = judged.baselines[name]
            quantiles = np.broadcast_to(point[:, None], judged.quantiles.shape)
            tally.add(judged.truths, point, quantiles, reference)

    @property
    def pooled(self) -> Score:
        """The model's scores over all leads so far."""
        return self._model.pooled()

    @property
    def baselines_pooled(self) -> dict[str, Score]:
        """Each baseline's scores over all leads so far."""
        return {name: tally.pooled() for name, tally in self._baselines.items()}

    @property
    def baselines(self) -> dict[str, dict[str, object]]:
        """Each baseline's `horizons` and `mean`."""
        return {name: {"horizons": tally.per_lead(), "mean": tally.pooled()} for name, tally in self._baselines.items()}

    def result(self) -> dict[str, object]:
        """`horizons`, `mean` and `baselines` of scores.json."""
        return {"horizons": self._model.per_lead(), "mean": self._model.pooled(), "baselines": self.baselines}


def _pinball(truths: Float64s, quantiles: Float64s) -> Float64s:
    """Mean over the levels of twice the pinball loss, [n, horizon]."""
    total = np.zeros_like(truths)
    for number, level in enumerate(QUANTILE_LEVELS):
        miss = truths - quantiles[:, number]
        total += np.maximum(level * miss, (level - 1.0) * miss)
    return total * (2.0 / len(QUANTILE_LEVELS))


def _score(sums: Mapping[str, float]) -> Score:
    count = sums["count"]
    return {
        "mae": _ratio(sums["absolute"], count),
        "rmse": None if count == 0 else float(np.sqrt(sums["square"] / count)),
        "mape": _ratio(100.0 * sums["percent"], sums["num_nonzero"]),
        "smape": _ratio(200.0 * sums["symmetric"], count),
        "mase": _ratio(sums["scaled"], sums["reference"]),
        "wql": _ratio(sums["pinball"], sums["truth"]),
        "coverage_80": _ratio(sums["inside"], count),
        "width_80": _ratio(sums["width"], count),
        "count": int(count),
    }


def _ratio(above: float, below: float) -> float | None:
    """None where there is nothing to divide by."""
    return above / below if below > 0 else None
