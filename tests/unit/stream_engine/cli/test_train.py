"""`train` from the command line: an artifact that `backtest` takes, and clear refusals."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recurrent_core.weights import load_card
from stream_engine.cli.program import app
from tests.unit.stream_engine.training.histories import tide, write_wide


def test_what_train_writes_backtest_takes(tmp_path: Path) -> None:
    data, out = write_wide(tmp_path / "tide.csv", *tide()), tmp_path / "mine"
    cuts = ["--train-end", "216", "--valid-end", "264"]
    trained = CliRunner().invoke(app, ["train", str(data), *cuts, "--steps", "3", "--out", str(out)])
    assert trained.exit_code == 0, trained.output
    assert "validation: MAE x" in trained.stdout
    arguments = [str(data), "--test-start", "264", "--model", str(out), "--baselines", "none", "--json"]
    judged = CliRunner().invoke(app, ["backtest", *arguments])
    assert judged.exit_code == 0, judged.output
    scores = json.loads(judged.stdout)
    assert scores["model"].startswith("tide@")
    assert scores["is_zero_shot"] is False
    told = CliRunner().invoke(app, ["model", "info", str(out), "--json"])
    assert json.loads(told.stdout)["trained_on"] == ["tide"]


def test_too_short_a_history_is_refused(tmp_path: Path) -> None:
    data = write_wide(tmp_path / "tide.csv", *tide(num_days=2))
    refused = CliRunner().invoke(app, ["train", str(data), "--out", str(tmp_path / "mine")])
    assert "wanted at least 96" in str(refused.exception)


def test_the_calendar_of_training_goes_with_the_artifact(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, out = write_wide(tmp_path / "tide.csv", *tide()), tmp_path / "mine"
    where = ["--timezone", "Europe/Copenhagen", "--country", "dk"]
    cuts = ["--train-end", "216", "--valid-end", "264", "--steps", "3", "--out", str(out)]
    trained = CliRunner().invoke(app, ["train", str(data), *cuts, *where])
    assert trained.exit_code == 0, trained.output
    learned = {"timezone": "Europe/Copenhagen", "country": "DK"}
    assert load_card(out)["facts"]["calendar"] == learned
    told = CliRunner().invoke(app, ["model", "info", str(out)])
    assert "Europe/Copenhagen" in told.stdout
    arguments = ["backtest", str(data), "--test-start", "264", "--model", str(out), "--baselines", "none", "--json"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert not caplog.records, "the model's own calendar is taken without a word"
    assert CliRunner().invoke(app, [*arguments, "--country", "none"]).exit_code == 0
    assert "learned with the calendar Europe/Copenhagen, holidays of DK" in caplog.text


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ("gla,linformer", "linformer cannot stream: .* memory_slots is its causal kin"),
        ("softmax", "softmax cannot stream: .* softmax_window keeps the last readings"),
        ("entropy-equalty", "unknown mechanism 'entropy-equalty'; did you mean entropy_equality"),
    ],
)
def test_rules_that_cannot_be_had_are_refused_before_anything_is_read(rules: str, why: str, tmp_path: Path) -> None:
    arguments = ["train", str(tmp_path / "not there.csv"), "--out", str(tmp_path / "mine"), "--attention", rules]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code != 0
    assert re.search(why, str(refused.exception))


def test_a_rule_that_is_asked_for_goes_with_the_artifact(tmp_path: Path) -> None:
    data, out = write_wide(tmp_path / "tide.csv", *tide()), tmp_path / "mine"
    cuts = ["--train-end", "216", "--valid-end", "264", "--steps", "3", "--out", str(out)]
    trained = CliRunner().invoke(app, ["train", str(data), *cuts, "--attention", "conv+lightning,entropy_equality"])
    assert trained.exit_code == 0, trained.output
    told = CliRunner().invoke(app, ["model", "info", str(out)])
    assert "conv+lightning, entropy_equality" in told.stdout
    arguments = ["backtest", str(data), "--test-start", "264", "--model", str(out), "--baselines", "none", "--json"]
    assert CliRunner().invoke(app, [*arguments, "--ablate"]).exit_code == 0


def test_the_windowed_model_is_trained_by_the_same_command_and_says_why_it_cannot_stream(tmp_path: Path) -> None:
    data, out = write_wide(tmp_path / "tide.csv", *tide()), tmp_path / "mine"
    arguments = ["train", str(data), "--train-end", "216", "--valid-end", "264", "--steps", "30", "--out", str(out)]
    trained = CliRunner().invoke(app, [*arguments, "--model", "elinformer_window", "--attention", "rala"])
    assert trained.exit_code == 0, trained.output
    assert "30 steps, rala" in trained.stdout
    assert "validation rows, MAE / RMSE: model " in trained.stdout
    told = CliRunner().invoke(app, ["model", "info", str(out), "--json"])
    assert json.loads(told.stdout)["attention"] == "rala"
    refused = CliRunner().invoke(app, ["backtest", str(data), "--test-start", "264", "--model", str(out)])
    assert "cannot stream; train without --model" in str(refused.exception)


def test_an_unknown_country_is_refused_with_the_nearest(tmp_path: Path) -> None:
    data = write_wide(tmp_path / "tide.csv", *tide())
    refused = CliRunner().invoke(app, ["train", str(data), "--out", str(tmp_path / "mine"), "--country", "Denmrk"])
    assert "--country: 'Denmrk' names no country that is known; did you mean 'DK'?" in str(refused.exception)
