"""What a replay shows and judges: a perfect forecaster scores 0, and nobody sees the future."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recurrent_core.models.interface import Arrival, Groups, Outlook, Runs
from stream_engine.backtest.baselines import ArrivalBaselines, GridBaselines
from stream_engine.backtest.engine import Answers, ReplayEngine
from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.backtest.origins import grid_origins
from stream_engine.backtest.replay import MOST_LEADS, MOST_ROWS, Listener, replay_arrivals, replay_grid, rows_of_lot
from stream_engine.backtest.scores import Judged, Scoreboard
from stream_engine.router import RouterPolicy
from tests.support.engine import CountingModel

Ints, Floats = NDArray[np.int64], NDArray[np.float64]
STEP_NS, HORIZON = 300 * 10**9, 4
NAMES = ("persistence", "seasonal_naive")


def grid(num_rows: int = 400) -> GridHistory:
    rng = np.random.default_rng(1)
    values = rng.normal(50, 9, (num_rows, 3))
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:150, 2] = np.nan
    return GridHistory(("a", "b", "c"), np.arange(num_rows) * STEP_NS, values, STEP_NS)


def arrivals(history: GridHistory) -> ArrivalHistory:
    rows, series = np.nonzero(~np.isnan(history.values))
    return ArrivalHistory(history.sensors, series, history.times_ns[rows], history.values[rows, series], STEP_NS)


class Oracle:
    """Knows every reading to come, and writes down what it is shown."""

    def __init__(self, history: GridHistory) -> None:
        self._row = {int(t): n for n, t in enumerate(history.times_ns)}
        self._values = np.vstack([history.values, np.full((HORIZON, 3), np.nan)])
        self._heard: set[int] = set()
        self.shown: list[tuple[int, int]] = []

    def step(self, series: Ints, times_ns: Ints, values: Floats) -> list[Answers]:
        self.shown += zip(times_ns.tolist(), series.tolist(), strict=True)
        self._heard.update(series.tolist())
        return [self._answers(np.arange(len(series)), series, times_ns)]

    def step_rows(self, times_ns: Ints, values: Floats, are_asked: bool) -> list[Answers]:
        found = []
        for row, time_ns in enumerate(times_ns.tolist()):
            present = np.flatnonzero(~np.isnan(values[row]))
            self.shown += [(time_ns, sensor) for sensor in present.tolist()]
            self._heard.update(present.tolist())
            series = np.array(sorted(self._heard), np.int64) if are_asked else present
            found.append(self._answers(3 * row + series, series, np.full(len(series), time_ns)))
        return found

    def _answers(self, entries: Ints, series: Ints, origins_ns: Ints) -> Answers:
        rows = np.array([self._row[time] for time in origins_ns.tolist()], np.int64)
        targets = self._values[rows[:, None] + np.arange(1, HORIZON + 1), series[:, None]]
        known = np.where(np.isnan(targets), 0.0, targets)
        cadences_ns = np.full(len(entries), STEP_NS)
        return Answers(entries, origins_ns, cadences_ns, known, np.repeat(known[:, None], 3, axis=1))


@pytest.mark.parametrize("is_grid", [True, False])
def test_a_perfect_forecaster_scores_0_at_every_lead(is_grid: bool) -> None:
    history = grid()
    board = Scoreboard(HORIZON, NAMES, "seasonal_naive")
    if is_grid:
        origins = grid_origins(history.times_ns, STEP_NS, HORIZON, 310 * STEP_NS)
        replay_grid(history, origins, Oracle(history), [GridBaselines(history, HORIZON, NAMES)], Listener(board.add))
    else:
        single = arrivals(history)
        baselines = [ArrivalBaselines(single, HORIZON, NAMES)]
        replay_arrivals(single, 310 * STEP_NS, Oracle(history), baselines, Listener(board.add))
    for score in (*board.result()["horizons"].values(), board.pooled):
        assert score["count"] > 0
        assert all(score[name] == 0.0 for name in ("mae", "rmse", "mape", "smape", "mase", "wql", "width_80"))
        assert score["coverage_80"] == 1.0
    assert board.result()["baselines"]["persistence"]["mean"]["mae"] > 1.0


def test_every_sensor_is_asked_at_every_row_and_every_reading_is_shown_once() -> None:
    history = grid()
    judged: list[Judged] = []
    num_rows: list[int] = []
    oracle = Oracle(history)
    origins = grid_origins(history.times_ns, STEP_NS, HORIZON, 100 * STEP_NS)
    replay_grid(
        history, origins, oracle, [GridBaselines(history, HORIZON, NAMES)], Listener(judged.append, num_rows.append)
    )
    rows, series = np.nonzero(~np.isnan(history.values))
    assert oracle.shown == list(zip(history.times_ns[rows].tolist(), series.tolist(), strict=True))
    assert sum(num_rows) == 400
    assert sum(len(one.series) for one in judged) == (400 - 100 - HORIZON) * 3
    first = int(np.flatnonzero(~np.isnan(history.values[:, 2]))[0])
    has_forecast = np.concatenate([np.isfinite(one.mean).all(axis=1) for one in judged]).reshape(-1, 3)
    assert has_forecast[:, :2].all()
    assert has_forecast[:, 2].tolist() == [row >= first for row in range(100, 400 - HORIZON)]
    for one in judged:
        lead_rows = one.origins_ns[:, None] // STEP_NS + np.arange(1, HORIZON + 1)
        np.testing.assert_array_equal(one.targets_ns, lead_rows * STEP_NS)
        np.testing.assert_array_equal(one.truths, history.values[lead_rows, one.series[:, None]])


def test_a_forecast_is_judged_only_after_its_truths_were_shown() -> None:
    history = grid()
    oracle = Oracle(history)

    def judge(one: Judged) -> None:
        assert max(oracle.shown)[0] >= one.targets_ns[np.isfinite(one.truths)].max()

    origins = grid_origins(history.times_ns, STEP_NS, HORIZON, 10 * STEP_NS)
    replay_grid(history, origins, oracle, [GridBaselines(history, HORIZON, NAMES)], Listener(judge))


class Counted(CountingModel):
    """Counts how often it is called, and how many readings and questions at most."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def sequence(
        self, arrival: Arrival, runs: Runs, slab: torch.Tensor, horizon: int, groups: Groups | None = None
    ) -> Outlook:
        self.sizes.append(len(runs.slots))
        return super().sequence(arrival, runs, slab, horizon, groups)


@pytest.mark.parametrize(("first", "num_calls"), [(0, 2), (100, 3)])
def test_a_grid_goes_through_the_model_in_a_few_long_runs(first: int, num_calls: int) -> None:
    history, model = grid(), Counted()
    engine = ReplayEngine(model, history.sensors, HORIZON, RouterPolicy(STEP_NS), torch.device("cpu"))
    origins = grid_origins(history.times_ns, STEP_NS, HORIZON, first * STEP_NS)
    replay_grid(history, origins, engine, [], Listener(lambda _: None))
    assert len(model.sizes) == num_calls  # rows before the first origin, rows from there on, rows of the last truths
    assert max(model.sizes) > 3 * 250


def test_a_lot_takes_bounded_memory() -> None:
    for num_sensors, horizon in ((1, 1), (1, 288), (65, 12), (349, 12), (5_000, 288)):
        num_rows = rows_of_lot(num_sensors, horizon)
        assert 1 <= num_rows <= MOST_ROWS
        assert num_rows == 1 or num_rows * num_sensors * horizon <= MOST_LEADS
    assert rows_of_lot(10, 12) > 1_000


def test_origins_whose_last_lead_lies_beyond_the_data_are_not_judged() -> None:
    history = arrivals(grid())
    origins: list[int] = []
    replay_arrivals(
        history,
        None,
        Oracle(grid()),
        [ArrivalBaselines(history, HORIZON, ())],
        Listener(lambda one: origins.extend((one.origins_ns // STEP_NS).tolist())),
    )
    assert max(origins) == 399 - HORIZON
    assert min(origins) == 0


def test_the_truth_is_the_reading_nearest_to_the_target_within_half_a_cadence() -> None:
    times_ns = np.array([0, 290, 640, 900, 1200]) * 10**9  # 640 is nearest to 600; 300 is met by 290
    history = ArrivalHistory(("a",), np.zeros(5, np.int64), times_ns, np.arange(5.0), STEP_NS)

    class Fixed:
        def step(self, series: Ints, times_ns: Ints, values: Floats) -> list[Answers]:
            num = len(series)
            made = np.zeros((num, 3))
            return [Answers(np.arange(num), times_ns, np.full(num, STEP_NS), made, np.zeros((num, 3, 3)))]

        def step_rows(self, times_ns: Ints, values: Floats, are_asked: bool) -> list[Answers]:
            raise NotImplementedError

    judged: list[Judged] = []
    replay_arrivals(history, None, Fixed(), [ArrivalBaselines(history, 3, ())], Listener(judged.append))
    assert judged[0].truths[0].tolist() == [1.0, 2.0, 3.0]
    assert judged[0].truths[1].tolist() == pytest.approx([2.0, 3.0, 4.0])
    assert (judged[0].targets_ns[0] // 10**9).tolist() == [290, 640, 900]
