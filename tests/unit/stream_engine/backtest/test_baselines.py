"""Baselines equal what a plain loop over the past says, and see nothing beyond their origin."""

import numpy as np
import pytest

from stream_engine.backtest.baselines import (
    BASELINES,
    DAY_NS,
    PERSISTENCE,
    SEASONAL,
    SEASONAL_WEEK,
    ArrivalBaselines,
    GridBaselines,
    check_names,
    season_ns,
)
from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.errors import ConfigError

STEP_NS = 6 * 3_600 * 10**9
HORIZON = 6


def history(num_rows: int = 80, step_ns: int = STEP_NS) -> GridHistory:
    rng = np.random.default_rng(7)
    values = rng.normal(size=(num_rows, 3))
    values[rng.random(values.shape) < 0.4] = np.nan
    values[:, 2] = np.nan
    values[60:, 2] = 1.0
    times_ns = (1_700_000_000 * 10**9) + np.arange(num_rows) * step_ns
    kept = np.r_[0:30, 41:num_rows]  # a gap: neither a day nor a week back is always there
    return GridHistory(("a", "b", "c"), times_ns[kept], values[kept], step_ns)


def plain(grid: GridHistory, name: str, row: int, sensor: int, lead: int) -> float:
    past = {int(t): v for t, v in zip(grid.times_ns[: row + 1], grid.values[: row + 1, sensor], strict=True) if v == v}
    if name == PERSISTENCE:
        return past[max(past)] if past else np.nan
    wanted = int(grid.times_ns[row]) + lead * grid.step_ns
    while wanted >= grid.times_ns[0]:
        wanted -= season_ns(name, grid.step_ns)
        if wanted in past:
            return past[wanted]
    return np.nan


@pytest.mark.parametrize("step_ns", [STEP_NS, DAY_NS])
def test_on_a_grid(step_ns: int) -> None:
    grid = history(step_ns=step_ns)
    rows = np.array([0, 3, 29, 30, 31, 55, 68])
    found = GridBaselines(grid, HORIZON, BASELINES).forecast(rows)
    for name in BASELINES:
        expected = [
            [[plain(grid, name, row, sensor, lead) for lead in range(1, HORIZON + 1)] for sensor in range(3)]
            for row in rows.tolist()
        ]
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_at_single_readings() -> None:
    grid = history()
    rows, series = np.nonzero(~np.isnan(grid.values))
    arrivals = ArrivalHistory(grid.sensors, series, grid.times_ns[rows], grid.values[rows, series], STEP_NS)
    asked = np.arange(0, len(rows), 5)
    found = ArrivalBaselines(arrivals, HORIZON, BASELINES).forecast(asked, np.full(len(asked), STEP_NS))
    for name in BASELINES:
        expected = [
            [plain(grid, name, int(rows[n]), int(series[n]), lead) for lead in range(1, HORIZON + 1)] for n in asked
        ]
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_a_reading_that_arrives_late_is_not_known_before_it_arrives() -> None:
    day = 4
    times_ns = np.array([1, 2, 4, 0]) * DAY_NS // day  # the reading one day before the target comes last
    arrivals = ArrivalHistory(("a",), np.zeros(4, np.int64), times_ns, np.arange(4.0), DAY_NS // day)
    found = ArrivalBaselines(arrivals, 1, (SEASONAL,)).forecast(np.array([2]), np.array([DAY_NS // day]))
    assert found[SEASONAL].tolist() == [[0.0]]
    found = ArrivalBaselines(arrivals, 4, (SEASONAL,)).forecast(np.array([0]), np.array([DAY_NS // day]))
    assert np.isnan(found[SEASONAL][0, :3]).all()


def test_what_comes_after_an_origin_changes_nothing() -> None:
    grid = history()
    rows = np.array([31, 40])
    before = GridBaselines(grid, HORIZON, BASELINES).forecast(rows)
    changed = grid.values.copy()
    changed[41:] = 99.0
    after = GridBaselines(GridHistory(grid.sensors, grid.times_ns, changed, STEP_NS), HORIZON, BASELINES).forecast(rows)
    for name in BASELINES:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_names_are_checked_and_ordered() -> None:
    assert check_names([SEASONAL_WEEK, PERSISTENCE, PERSISTENCE]) == (PERSISTENCE, SEASONAL_WEEK)
    with pytest.raises(ConfigError, match="did you mean 'persistence'"):
        check_names(["persistance"])
