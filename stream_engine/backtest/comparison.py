"""The model beside each baseline on the cells where both have a forecast: ratio of their MAE, and whether it is chance.

I know nothing of models or files. Kept are one mean difference of losses per origin and lead, never per sensor: sensors
err together, so the origin, not the cell, is what the Diebold-Mariano test counts.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from stream_engine.backtest.diebold_mariano import diebold_mariano
from stream_engine.backtest.scores import Judged
from stream_engine.records import Float64s, Int64s

Summary = dict[str, object]


class Comparisons:
    """Running comparisons of the model with some baselines; memory grows with origins times leads, not with sensors."""

    def __init__(self, horizon: int, baselines: Sequence[str], step_ns: int) -> None:
        """Start with no forecasts.

        Args:
            step_ns: usual time from origin to origin; origins within half of it count as one.
        """
        self._step_ns = max(step_ns, 1)
        self._base_ns: int | None = None
        self._slots: dict[int, int] = {}
        self._pairs = {name: _Pair(horizon) for name in baselines}

    def add(self, judged: Judged) -> None:
        """Count more forecasts."""
        if not self._pairs or not len(judged.origins_ns):
            return
        slots = self._slots_of(judged.origins_ns)
        errors = np.abs(judged.truths - judged.median)
        for name, pair in self._pairs.items():
            pair.add(slots, len(self._slots), errors, np.abs(judged.truths - judged.baselines[name]))

    def result(self) -> Mapping[str, Summary]:
        """name -> `mae_ratio` and `diebold_mariano`, each with `horizons` and `mean`."""
        ticks = np.fromiter(self._slots, np.int64, len(self._slots))
        return {name: pair.result(ticks) for name, pair in self._pairs.items()}

    def _slots_of(self, origins_ns: Int64s) -> Int64s:
        if self._base_ns is None:
            self._base_ns = int(origins_ns[0])
        ticks = (origins_ns - self._base_ns + self._step_ns // 2) // self._step_ns
        distinct, index = np.unique(ticks, return_inverse=True)
        numbers = [self._slots.setdefault(tick, len(self._slots)) for tick in distinct.tolist()]
        return np.array(numbers, np.int64)[index]


class _Pair:
    """Model and one baseline: sums per lead, and per origin and lead."""

    def __init__(self, horizon: int) -> None:
        self._errors = np.zeros((2, horizon))
        self._differences = np.zeros((1024, horizon), np.float32)
        self._counts = np.zeros((1024, horizon), np.uint32)

    def add(self, slots: Int64s, num_slots: int, model: Float64s, baseline: Float64s) -> None:
        """Count cells [n, horizon] of the origins in these slots; NaN is no cell."""
        while num_slots > len(self._differences):
            self._differences = np.concatenate([self._differences, np.zeros_like(self._differences)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        both = np.isfinite(model) & np.isfinite(baseline)
        self._errors[0] += np.sum(model, axis=0, where=both)
        self._errors[1] += np.sum(baseline, axis=0, where=both)
        order = np.argsort(slots, kind="stable")
        starts = np.flatnonzero(np.diff(slots[order], prepend=-1))
        here = slots[order[starts]]
        differences = np.where(both, model - baseline, 0.0)
        self._differences[here] += np.add.reduceat(differences[order], starts, axis=0)
        self._counts[here] += np.add.reduceat(both[order].astype(np.uint32), starts, axis=0, dtype=np.uint32)

    def result(self, ticks: Int64s) -> Summary:
        """The summary; ticks [slots] number the origins in time."""
        order = np.argsort(ticks)
        sums = self._differences[order].astype(np.float64)
        counts = self._counts[order].astype(np.int64)
        horizon = sums.shape[1]
        tests = {str(h): _tested(ticks[order], sums[:, h - 1], counts[:, h - 1], h) for h in range(1, horizon + 1)}
        model, baseline = self._errors
        return {
            "mae_ratio": {
                "horizons": {str(h + 1): _ratio(model[h], baseline[h]) for h in range(horizon)},
                "mean": _ratio(model.sum(), baseline.sum()),
            },
            "diebold_mariano": {
                "horizons": tests,
                "mean": _tested(ticks[order], sums.sum(axis=1), counts.sum(axis=1), horizon),
            },
        }


def _tested(ticks: Int64s, sums: Float64s, counts: Int64s, lead: int) -> dict[str, float | int | None]:
    is_there = counts > 0
    return diebold_mariano(ticks[is_there], sums[is_there] / counts[is_there], lead).as_dict()


def _ratio(above: float, below: float) -> float | None:
    return float(above / below) if below > 0 else None
