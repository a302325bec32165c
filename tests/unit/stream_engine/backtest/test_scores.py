"""Scores equal their formulas, however the cells are cut into blocks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_engine.backtest.scores import Judged, Scoreboard, Tally

Array = NDArray[np.float64]
LEVELS = np.array([0.1, 0.5, 0.9])[:, None]


def cells(num: int = 200, horizon: int = 3) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(3)
    truths = rng.normal(5, 3, (num, horizon)).round(1)
    truths[rng.random(truths.shape) < 0.2] = np.nan
    truths[rng.random(truths.shape) < 0.1] = 0.0
    quantiles = np.sort(rng.normal(5, 3, (num, 3, horizon)), axis=1)
    mean = rng.normal(5, 3, (num, horizon))
    reference = rng.normal(5, 3, (num, horizon))
    reference[rng.random(truths.shape) < 0.2] = np.nan
    quantiles[0], mean[0] = np.nan, np.nan
    return truths, mean, quantiles, reference


def by_formula(y: Array, mean: Array, q: Array, reference: Array) -> dict[str, float]:
    """Scores of cells in one row: y, mean, reference [n], q [3, n]."""
    kept = np.isfinite(y) & np.isfinite(q[1])
    y, mean, q, reference = y[kept], mean[kept], q[:, kept], reference[kept]
    error = np.abs(y - q[1])
    nonzero, both = y != 0, np.isfinite(reference)
    pinball = np.maximum(LEVELS * (y - q), (LEVELS - 1) * (y - q))
    return {
        "mae": error.mean(),
        "rmse": np.sqrt(((y - mean) ** 2).mean()),
        "mape": 100 * (error[nonzero] / np.abs(y[nonzero])).mean(),
        "smape": 200 * (error / (np.abs(y) + np.abs(q[1]))).mean(),
        "mase": error[both].mean() / np.abs(y - reference)[both].mean(),
        "wql": (2 * pinball.sum(axis=1) / np.abs(y).sum()).mean(),
        "coverage_80": ((q[0] <= y) & (y <= q[2])).mean(),
        "width_80": (q[2] - q[0]).mean(),
        "count": len(y),
    }


def test_every_score_equals_its_formula() -> None:
    truths, mean, quantiles, reference = cells()
    tally = Tally(3)
    for cut in np.array_split(np.arange(len(truths)), 7):
        tally.add(truths[cut], mean[cut], quantiles[cut], reference[cut])
    for lead in range(3):
        expected = by_formula(truths[:, lead], mean[:, lead], quantiles[:, :, lead].T, reference[:, lead])
        assert tally.per_lead()[str(lead + 1)] == pytest.approx(expected)
    flat = quantiles.transpose(1, 0, 2).reshape(3, -1)
    expected = by_formula(truths.reshape(-1), mean.reshape(-1), flat, reference.reshape(-1))
    assert tally.pooled() == pytest.approx(expected)


def test_a_perfect_forecast_scores_nothing() -> None:
    truths = cells()[0]
    tally = Tally(3)
    tally.add(truths, truths, np.repeat(truths[:, None], 3, axis=1), np.ones_like(truths))
    pooled = tally.pooled()
    assert pooled["count"] == np.isfinite(truths).sum()
    assert all(pooled[name] == 0.0 for name in ("mae", "rmse", "mape", "smape", "mase", "wql", "width_80"))
    assert pooled["coverage_80"] == 1.0


def test_no_cells_give_no_scores() -> None:
    assert Tally(1).per_lead() == {
        "1": dict.fromkeys(("mae", "rmse", "mape", "smape", "mase", "wql", "coverage_80", "width_80")) | {"count": 0}
    }


def test_baselines_are_scored_beside_the_model() -> None:
    truths, mean, quantiles, reference = cells()
    judged = Judged(np.zeros(200), np.zeros(200), np.zeros_like(truths), truths, mean, quantiles, {"naive": reference})
    board = Scoreboard(3, ["naive"], "naive")
    board.add(judged)
    naive = board.result()["baselines"]["naive"]["mean"]
    assert naive["mase"] == pytest.approx(1.0)
    assert naive["count"] == (np.isfinite(truths) & np.isfinite(reference)).sum()
    assert board.result()["mean"] == board.pooled
    silent = Scoreboard(3, [], "naive")
    silent.add(judged)
    assert silent.pooled["mase"] == board.pooled["mase"]
    assert silent.result()["baselines"] == {}
