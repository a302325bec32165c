"""A whole backtest from file to scores: every form of the data scores the same, and refusals are clear."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from rich.console import Console

from stream_engine.backtest.baselines import BASELINES
from stream_engine.backtest.history import Choice
from stream_engine.backtest.report import remarks, score_table
from stream_engine.backtest.report.wording import number
from stream_engine.backtest.run import Candidate, Plan, Watcher, run_backtest
from stream_engine.clock import ManualClock
from stream_engine.config import Condition
from stream_engine.errors import ConfigError
from tests.support.engine import CountingModel
from tests.unit.connectors.file.forms import FORMS

JUDGED = Candidate(CountingModel(), torch.device("cpu"), 0, ("known",))
SCORES = {"mae", "rmse", "mape", "smape", "mase", "wql", "coverage_80", "width_80", "count"}


def npz(path: Path, num_rows: int = 700, **more: object) -> Path:
    rng = np.random.default_rng(2)
    values = (rng.normal(50, 5, (num_rows, 2))).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = 0.0
    times_s = 1_700_000_100 + 300 * np.arange(num_rows)
    np.savez(path, values=values, timestamps=times_s, sensor_ids=np.array(["a", "b"]), **more)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_data_scores_the_same(form: str, tmp_path: Path) -> None:
    document = run_backtest(Plan(FORMS[form](tmp_path), horizon=2, test_start="1"), JUDGED)
    assert document["data"] == "t"
    assert document["num_readings"] == 10
    # last readings at rows 1 to 3 are 2, 2, 0 and 9.5, 7.5, 6.5; one of the 12 truths is not there
    assert document["mean"]["count"] == 11
    assert document["mean"]["mae"] == pytest.approx(np.mean([2, 2, 3, 5, 6, 2, 3, 1, 2, 1, 2]))


def test_what_scores_json_holds(tmp_path: Path) -> None:
    path, out = npz(tmp_path / "known.npz"), tmp_path / "out"
    clock = ManualClock()
    seen: list[int] = []

    def advance(num: int) -> None:
        clock.advance(num / 100)
        seen.append(num)

    plan = Plan(path, Choice(mask_zeros=True), horizon=3, test_start="300")
    document = run_backtest(plan, JUDGED, out, Watcher(seen.append, advance), clock)
    assert json.loads((out / "scores.json").read_text()) == document
    assert seen[0] == sum(seen[1:]) == 700
    assert {name: document[name] for name in ("model", "data", "state_bytes_per_sensor", "parameters")} == {
        "model": "counting@1",
        "data": "known",
        "state_bytes_per_sensor": 12,
        "parameters": 0,
    }
    assert document["readings_per_s"] == pytest.approx(document["num_readings"] / 7)
    assert set(document["horizons"]) == {"1", "2", "3"}
    assert set(document["baselines"]) == {"persistence", "seasonal_naive", "seasonal_naive_week"}
    for scores in (document, *document["baselines"].values()):
        assert all(set(score) == SCORES for score in (*scores["horizons"].values(), scores["mean"]))
    # a model that forecasts the last reading is persistence, but for its intervals
    for score in ("mae", "rmse", "mape", "smape", "mase", "count"):
        assert document["mean"][score] == document["baselines"]["persistence"]["mean"][score]
    table = pyarrow.parquet.read_table(out / "forecasts.parquet")
    assert table.num_rows == document["mean"]["count"]
    error = np.abs(table.column("y").to_numpy() - table.column("counting").to_numpy()).mean()
    assert error == pytest.approx(document["mean"]["mae"])
    assert score_table(document).row_count == 4
    page = io.StringIO()
    Console(width=80, file=page).print(score_table(document | {"model": "a-name-that-takes-too-much-room@0123abcd"}))
    printed = page.getvalue().split()
    for scores in document["baselines"].values():
        wanted = [scores["mean"][score] for score in ("mae", "rmse", "wql")]
        assert {number(one) for one in (*wanted, scores["mae_ratio"]["mean"])} <= set(printed), "no number is cut short"
    assert not document["is_zero_shot"]
    assert any("not a zero-shot score" in one for one in remarks(document))


def test_a_reading_that_fails_the_condition_is_no_reading(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [(300 * n, 10 if n % 3 else 99, n % 3) for n in range(40)]
    path.write_text("unique_id,ds,speed,count\n" + "".join(f"a,{t},{v},{c}\n" for t, v, c in rows))
    choice = Choice("speed", valid_where=Condition("count > 0"))
    for only_at_readings in (False, True):
        plan = Plan(path, choice, horizon=3, only_at_readings=only_at_readings, cadence_ns=None, baselines=())
        document = run_backtest(plan, JUDGED)
        assert document["mean"]["mae"] == 0.0
        assert document["num_readings"] == 26
        assert document["baselines"] == {}
    # of 37 origins, row 0 comes before the first reading; 2 of 3 leads meet a reading
    grid = run_backtest(Plan(path, choice, horizon=3), JUDGED)
    assert grid["mean"]["count"] == 36 * 2


def test_data_off_any_grid_is_replayed_in_order_of_arrival(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{name},{100 * n + 7 * number},{n}" for n in range(50) for number, name in enumerate("abc")]
    path.write_text("unique_id,ds,y\n" + "\n".join(lines))
    document = run_backtest(Plan(path, horizon=2, cadence_ns=100 * 10**9), JUDGED)
    assert document["horizons"]["1"]["mae"] == 1.0
    assert document["horizons"]["2"]["mae"] == 2.0
    assert document["horizons"]["2"]["count"] == 3 * 48


def test_where_every_row_is_full_both_ways_of_replaying_agree(tmp_path: Path) -> None:
    plan = Plan(npz(tmp_path / "t.npz", 400), horizon=3, test_start="320")
    by_rows = run_backtest(plan, JUDGED)
    by_arrival = run_backtest(replace(plan, only_at_readings=True, cadence_ns=300 * 10**9), JUDGED)
    assert by_rows["num_readings"] == by_arrival["num_readings"]
    pairs = [(by_rows, by_arrival), *((by_rows["baselines"][n], by_arrival["baselines"][n]) for n in BASELINES)]
    for one, other in pairs:  # sums in another order, so equal but for rounding
        assert one["mean"] == pytest.approx(other["mean"])
        for lead in ("1", "2", "3"):
            assert one["horizons"][lead] == pytest.approx(other["horizons"][lead])


def test_what_comes_after_an_origin_changes_no_forecast_made_at_it(tmp_path: Path) -> None:
    found = []
    for factor in (1.0, -3.0):
        path = npz(tmp_path / "t.npz")
        with np.load(path) as file:
            arrays = dict(file)
        arrays["values"][400:] *= factor
        np.savez(path, **arrays)
        run_backtest(Plan(path, horizon=3, test_start="390"), JUDGED, tmp_path / "out")
        table = pyarrow.parquet.read_table(tmp_path / "out" / "forecasts.parquet").drop_columns("y")
        cutoff_s = table.column("cutoff").cast("int64").to_numpy() // 10**9
        found.append(table.filter(cutoff_s < int(arrays["timestamps"][400])))
    assert found[0].num_rows == 10 * 2 * 3
    assert found[0].equals(found[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_start": "699"}, "no forecast to score"),
        ({"horizon": 25}, "1 to 24"),
        ({"cadence_ns": 1}, "on a grid it is the grid's step"),
        ({"is_late_merged": True}, "rows of a grid are in order"),
        ({"choice": Choice(valid_where=Condition("count > 0"))}, r"no field 'count'; it has value"),
        ({"choice": Choice("speed")}, "no channel 'speed'"),
        ({"path": Path("none.npz")}, "is not a file"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    plan = Plan(**{"path": npz(tmp_path / "t.npz"), **changes})
    with pytest.raises(Exception, match=message) as caught:
        run_backtest(plan, JUDGED, tmp_path / "out")
    assert isinstance(caught.value, ConfigError) or "TableError" in repr(caught.type)
    assert not (tmp_path / "out" / "forecasts.parquet").exists()
