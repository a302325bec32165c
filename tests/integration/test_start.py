"""Commands that need no model start without torch, which takes seconds to load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """source: kafka://127.0.0.1:9092/readings?group=forecaster
sink: kafka://127.0.0.1:9092/forecasts
store: redis://127.0.0.1:6379/0
"""

# Runs the program in its own interpreter, then tells what it has loaded, however it ended.
RUN = """
import json, sys
sys.argv = ["stream-engine", *json.loads(sys.argv[1])]
from stream_engine.cli import main
try:
    status = main()
except SystemExit as ending:
    status = ending.code or 0
print(json.dumps([status, "torch" in sys.modules]), file=sys.stderr)
"""


def status_of(*arguments: str) -> int:
    """The exit status of a command that does not load torch."""
    command = [sys.executable, "-c", RUN, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    status, has_torch = json.loads(done.stderr.splitlines()[-1])
    assert not has_torch
    return int(status)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "engine.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.mark.parametrize("command", [(), ("demo",), ("run",), ("replay",), ("backtest",), ("inspect",), ("doctor",)])
def test_help_needs_no_model(command: tuple[str, ...]) -> None:
    assert status_of(*command, "--help") == 0


def test_the_configuration_is_printed_without_a_model(config: str) -> None:
    assert status_of("run", "-c", config, "--print-config") == 0


def test_what_is_wrong_is_said_without_a_model(config: str, tmp_path: Path) -> None:
    assert status_of("run", "-c", config, "--set", "horizn=6") == 2
    assert status_of("doctor", "-c", config, "--set", "horizn=6") == 2
    assert status_of("backtest") == 2
    assert status_of("inspect", "--store", f"sqlite://{tmp_path}/state.db") == 2


def test_history_is_sent_without_a_model(tmp_path: Path) -> None:
    data = tmp_path / "t.csv"
    data.write_text("unique_id,ds,y\na,1700000000,1.5\n")
    assert status_of("replay", str(data), "--to", f"file://{tmp_path}/out.jsonl", "--json") == 0
    assert status_of("replay", str(data), "--to", f"file://{tmp_path}/out.jsonl", "--speed", "fast") == 2
