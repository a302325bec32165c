"""`inspect` looks, and makes nothing."""

import sqlite3
from pathlib import Path

import typer
from typer.testing import CliRunner

from connectors.records import Partition
from connectors.registry import open_store
from stream_engine.cli.inspect import inspect
from stream_engine.cli.program import exit_status

app = typer.Typer()
app.command()(inspect)


def refusal(path: Path) -> str:
    done = CliRunner().invoke(app, ["--store", f"sqlite://{path}"])
    assert isinstance(done.exception, Exception)
    assert exit_status(done.exception) == 2
    return str(done.exception)


def test_a_store_that_does_not_exist_is_named_with_its_nearest_and_not_made(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path}/state.db", group="forecaster")
    store.open(1.0)
    store.acquire(Partition("readings", 0))
    store.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "stat.db does not exist; did you mean 'state.db'?" in refusal(tmp_path / "stat.db")
    assert "does not exist; there are none" in refusal(tmp_path / "nowhere" / "state.db")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    found = CliRunner().invoke(app, ["--store", f"sqlite://{tmp_path}/state.db"])
    assert found.exit_code == 0
    assert "nothing is stored for group 'forecaster'" in found.stdout


def test_a_foreign_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE other (x)")
    database.close()
    before = path.read_bytes()
    assert "holds no state" in refusal(path)
    assert path.read_bytes() == before
