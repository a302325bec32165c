"""`model info` tells what an artifact is."""

import json

from typer.testing import CliRunner

from stream_engine.cli.program import app


def test_the_card_of_the_shipped_model() -> None:
    result = CliRunner().invoke(app, ["model", "info", "--json"])
    card = json.loads(result.stdout)
    assert card["model"].startswith("default@")
    assert card["state_bytes_per_sensor"] <= 8192
    assert "generated series" in card["trained_on"]
    shown = CliRunner().invoke(app, ["model", "info"]).stdout
    assert "state bytes per sensor" in shown


def test_no_such_model_is_named() -> None:
    result = CliRunner().invoke(app, ["model", "info", "defalt"])
    assert "did you mean 'default'" in str(result.exception)
