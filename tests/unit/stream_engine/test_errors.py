"""Errors: what a command ends with, and the hint for an unknown name."""

from stream_engine.errors import ConfigError, EngineError, nearest_name


def test_exit_status():
    assert [error.exit_status for error in (EngineError, ConfigError)] == [1, 2]


def test_the_nearest_name_or_all():
    assert nearest_name("modle", ["source", "model"]) == "did you mean 'model'?"
    assert nearest_name("xyz", ["source", "model"]) == "known: source, model"
