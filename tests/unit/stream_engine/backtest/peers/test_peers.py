"""Peers of other libraries: their origin, their gaps, their refits, and that a missing library is named."""

import importlib.util

import numpy as np
import pytest

from stream_engine.backtest.baselines import check_names
from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.backtest.peers.feeding import ArrivalPeers, GridPeers, chosen_sensors, usual_gaps_ns
from stream_engine.backtest.peers.peer import Season
from stream_engine.backtest.peers.registry import AUTO_ETS, AUTO_THETA, HOLT_WINTERS, recipe
from stream_engine.errors import ConfigError

HOUR_NS = 3_600 * 10**9
HORIZON = 4

pytest.importorskip("river")


def waves(num_rows: int = 24 * 8, num_sensors: int = 2) -> GridHistory:
    """Daily waves on an hourly grid, with gaps."""
    rng = np.random.default_rng(8)
    hours = np.arange(num_rows)[:, None] + 3 * np.arange(num_sensors)
    values = 50 + 10 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 0.1, (num_rows, num_sensors))
    values[rng.random(values.shape) < 0.1] = np.nan
    values[60:80, 0] = np.nan
    return GridHistory(tuple("abcdef"[:num_sensors]), np.arange(num_rows) * HOUR_NS, values, HOUR_NS)


def test_a_line_is_forecast_without_error_from_the_origin_on() -> None:
    """Were the origin one step off, the error would be 1 at every lead."""
    month_ns = 30 * 24 * HOUR_NS  # too long a step for any season
    values = np.arange(400.0)[:, None]
    history = GridHistory(("a",), np.arange(400) * month_ns, values, month_ns)
    rows = np.array([390, 395])
    made = GridPeers(history, HORIZON, [HOLT_WINTERS], np.array([0])).forecast(rows)[HOLT_WINTERS]
    expected = rows[:, None] + np.arange(1, HORIZON + 1)
    np.testing.assert_allclose(made[:, 0], expected, atol=0.01)  # its trend is still settling


def test_a_season_keeps_its_place_across_gaps() -> None:
    history = waves(24 * 40)
    rows = np.arange(900, 930)
    made = GridPeers(history, HORIZON, [HOLT_WINTERS], np.arange(2)).forecast(rows)[HOLT_WINTERS]
    truths = history.values[rows[:, None] + np.arange(1, HORIZON + 1)].transpose(0, 2, 1)
    assert np.nanmean(np.abs(made - truths)) < 3.0  # a wave of height 10; half a day off it would be above 6
    assert np.isnan(
        GridPeers(history, HORIZON, [HOLT_WINTERS], np.arange(2)).forecast(np.array([10]))[HOLT_WINTERS]
    ).all()


@pytest.mark.parametrize("name", [HOLT_WINTERS, AUTO_ETS, AUTO_THETA])
def test_nothing_after_an_origin_is_seen(name: str) -> None:
    if name != HOLT_WINTERS:
        pytest.importorskip("statsforecast")
    history = waves()
    rows = np.array([150, 151, 160])
    changed = history.values.copy()
    changed[161:] = -99.0
    other = GridHistory(history.sensors, history.times_ns, changed, HOUR_NS)
    one, two = (GridPeers(h, HORIZON, [name], np.array([1])).forecast(rows)[name] for h in (history, other))
    np.testing.assert_array_equal(one, two)
    assert np.isfinite(one[:, 1]).all()
    assert np.isnan(one[:, 0]).all(), "only the chosen sensors are forecast"


@pytest.mark.parametrize("name", [AUTO_ETS, AUTO_THETA])
def test_a_refitted_peer_follows_a_wave_between_its_fits(name: str) -> None:
    pytest.importorskip("statsforecast")
    history = waves()
    rows = np.arange(150, 185, 5)
    told: list[tuple[str, int]] = []
    peers = GridPeers(history, HORIZON, [name], np.array([1]), lambda *what: told.append(what))
    made = peers.forecast(rows)[name][:, 1]
    truths = history.values[rows[:, None] + np.arange(1, HORIZON + 1), 1]
    assert np.nanmean(np.abs(made - truths)) < 3.0
    assert told == [(name, 1)] * len(rows)
    assert "every 24 steps" in recipe(name).settings(Season(24))


def test_a_flat_sensor_stays_flat() -> None:
    pytest.importorskip("statsforecast")
    flat = GridHistory(("a",), np.arange(60) * HOUR_NS, np.full((60, 1), 7.0), HOUR_NS)
    made = GridPeers(flat, HORIZON, [AUTO_ETS, AUTO_THETA, HOLT_WINTERS], np.array([0])).forecast(np.array([50]))
    for name, one in made.items():
        np.testing.assert_allclose(one, 7.0, atol=0.8, err_msg=name)  # River's season begins at 1, not at 0


def test_single_readings_are_learned_in_order_of_arrival() -> None:
    grid = waves()
    rows, series = np.nonzero(~np.isnan(grid.values))
    history = ArrivalHistory(grid.sensors, series, grid.times_ns[rows], grid.values[rows, series], HOUR_NS)
    late = ArrivalHistory(
        grid.sensors,
        np.insert(series, 250, [series[100], series[249]]),
        np.insert(history.times_ns, 250, [history.times_ns[100], history.times_ns[249]]),
        np.insert(history.values, 250, [999.0, 999.0]),
        HOUR_NS,
    )
    assert usual_gaps_ns(history).tolist() == [HOUR_NS, HOUR_NS]
    asked = np.array([260, 280])
    cadences_ns = np.full(2, HOUR_NS)
    one = ArrivalPeers(history, HORIZON, [HOLT_WINTERS], np.arange(2)).forecast(asked, cadences_ns)
    two = ArrivalPeers(late, HORIZON, [HOLT_WINTERS], np.arange(2)).forecast(asked + 2, cadences_ns)
    np.testing.assert_array_equal(one[HOLT_WINTERS], two[HOLT_WINTERS])
    by_rows = GridPeers(grid, HORIZON, [HOLT_WINTERS], np.arange(2)).forecast(rows[asked])[HOLT_WINTERS]
    np.testing.assert_allclose(one[HOLT_WINTERS], by_rows[[0, 1], series[asked]])


def test_sensors_are_chosen_evenly() -> None:
    assert chosen_sensors(10, None).tolist() == list(range(10))
    assert chosen_sensors(10, 40).tolist() == list(range(10))
    assert chosen_sensors(101, 3).tolist() == [0, 50, 100]
    assert chosen_sensors(5, 1).tolist() == [0]


def test_seasons() -> None:
    assert Season.of(300 * 10**9) == Season(288)
    assert Season.of(24 * HOUR_NS) == Season(7)
    assert Season.of(20 * HOUR_NS) == Season(1)
    assert Season.of(0) == Season(1)


def test_a_missing_library_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert check_names(["persistence"]) == ("persistence",)
    with pytest.raises(
        ConfigError, match=r"auto_ets needs statsforecast.*pip install 'stream-engine\[peers\]'"
    ) as caught:
        check_names(["auto_ets"])
    assert caught.value.exit_status == 2
