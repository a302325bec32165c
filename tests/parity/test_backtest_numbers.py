"""Published numbers of the last-value forecast, and the published counts of scored cells, on the development data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from connectors.file.read import read_table
from stream_engine.backtest.baselines import GridBaselines
from stream_engine.backtest.engine import Answers, ReplayEngine
from stream_engine.backtest.history import Choice, grid_history
from stream_engine.backtest.origins import grid_origins, parse_start_ns
from stream_engine.backtest.replay import Forecaster, Listener, replay_grid
from stream_engine.backtest.scores import Judged, Scoreboard
from stream_engine.config import Condition
from stream_engine.router import RouterPolicy
from tests.support.engine import CountingModel

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HORIZON = 12

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here"),
]


class Silent:
    """Forecasts 0 for every sensor it has heard of, at no cost: for counting cells."""

    def __init__(self, num_sensors: int) -> None:
        self._is_known = np.zeros((1, num_sensors), np.bool_)

    def step(self, series: object, times_ns: object, values: object) -> list[Answers]:
        raise NotImplementedError

    def step_rows(self, times_ns: NDArray[np.int64], values: NDArray[np.float64], are_asked: bool) -> list[Answers]:
        known = np.logical_or.accumulate(np.concatenate([self._is_known, ~np.isnan(values)]))
        self._is_known = known[-1:]
        entries = np.flatnonzero(known[1:])
        quantiles = np.broadcast_to(0.0, (len(entries), 3, HORIZON))
        return [Answers(entries, entries, entries, quantiles[:, 0], quantiles)]


def scored(file: str, choice: Choice, test_start: str, forecaster: Forecaster | None, hides_zeros: bool) -> Scoreboard:
    """Replay a file; targets of 0 are left out of the scores where hides_zeros."""
    table = read_table(DATA / file)
    history = grid_history(table, choice)
    origins = grid_origins(history.times_ns, history.step_ns, HORIZON, parse_start_ns(test_start, history.times_ns))
    board = Scoreboard(HORIZON, ("persistence",), "persistence")

    def judge(judged: Judged) -> None:
        truths = np.where(judged.truths == 0, np.nan, judged.truths) if hides_zeros else judged.truths
        board.add(replace(judged, truths=truths))

    if forecaster is None:
        policy = RouterPolicy(cadence_ns=history.step_ns)
        forecaster = ReplayEngine(CountingModel(), history.sensors, HORIZON, policy, torch.device("cpu"))
    replay_grid(history, origins, forecaster, [GridBaselines(history, HORIZON, ("persistence",))], Listener(judge))
    return board


@pytest.mark.parametrize(
    ("file", "test_start", "published", "num_cells"),
    [
        ("metr_la_tail65.npz", "3420", (3.928, 4.975, 6.641), 4_797_767),
        ("pems08_flow_tail.npz", "3595", (19.571, 24.268, 34.733), 7_215_381),
    ],
)
def test_last_value_forecast_with_zeros_left_in_the_inputs(
    file: str, test_start: str, published: tuple[float, ...], num_cells: int
) -> None:
    result = scored(file, Choice(), test_start, None, hides_zeros=True).result()
    for forecaster in (result, result["baselines"]["persistence"]):
        assert [round(forecaster["horizons"][lead]["mae"], 3) for lead in ("3", "6", "12")] == list(published)
        assert forecaster["mean"]["count"] == num_cells


@pytest.mark.parametrize(
    ("file", "choice", "test_start", "num_sensors", "num_cells"),
    [
        ("metr_la_tail65.npz", Choice(mask_zeros=True), "3420", 65, 4_797_767),
        ("aarhus_traffic.npz", Choice("speed", True, Condition("count > 0")), "13990", 349, 7_203_918),
    ],
)
def test_cells_are_those_of_the_windowed_peers(
    file: str, choice: Choice, test_start: str, num_sensors: int, num_cells: int
) -> None:
    result = scored(file, choice, test_start, Silent(num_sensors), hides_zeros=False).result()
    assert result["mean"]["count"] == num_cells
    assert result["baselines"]["persistence"]["mean"]["count"] == num_cells
    if file.startswith("metr"):  # ACCURACY's persistence on filled inputs
        pooled = result["baselines"]["persistence"]["mean"]
        assert [round(pooled[name], 2) for name in ("mae", "rmse", "mape")] == [4.24, 8.23, 11.4]
