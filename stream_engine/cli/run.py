"""`stream-engine run`: the service, from a topic of readings to a topic of forecasts."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from stream_engine.cli.logs import log_to_stderr
from stream_engine.config import load_config, print_config
from stream_engine.errors import ConfigError


def overrides(pairs: list[str]) -> dict[str, object]:
    """`key=value` texts by dotted key.

    Raises:
        ConfigError: one of them has no `=`.
    """
    split = [pair.partition("=") for pair in pairs]
    for key, sign, _ in split:
        if not sign:
            raise ConfigError(f"--set {key}: wanted key=value, such as --set model.device=cpu")
    return {key.strip(): value.strip() for key, _, value in split}


ConfigPath = Annotated[
    Path | None, typer.Option("--config", "-c", help="the configuration, a YAML file (see docs/configuration.md)")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="set one key, such as model.device=cpu")
]


def run(
    config: ConfigPath = None,
    override: Overrides = None,
    show: Annotated[bool, typer.Option("--print-config", help="print the effective configuration and end")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log more")] = False,
) -> None:
    """Run the service: source → forecasts → sink, until SIGTERM.

    A whole configuration is four lines:

        source: kafka://127.0.0.1:9092/readings?group=forecaster
        sink: kafka://127.0.0.1:9092/forecasts
        store: redis://127.0.0.1:6379/0
        model: default
    """
    settings = load_config(config, overrides(override or []))
    if show:
        typer.echo(print_config(settings), nl=False)
        return
    from stream_engine.worker import assemble, stopping_on_signals  # brings torch, which takes seconds

    log_to_stderr(logging.DEBUG if verbose else logging.INFO)
    worker = assemble(settings)
    with stopping_on_signals(worker):
        worker.run()
