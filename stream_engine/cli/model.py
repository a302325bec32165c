"""`stream-engine model`: what an artifact is and how it came to be."""

from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

model = typer.Typer(help="Look at a model's artifact.", no_args_is_help=True)


@model.callback()
def _group() -> None:
    """Keeps `info` a command of its own."""


@model.command()
def info(
    name: Annotated[str, typer.Argument(help="a shipped model's name, or an artifact's folder")] = "default",
    is_json: Annotated[bool, typer.Option("--json", help="print it as JSON, and nothing else")] = False,
) -> None:
    """Show an artifact's card: sizes, what it was trained on, its scores.

    stream-engine model info models/mine
    """
    facts = card_of(name)
    if is_json:
        typer.echo(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        return
    table = Table(show_header=False, box=None)
    for key, value in facts.items():
        table.add_row(key.replace("_", " "), _text(value))
    Console().print(table)


def card_of(name: str) -> dict[str, Any]:
    """What there is to tell of an artifact.

    Raises:
        ArtifactError: there is no such artifact, or it is damaged.
    """
    from recurrent_core.weights import load_card, load_model, load_window  # these bring torch, which takes seconds

    card = load_card(name)
    if "layout_id" not in card:
        window, _ = load_window(name)
        parameters = sum(weight.numel() for weight in window.parameters())
        return {"model": f"{card['name']}@{card['version']}", "parameters": parameters, **card["facts"]}
    artifact = load_model(name)
    parameters = sum(tensor.numel() for tensor in artifact.tensors.values())
    return {
        "model": f"{artifact.name}@{artifact.version}",
        "state_bytes_per_sensor": 4 * artifact.state_floats,
        "group_bytes_per_partition": artifact.init_group().nbytes,
        "parameters": parameters,
        "attention": list(artifact.config.attention) or "none over a series' own past",
        "max_horizon": artifact.max_horizon,
        "layout_id": artifact.layout_id,
        **card["facts"],
    }


def _text(value: Any) -> str:
    """A fact as a person reads it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return orjson.dumps(value).decode() if isinstance(value, dict) else str(value)
