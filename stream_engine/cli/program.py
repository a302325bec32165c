"""Puts the commands together and turns failures into one sentence and an exit status."""

import typer
from rich.console import Console
from rich.text import Text

from connectors.errors import ConnectorConfigError, ConnectorError
from recurrent_core.errors import CoreError
from stream_engine import __version__
from stream_engine.cli.backtest import backtest
from stream_engine.cli.bench import bench
from stream_engine.cli.demo import demo
from stream_engine.cli.doctor import doctor
from stream_engine.cli.inspect import inspect
from stream_engine.cli.model import model
from stream_engine.cli.replay import replay
from stream_engine.cli.run import run
from stream_engine.cli.train import train
from stream_engine.errors import EngineError

app = typer.Typer(
    name="stream-engine",
    help="Rolling probabilistic forecasts for a fleet of sensors, updated by every reading.\n\n"
    "Start with `stream-engine demo`: the whole engine on this machine, no server needed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, run, replay, train, backtest, inspect, doctor):
    app.command()(command)
app.add_typer(model, name="model")
app.add_typer(bench, name="bench")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"stream-engine {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="print the version"),
) -> None:
    """Options before the command."""


def exit_status(error: Exception) -> int:
    """2 for what can never work as written, 1 for what is unavailable."""
    if isinstance(error, EngineError):
        return error.exit_status
    return 2 if isinstance(error, ConnectorConfigError | CoreError) else 1


def run_program() -> int:
    """Run the program; returns its exit status."""
    try:
        app()
    except (EngineError, ConnectorError, CoreError) as error:
        Console(stderr=True).print(Text.assemble(("stream-engine: ", "bold red"), str(error)), soft_wrap=True)
        return exit_status(error)
    return 0
