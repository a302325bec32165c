"""The stretches that are drawn: end to end, from the right sensors, with what was known beside them."""

from pathlib import Path

import numpy as np
import pytest
import torch

import stream_engine.backtest.run as run
from stream_engine.backtest.report.fans import Stretch, stretches
from stream_engine.backtest.report.found import Found
from stream_engine.backtest.run import Candidate, Plan, run_backtest
from tests.support.engine import CountingModel

STEP_S, HORIZON = 3_600, 6


def kept(tmp_path: Path, num_sensors: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Found, tuple[Stretch, ...]]:
    """A backtest of sensors, of which the first waves least around its day."""
    rng = np.random.default_rng(15)
    hours = np.arange(24 * 12)[:, None]
    noise = rng.normal(0, 1, (len(hours), num_sensors)) * (1 + np.arange(num_sensors)) ** -1.0
    values = 10 * np.sin(hours / 24 * 2 * np.pi) + 20 + 3 * noise
    path = tmp_path / "t.npz"
    ids = np.array([f"s{n}" for n in range(num_sensors)])
    np.savez(
        path, values=values, timestamps=1_700_000_000 // 3_600 * 3_600 + STEP_S * np.arange(len(hours)), sensor_ids=ids
    )
    found: list[Found] = []
    monkeypatch.setattr(run, "write_report", lambda path, one, forecasts, model: found.append(one))
    run_backtest(
        Plan(path, horizon=HORIZON, test_start="60"), Candidate(CountingModel(), torch.device("cpu"), 0), tmp_path
    )
    return found[0], stretches(found[0], tmp_path / "forecasts.parquet", "counting")


def test_a_good_a_middling_and_the_worst_sensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, drawn = kept(tmp_path, 11, monkeypatch)
    assert [one.place for one in drawn] == ["good", "median", "worst"]
    ranked = found.ranked().tolist()
    assert [ranked.index(one.sensor) for one in drawn] == [1, 5, 10]
    yardstick = found.yardstick[ranked]
    assert (np.diff(yardstick) >= 0).all()


def test_forecasts_stand_end_to_end_and_are_typical(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, drawn = kept(tmp_path, 3, monkeypatch)
    for one in drawn:
        assert len(one.fans) == 14
        for fan, following in zip(one.fans[:-1], one.fans[1:], strict=True):
            assert following.origin_ns == fan.times_ns[-1] == fan.origin_ns + HORIZON * STEP_S * 10**9
        assert one.mae == pytest.approx(found.breakdown.sensors.mae[one.sensor], rel=0.1)
        origins = [fan.origin_ns for fan in one.fans]
        shown = dict(zip(one.times_ns.tolist(), one.values.tolist(), strict=True))
        for fan, origin_ns in zip(one.fans, origins, strict=True):  # the model forecasts its last reading
            np.testing.assert_allclose(fan.median, shown[origin_ns], rtol=1e-6)
            np.testing.assert_allclose(fan.high - fan.low, 2.0, rtol=1e-5)


def test_of_one_sensor_a_typical_and_a_hard_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, drawn = kept(tmp_path, 1, monkeypatch)
    assert [(one.place, one.kind) for one in drawn] == [("only", "typical"), ("only", "hard")]
    assert drawn[1].mae >= drawn[0].mae
