"""What `backtest` prints and refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from recurrent_core.weights import load_model, save_model
from stream_engine.cli.backtest import backtest
from stream_engine.cli.data_options import condition, duration_ns, timezone
from stream_engine.errors import ConfigError

app = typer.Typer()
app.command()(backtest)


@pytest.fixture
def waves(tmp_path: Path) -> Path:
    path = tmp_path / "waves.csv"
    times_s = 1_700_000_100 + 3_600 * np.arange(60)
    lines = [f"{t},{np.sin(n / 4) + 5},{np.cos(n / 4) + 5}" for n, t in enumerate(times_s)]
    path.write_text("time,a,b\n" + "\n".join(lines) + "\n")
    return path


def test_json_is_what_scores_json_holds(waves: Path, tmp_path: Path) -> None:
    arguments = [str(waves), "--test-start", "40", "--horizon", "4", "--device", "cpu", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "out" / "scores.json").read_text())
    assert document["mean"]["count"] == 2 * 4 * (60 - 40 - 4)
    assert document["model"].startswith("default@")
    result = CliRunner().invoke(app, [*arguments, "--baselines", "persistence"])
    assert "persistence" in result.stdout
    assert "seasonal" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baselines", "naive"], "no baseline 'naive'"),
        (["--valid-where", "count >"], "--valid-where: 'count >' is not a condition"),
        (["--timezone", "Mars"], "no zone 'Mars'"),
        (["--cadence", "often", "--only-at-readings"], "--cadence: 'often' must be a length of time"),
        (["--test-start", "soon"], "--test-start: 'soon' is no time"),
    ],
)
def test_a_refusal_names_its_option(arguments: list[str], message: str, waves: Path) -> None:
    result = CliRunner().invoke(app, [str(waves), *arguments])
    assert isinstance(result.exception, ConfigError)
    assert message in str(result.exception)


def test_options_as_values() -> None:
    assert duration_ns("--cadence", "5m") == 300 * 10**9
    assert duration_ns("--cadence", None) is None
    assert condition(None) is None
    assert str(timezone("Europe/Berlin")) == "Europe/Berlin"
    with pytest.raises(ConfigError, match="above 0"):
        duration_ns("--cadence", "0s")


def test_a_model_that_has_learned_from_the_data_is_named_as_such(waves: Path, tmp_path: Path) -> None:
    save_model(load_model(), tmp_path / "model", {"trained_on": ["waves"]})
    arguments = [str(waves), "--test-start", "40", "--device", "cpu", "--baselines", "none"]
    result = CliRunner().invoke(app, [*arguments, "--model", str(tmp_path / "model")])
    assert "default@1 has learned from waves: this is not a zero-shot score" in " ".join(result.stdout.split())
    assert "zero-shot" not in CliRunner().invoke(app, arguments).stdout
