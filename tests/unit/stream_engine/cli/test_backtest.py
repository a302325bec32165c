"""What `backtest` prints and refuses."""

import json
from datetime import datetime, timedelta
from datetime import timezone as zone
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from recurrent_core.weights import load_model, save_model
from stream_engine.cli.backtest import backtest
from stream_engine.cli.data_options import condition, duration_ns, timezone
from stream_engine.cli.program import exit_status
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
        (["--horizon", "10000"], "10000 leads were asked for, but model 'default' forecasts 1 to"),
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


BAD_FILES = {
    "empty": ("", "cannot be read as CSV: Empty CSV file"),
    "header": ("unique_id,ds,y\n", "has 0 rows"),
    "text": ("unique_id,ds,y\na,3600,1\na,7200,warm\n", "row 1 of 'y' holds 'warm', wanted a number"),
    "wide": ("time,a,b\n3600,1,\n7200,2,hot\n", "column 'b' is not all numbers: row 1 of 'b' holds 'hot'"),
    "missing": ("time,a,b\n3600,,\n7200,,\n", "no reading that counts in 4 cells"),
    "single": ("unique_id,ds,y\na,3600,1\n", "no forecast to score"),
    "times": ("unique_id,ds,y\na,yesterday,1\na,today,2\n", "row 0 has the time 'yesterday'"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_work_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    text, message = BAD_FILES[name]
    path = tmp_path / "bad.csv"
    path.write_text(text)
    result = CliRunner().invoke(app, [str(path), "--out", str(tmp_path / "out")])
    assert exit_status(result.exception) == 2  # type: ignore[arg-type]
    assert message in str(result.exception)
    assert str(path) in str(result.exception)
    assert list((tmp_path / "out").glob("*")) == []


def test_a_horizon_of_0_is_a_usage_error(waves: Path) -> None:
    result = CliRunner().invoke(app, [str(waves), "--horizon", "0"])
    assert result.exit_code == 2
    assert "--horizon" in result.output


def test_times_of_mixed_zones_are_the_same_instants(waves: Path, tmp_path: Path) -> None:
    header, *lines = waves.read_text().splitlines()
    zones = [timezone_of(0), timezone_of(2), timezone_of(-5)]
    mixed = []
    for n, line in enumerate(lines):
        time_s, rest = line.split(",", 1)
        mixed.append(f"{datetime.fromtimestamp(int(time_s), zones[n % 3]).isoformat()},{rest}")
    other = tmp_path / "mixed.csv"
    other.write_text("\n".join([header, *mixed]) + "\n")
    arguments = ["--test-start", "40", "--horizon", "4", "--device", "cpu", "--json"]
    one, two = (json.loads(CliRunner().invoke(app, [str(path), *arguments]).stdout) for path in (waves, other))
    assert one["mean"] == two["mean"]


def timezone_of(hours: int) -> zone:
    return zone(timedelta(hours=hours))


def test_odd_data_is_scored_and_its_sensors_are_named(waves: Path) -> None:
    header, *lines = waves.read_text().splitlines()
    lines = [f"{line},,7" for line in lines]
    lines[10], lines[11] = lines[11], lines[10]
    waves.write_text("\n".join([f"{header},silent,[red]flat", *lines, lines[-1]]) + "\n")
    result = CliRunner().invoke(app, [str(waves), "--test-start", "40", "--horizon", "4", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    assert "no reading at all, so no forecast: 1 sensor: 'silent'" in shown
    assert "the value never changes: 1 sensor: '[red]flat'" in shown
    assert "1 row older than one before in the file" in shown
    assert "1 row at a time that had one before" in shown


def test_a_peer_is_named_with_its_settings_and_sensors(waves: Path, tmp_path: Path) -> None:
    pytest.importorskip("river")
    arguments = [str(waves), "--test-start", "40", "--horizon", "4", "--device", "cpu", "--out", str(tmp_path / "out")]
    arguments += ["--baselines", "persistence,holt_winters", "--baseline-sensors", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    assert "holt_winters: River HoltWinters, additive, season of 24 steps" in shown
    assert "1 sensor " in shown
    cells = 4 * (60 - 40 - 4)
    assert f"holt_winters has no forecast for {cells} of the cells; the ratio leaves them out" in shown
    document = json.loads((tmp_path / "out" / "scores.json").read_text())
    peer = document["baselines"]["holt_winters"]
    assert peer["num_sensors"] == 1
    assert peer["mean"]["count"] == cells
    assert peer["mae_ratio"]["mean"] > 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "forecasts 1 sensor</li>" in page


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
