"""`stream-engine doctor`: checks everything a configuration names, and says what to do."""

from dataclasses import asdict
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.text import Text

from stream_engine.cli.run import ConfigPath, Overrides, overrides
from stream_engine.config import load_config

STYLES = {"ok": "green", "warning": "yellow", "failure": "bold red"}


def doctor(
    config: ConfigPath = None,
    override: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Check servers, topics, readings, model, device and clock, and say what to do.

    Nothing is sent and a running engine is not disturbed. Ends with status 1 if a check fails.
    """
    settings = load_config(config, overrides(override or []))
    from stream_engine.cli.checks import FAILURE, examine  # brings torch, which takes seconds

    findings = examine(settings)
    if as_json:
        typer.echo(orjson.dumps({"findings": [asdict(finding) for finding in findings]}).decode())
    else:
        console = Console()
        for finding in findings:
            mark = (f"{finding.level:8}", STYLES[finding.level])
            console.print(Text.assemble(mark, f"{finding.check:8} {finding.text}"), soft_wrap=True)
    if any(finding.level == FAILURE for finding in findings):
        raise typer.Exit(1)
