"""`stream-engine train`: fits the networks on top of the mix to history and writes an artifact."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stream_engine.backtest.history import Choice
from stream_engine.cli.data_options import condition, country, timezone
from stream_engine.localtime import calendar_of

if TYPE_CHECKING:
    from stream_engine.training.run import Watcher


class Architecture(StrEnum):
    """What can be trained."""

    ELINFORMER = "elinformer"
    WINDOW = "elinformer_window"


def train(  # noqa: PLR0913 (one argument per option)
    data: Annotated[
        list[Path],
        typer.Argument(
            help="history, one file or several: CSV, Parquet or NPZ; long (unique_id, ds, y) or wide (time, then a "
            "column per sensor)"
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder of the artifact, made where missing")],
    train_end: Annotated[
        str | None,
        typer.Option(
            metavar="T", help="readings before it are learned from, a time (RFC 3339) or a row number; default 70 %"
        ),
    ] = None,
    valid_end: Annotated[
        str | None, typer.Option(metavar="T", help="readings from --train-end to here choose; default 85 %")
    ] = None,
    channel: Annotated[str | None, typer.Option(help="which column, where there are several, such as speed")] = None,
    mask_zeros: Annotated[bool, typer.Option("--mask-zeros", help="0 means no reading")] = False,
    valid_where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="a reading counts only where this holds: 'count > 0'")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="decides everything that is drawn")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="networks on top of the mix whose mean teaches the one that is kept; 1: none")
    ] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, help="gradient steps; default: 1000 or 4000, as the inner split has it")
    ] = None,
    model: Annotated[
        Architecture,
        typer.Option(
            help="elinformer streams; elinformer_window, the paper's, reads 12 rows of all sensors anew at every "
            "forecast and is there to compare rules of attention by"
        ),
    ] = Architecture.ELINFORMER,
    attention: Annotated[
        str | None,
        typer.Option(
            metavar="RULE[,RULE]",
            help="rule of attention, as docs/mechanisms.md lists them. elinformer: each series attends to its own past "
            "by it (one layer each where several are named, conv+RULE with a causal convolution before it; default: "
            "none). elinformer_window: over time and sensors (default: entropy_equality)",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="the artifact's name; default: the first file's")] = None,
    zone: Annotated[str | None, typer.Option("--timezone", help="whose hours and weekdays count; default: UTC")] = None,
    holidays: Annotated[
        str | None,
        typer.Option(
            "--country", help="whose public holidays count as Sundays, such as DK or DE-BY, or none; default: none"
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads to use")] = 1,
    device: Annotated[str, typer.Option(help="where networks learn: auto, cpu or cuda")] = "auto",
    is_json: Annotated[bool, typer.Option("--json", help="print the card's facts, and nothing else")] = False,
) -> None:
    """Fit a model on history and save it; killed and started again with the same options, it goes on where it was.

    stream-engine train metr_la.csv --mask-zeros --train-end 2012-06-02 --valid-end 2012-06-04 --out model/

    On several GPUs (or processors, with --device cpu): torchrun --nproc-per-node 2 --no-python stream-engine train …
    """
    from stream_engine.stepper import choose_device  # these bring torch, which takes seconds
    from stream_engine.training.material import Cuts
    from stream_engine.training.ranks import joined
    from stream_engine.training.run import LENGTHS, REGIMEN, TrainPlan, run_training
    from stream_engine.training.window_run import RULE, STEPS, run_window_training

    is_windowed = model is Architecture.WINDOW
    rules = tuple(filter(None, (attention or (RULE if is_windowed else "")).split(",")))
    default_steps = (STEPS,) if is_windowed else LENGTHS
    plan = TrainPlan(
        paths=tuple(data),
        out=out,
        name=name or data[0].name.split(".", 1)[0],
        choice=Choice(channel, mask_zeros, condition(valid_where)),
        cuts=Cuts(train_end, valid_end),
        calendar=calendar_of(timezone(zone), country(holidays), None),
        lengths=default_steps if steps is None else (steps,),
        regimen=replace(REGIMEN, attention=rules),
        seed=seed,
        num_seeds=seeds,
        threads=threads,
    )
    with joined(choose_device(device)) as ranks, _watched(is_shown=not is_json and ranks.is_first) as watcher:
        if not is_windowed:
            facts = run_training(plan, watcher, ranks)
        elif ranks.is_first:
            facts = run_window_training(plan, watcher, ranks.device)
    if not ranks.is_first:
        return
    if is_json:
        typer.echo(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        return
    console = Console()
    for line in window_summary(facts) if is_windowed else summary(facts):
        console.print(line, highlight=False)
    console.print(f"written: {out}", highlight=False)


def summary(facts: dict[str, Any]) -> list[str]:
    """What a person wants to know of a run, line by line."""
    lines = [
        f"{facts['parameters']:,} parameters, {facts['num_sensors']} sensors, {facts['regimen']['num_steps']} steps",
        "against the mix alone:",
    ]
    for steps, trial in facts["inner_split_to_mix"].items():
        lines.append(f"  inner split, {steps} steps: {_told(trial)}")
    verdict = facts["validation_to_mix"]
    lines.append(
        "  no validation rows: --valid-end lies at --train-end"
        if verdict is None
        else f"  validation: {_told(verdict)}"
    )
    return lines + _scores(facts["scores"])


def window_summary(facts: dict[str, Any]) -> list[str]:
    """The same of a windowed model's."""
    steps, best = facts["steps"], min(facts["validation_mae"])
    return [
        f"{facts['parameters']:,} parameters, {facts['num_sensors']} sensors, {steps} steps, {facts['attention']}",
        f"best of {len(facts['validation_mae'])} looks at some validation windows: MAE {best:.4g}",
        *_scores(facts["scores"]),
    ]


def _scores(scores: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """A line for each part that was scored."""
    lines = []
    for part, by_name in scores.items():
        told = (f"{name} {own['mae']:.4g} / {own['rmse']:.4g}" for name, own in by_name.items() if own["count"])
        lines += [f"{part}, validation rows, MAE / RMSE: {', '.join(told)}"] if by_name else []
    return lines


def _told(trial: dict[str, float]) -> str:
    return (
        f"MAE x {trial['mae']:.3f}, WQL x {trial['wql']:.3f}, 80 % interval covers {100 * trial['coverage_80']:.0f} %"
    )


@contextmanager
def _watched(is_shown: bool) -> Iterator["Watcher"]:
    """A bar per stage on stderr: steps, loss and score, time left. Nothing where stderr is no terminal."""
    from stream_engine.training.run import Watcher

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    is_off = not (is_shown and console.is_terminal)
    with Progress(*columns, console=console, disable=is_off) as progress:
        stages: list[Any] = []

        def begin(stage: str, steps: int) -> None:
            if stages:
                progress.stop_task(stages[-1])
            stages.append(progress.add_task(stage, total=steps, told=""))

        yield Watcher(
            begin=begin,
            advance=lambda steps: progress.advance(stages[-1], steps),
            tell=lambda text: progress.update(stages[-1], told=text),
        )
