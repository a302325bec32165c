"""Whatever comes after an origin changes no forecast made at it: the model's, the baselines', the peers'."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recurrent_core.weights import load_model
from stream_engine.backtest.baselines import BASELINES, ArrivalBaselines, GridBaselines
from stream_engine.backtest.engine import ReplayEngine
from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.backtest.origins import grid_origins
from stream_engine.backtest.peers.feeding import ArrivalPeers, GridPeers
from stream_engine.backtest.peers.registry import HOLT_WINTERS
from stream_engine.backtest.replay import Listener, replay_arrivals, replay_grid
from stream_engine.backtest.scores import Judged
from stream_engine.router import RouterPolicy

HOUR_NS = 3_600 * 10**9
HORIZON, NUM_ROWS, CUT = 4, 120, 90

Forecasts = dict[tuple[int, int], tuple[np.ndarray, ...]]
"""(sensor, origin) -> mean, quantiles and each baseline's forecast."""

pytest.importorskip("river")


def rows() -> GridHistory:
    """Hourly rows of three sensors: cells without a reading, a row that is missing, a day that is missing."""
    rng = np.random.default_rng(12)
    times_ns = 1_700_000_000 * 10**9 + np.arange(NUM_ROWS + 26) * HOUR_NS
    kept = np.r_[0:40, 41:60, 85 : NUM_ROWS + 26]
    values = 20 + 5 * np.sin(np.arange(NUM_ROWS + 26) / 4)[:, None] + rng.normal(size=(NUM_ROWS + 26, 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    return GridHistory(("a", "b", "c"), times_ns[kept], values[kept], HOUR_NS)


def readings() -> ArrivalHistory:
    """The same in order of arrival off the grid: jitter, late ones, doubles."""
    grid = rows()
    rng = np.random.default_rng(13)
    row, series = np.nonzero(~np.isnan(grid.values))
    times_ns = grid.times_ns[row] + rng.integers(-600, 600, len(row)) * 10**9
    order = np.argsort(np.arange(len(row)) + rng.choice([0, 12], len(row), p=[0.93, 0.07]), kind="stable")
    order = np.insert(order, np.arange(20, len(order), 37), order[np.arange(20, len(order), 37) - 1])
    return ArrivalHistory(grid.sensors, series[order], times_ns[order], grid.values[row, series][order], HOUR_NS)


def engine(history: GridHistory | ArrivalHistory, cadence_ns: int | None) -> ReplayEngine:
    policy = RouterPolicy(cadence_ns=cadence_ns)
    return ReplayEngine(load_model("default"), history.sensors, HORIZON, policy, torch.device("cpu"))


def collected(parts: list[Judged]) -> Forecasts:
    found: Forecasts = {}
    for one in parts:
        for n, key in enumerate(zip(one.series.tolist(), one.origins_ns.tolist(), strict=True)):
            found[key] = (one.mean[n], one.quantiles[n], *(one.baselines[name][n] for name in sorted(one.baselines)))
    return found


def of_rows(history: GridHistory) -> Forecasts:
    parts: list[Judged] = []
    origins = grid_origins(history.times_ns, HOUR_NS, HORIZON, int(history.times_ns[50]))
    baselines = [
        GridBaselines(history, HORIZON, BASELINES),
        GridPeers(history, HORIZON, [HOLT_WINTERS], np.arange(3)),
    ]
    replay_grid(history, origins, engine(history, HOUR_NS), baselines, Listener(parts.append))
    return collected(parts)


def of_readings(history: ArrivalHistory) -> Forecasts:
    parts: list[Judged] = []
    baselines = [
        ArrivalBaselines(history, HORIZON, BASELINES),
        ArrivalPeers(history, HORIZON, [HOLT_WINTERS], np.arange(3)),
    ]
    replay_arrivals(history, int(history.times_ns[50]), engine(history, None), baselines, Listener(parts.append))
    return collected(parts)


def same(one: Forecasts, other: Forecasts, keys: set[tuple[int, int]]) -> None:
    for key in keys:
        for a, b in zip(one[key], other[key], strict=True):
            np.testing.assert_array_equal(a, b)


def test_on_a_grid_with_gaps() -> None:
    history = rows()
    changed = history.values.copy()
    changed[CUT + 1 :] = np.where(np.isnan(changed[CUT + 1 :]), np.nan, -77.0)
    one, other = of_rows(history), of_rows(replace(history, values=changed))
    before = {key for key in one if key[1] <= history.times_ns[CUT]}
    assert len(before) == 3 * (CUT - 50 + 1)
    same(one, other, before)
    after = set(one) - before
    assert any(not np.array_equal(one[key][0], other[key][0]) for key in after)


def test_in_order_of_arrival_with_late_and_double_readings() -> None:
    history = readings()
    assert (np.diff(history.times_ns[history.series == 0]) < 0).any()
    assert (np.diff(history.times_ns) == 0).any()
    cut = 250
    values = np.where(np.arange(len(history.values)) > cut, -77.0, history.values)
    one, other = of_readings(history), of_readings(replace(history, values=values))
    shown = set(zip(history.series[: cut + 1].tolist(), history.times_ns[: cut + 1].tolist(), strict=True))
    before = set(one) & shown
    assert len(before) > 80
    same(one, other, before)
    assert any(not np.array_equal(one[key][0], other[key][0]) for key in set(one) - shown)
