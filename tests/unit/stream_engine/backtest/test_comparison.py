"""Comparisons count common cells only, and origins rather than sensors."""

from typing import Any

import numpy as np
import pytest

from stream_engine.backtest.comparison import Comparisons
from stream_engine.backtest.diebold_mariano import diebold_mariano
from stream_engine.backtest.scores import Judged

STEP_NS, HORIZON = 10**9, 3


def judged(num_origins: int, num_sensors: int, copies: int = 1, first: int = 0, has_holes: bool = True) -> Judged:
    """Sensors by origins, each sensor `copies` times; with holes one truth and one baseline's forecast are missing."""
    rng = np.random.default_rng(4 + first)
    shape = (num_origins, num_sensors, HORIZON)
    truths, median, naive = (np.repeat(rng.normal(size=shape), copies, axis=1).reshape(-1, HORIZON) for _ in range(3))
    if has_holes:
        truths[5], naive[7] = np.nan, np.nan
    num = num_sensors * copies
    return Judged(
        series=np.tile(np.arange(num), num_origins),
        origins_ns=np.repeat((first + np.arange(num_origins)) * STEP_NS, num),
        targets_ns=np.zeros_like(truths, dtype=np.int64),
        truths=truths,
        mean=median,
        quantiles=np.repeat(median[:, None], 3, axis=1),
        baselines={"naive": naive},
    )


def result(*parts: Judged) -> dict[str, Any]:
    comparisons = Comparisons(HORIZON, ["naive"], STEP_NS)
    for part in parts:
        comparisons.add(part)
    return dict(comparisons.result()["naive"])


def test_by_the_formula() -> None:
    one = judged(50, 4)
    model, naive = np.abs(one.truths - one.median), np.abs(one.truths - one.baselines["naive"])
    both = np.isfinite(model) & np.isfinite(naive)
    found = result(one)
    assert found["mae_ratio"]["mean"] == pytest.approx(model[both].sum() / naive[both].sum())
    differences = np.nanmean(np.where(both, model - naive, np.nan).reshape(50, 4, HORIZON), axis=1)
    for lead in range(1, HORIZON + 1):
        expected = diebold_mariano(np.arange(50), differences[:, lead - 1], lead)
        test = found["diebold_mariano"]["horizons"][str(lead)]
        assert test["statistic"] == pytest.approx(expected.statistic, rel=1e-4)  # differences are kept in float32
        assert test["num_origins"] == 50
        column = both[:, lead - 1]
        ratio = model[column, lead - 1].sum() / naive[column, lead - 1].sum()
        assert found["mae_ratio"]["horizons"][str(lead)] == pytest.approx(ratio)
    pooled = np.nanmean(np.where(both, model - naive, np.nan).reshape(50, -1), axis=1)
    expected = diebold_mariano(np.arange(50), pooled, HORIZON)
    assert found["diebold_mariano"]["mean"]["p_value"] == pytest.approx(expected.p_value, rel=1e-3)


def test_the_same_sensor_ten_times_over_proves_nothing_more() -> None:
    tests = []
    for copies in (1, 10):
        tests.append(result(judged(60, 3, copies, has_holes=False))["diebold_mariano"])
    for lead in ("1", "2", "3"):
        assert tests[0]["horizons"][lead]["p_value"] == pytest.approx(tests[1]["horizons"][lead]["p_value"], rel=1e-3)


def test_parts_in_any_order_give_the_same() -> None:
    early, later = judged(40, 2), judged(30, 2, first=40)
    assert result(later, early) == result(early, later)


def test_without_baselines_or_forecasts_there_is_nothing() -> None:
    assert Comparisons(HORIZON, [], STEP_NS).result() == {}
    assert result()["diebold_mariano"]["mean"] == {"statistic": None, "p_value": None, "num_origins": 0}
