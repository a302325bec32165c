"""`train` from the command line: an artifact that `backtest` takes, and clear refusals."""

import json
from pathlib import Path

from typer.testing import CliRunner

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
