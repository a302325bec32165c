"""The replay's engine forecasts the same however its readings are cut, and asks only who is silent."""

import numpy as np
import pytest
import torch

from recurrent_core.weights import load_model
from stream_engine.backtest.engine import Answers, ReplayEngine
from stream_engine.errors import ConfigError
from stream_engine.router import RouterPolicy
from tests.support.engine import CountingModel

S = 10**9


def engine(policy: RouterPolicy | None = None, model: str | None = None) -> ReplayEngine:
    chosen = CountingModel() if model is None else load_model(model)
    return ReplayEngine(chosen, ("a", "b", "c"), 3, policy or RouterPolicy(300 * S), torch.device("cpu"))


def readings(num: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    series = rng.integers(0, 3, num)
    times_ns = (np.arange(num) + rng.integers(-4, 4, num)) * 100 * S
    values = rng.normal(20, 5, num)
    values[rng.random(num) < 0.1] = np.nan
    return series, times_ns, values


def together(parts: list[list[Answers]], starts: list[int]) -> dict[int, list[float]]:
    """Each reading's forecast by its number."""
    found: dict[int, list[float]] = {}
    for start, answers in zip(starts, parts, strict=True):
        for one in answers:
            found.update(zip((start + one.entries).tolist(), one.mean.tolist(), strict=True))
    return found


@pytest.mark.parametrize("model", [None, "default"])
def test_however_cut_the_forecasts_are_the_same(model: str | None) -> None:
    series, times_ns, values = readings()
    whole = together([engine(RouterPolicy(), model).step(series, times_ns, values)], [0])
    one_by_one = engine(RouterPolicy(), model)
    starts = list(range(len(series)))
    parts = [one_by_one.step(series[n : n + 1], times_ns[n : n + 1], values[n : n + 1]) for n in starts]
    single = together(parts, starts)
    assert list(single) == list(whole)
    for number, mean in whole.items():
        assert single[number] == pytest.approx(mean, rel=1e-4)  # float32 sums in another order


@pytest.mark.parametrize("model", [None, "default"])
def test_rows_in_a_lot_are_rows_one_by_one(model: str | None) -> None:
    rng = np.random.default_rng(6)
    values = rng.normal(20, 5, (50, 3))
    values[rng.random(values.shape) < 0.3] = np.nan
    values[:7, 1], values[20:23] = np.nan, np.nan
    times_ns = np.delete(np.arange(54), [10, 11, 30, 40]) * 300 * S
    lot, one_by_one = engine(model=model), engine(model=model)
    whole = together([lot.step_rows(times_ns, values, are_asked=True)], [0])
    parts = [one_by_one.step_rows(times_ns[n : n + 1], values[n : n + 1], are_asked=True) for n in range(50)]
    single = together(parts, [3 * n for n in range(50)])
    was_heard = np.maximum.accumulate(~np.isnan(values))
    assert sorted(whole) == sorted(single) == np.flatnonzero(was_heard).tolist()
    assert lot.num_readings == one_by_one.num_readings == (~np.isnan(values)).sum()
    for number, mean in whole.items():
        assert single[number] == pytest.approx(mean, rel=1e-4)  # float32 sums in another order


def test_answers_name_their_readings_in_order_of_arrival() -> None:
    made = engine().step(np.array([1, 0, 1]), np.array([0, 0, 300]) * S, np.array([5.0, 6.0, 7.0]))
    assert [one.entries.tolist() for one in made] == [[0, 1, 2]]
    assert made[0].mean.tolist() == [[5.0] * 3, [6.0] * 3, [7.0] * 3]
    assert made[0].origins_ns.tolist() == [0, 0, 300 * S]


def test_double_late_and_empty_readings_are_not_folded() -> None:
    one = engine()
    made = one.step(np.zeros(4, np.int64), np.array([300, 300, 0, 600]) * S, np.array([1.0, 2.0, 3.0, np.nan]))
    assert [answers.entries.tolist() for answers in made] == [[0]]
    assert one.num_readings == 1


def test_only_silent_sensors_that_were_heard_of_are_asked() -> None:
    one = engine()
    nothing = np.nan
    assert one.step_rows(np.array([0]) * S, np.full((1, 3), nothing), are_asked=True) == []
    rows = np.array([[nothing, nothing, 8.0], [nothing, 9.0, nothing]])
    (answers,) = one.step_rows(np.array([300, 600]) * S, rows, are_asked=True)
    assert answers.entries.tolist() == [2, 4, 5]
    assert answers.mean.tolist() == [[8.0] * 3, [9.0] * 3, [8.0] * 3]
    assert answers.origins_ns.tolist() == [300 * S, 600 * S, 600 * S]
    assert answers.cadences_ns.tolist() == [300 * S] * 3
    (answers,) = one.step_rows(np.array([900]) * S, np.array([[nothing, 7.0, nothing]]), are_asked=False)
    assert answers.entries.tolist() == [1]
    assert one.num_readings == 3
    assert one.state_bytes == 12


def test_a_horizon_the_model_does_not_reach_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 to 24"):
        ReplayEngine(CountingModel(), ("a",), 25, RouterPolicy(), torch.device("cpu"))
