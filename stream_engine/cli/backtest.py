"""`stream-engine backtest`: history through the live engine, scored against simple baselines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from stream_engine.backtest.baselines import BASELINES, check_names
from stream_engine.backtest.history import Choice
from stream_engine.backtest.peers.registry import PEERS
from stream_engine.backtest.report import ablation_table, remarks, score_table
from stream_engine.cli.data_options import condition, country, duration_ns, timezone
from stream_engine.cli.progress import shown_progress
from stream_engine.localtime import calendar_of

if TYPE_CHECKING:
    from stream_engine.backtest.run import Candidate


def candidate(model: str, device: str) -> "Candidate":
    """The model of that name or folder, on that device; its card's `trained_on` fact names the data it learned from."""
    from recurrent_core.weights import load_card, load_model  # these bring torch, which takes seconds
    from stream_engine.backtest.run import Candidate
    from stream_engine.stepper import choose_device

    artifact = load_model(model)
    trained_on = load_card(model)["facts"].get("trained_on", ())
    num_parameters = sum(tensor.numel() for tensor in artifact.tensors.values())
    return Candidate(artifact, choose_device(device), num_parameters, tuple(trained_on))


def backtest(  # noqa: PLR0913 (one argument per option)
    data: Annotated[
        Path,
        typer.Argument(
            help="history: CSV, Parquet or NPZ; long (unique_id, ds, y) or wide (time, then a column per sensor)"
        ),
    ],
    model: Annotated[str, typer.Option(help="the model: its name or its folder")] = "default",
    horizon: Annotated[int, typer.Option(min=1, help="leads 1 to this many are forecast and scored")] = 12,
    test_start: Annotated[
        str | None,
        typer.Option(
            metavar="T",
            help="first origin that is scored, a time (RFC 3339) or a row number; all before it warms the state",
        ),
    ] = None,
    baselines: Annotated[
        str, typer.Option(help=f"scored beside the model, by commas, or none; slow ones: {', '.join(PEERS)}")
    ] = ",".join(BASELINES),
    baseline_sensors: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="the slow baselines forecast N sensors only, evenly spaced")
    ] = None,
    channel: Annotated[str | None, typer.Option(help="which column, where there are several, such as speed")] = None,
    mask_zeros: Annotated[bool, typer.Option("--mask-zeros", help="0 means no reading, in inputs and scores")] = False,
    valid_where: Annotated[
        str | None, typer.Option(metavar="CONDITION", help="a reading counts only where this holds: 'count > 0'")
    ] = None,
    only_at_readings: Annotated[
        bool,
        typer.Option(
            "--only-at-readings",
            help="replay in order of arrival and score each forecast that the live engine would have sent",
        ),
    ] = False,
    cadence: Annotated[
        str | None, typer.Option(help="from reading to reading, such as 5m, where the data is no grid")
    ] = None,
    zone: Annotated[
        str | None, typer.Option("--timezone", help="whose hours and weekdays count; default: the model's, else UTC")
    ] = None,
    holidays: Annotated[
        str | None,
        typer.Option(
            "--country",
            help="whose public holidays count as Sundays, such as DK or DE-BY; none; default: the model's",
        ),
    ] = None,
    merge_late: Annotated[
        bool, typer.Option("--merge-late", help="fold late readings in their place, as under late: merge; else dropped")
    ] = False,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="score the model without each of its parts too: seven replays for one")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="folder for scores.json, forecasts.parquet and report.html, made where missing"),
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="print what scores.json holds, and nothing else")] = False,
) -> None:
    """Replay history through the live engine and score its forecasts.

    The forecast from origin t is scored against t+h only once t+h has arrived, so nothing is learned from the future:

        stream-engine backtest metr_la.csv --mask-zeros --test-start 2012-06-04T10:10:00Z --out scores/
    """
    from recurrent_core.weights import load_card  # these bring torch, which takes seconds
    from stream_engine.backtest.run import (
        FORECASTS_FILE,
        REPORT_FILE,
        SCORES_FILE,
        Plan,
        Watcher,
        run_backtest,
        to_json,
    )

    names = [] if baselines.strip() in ("", "none") else [name.strip() for name in baselines.split(",")]
    judged = candidate(model, device)
    learned = load_card(model)["facts"].get("calendar")
    plan = Plan(
        path=data,
        choice=Choice(channel, mask_zeros, condition(valid_where)),
        horizon=horizon,
        test_start=test_start,
        baselines=check_names(names),
        baseline_sensors=baseline_sensors,
        only_at_readings=only_at_readings,
        cadence_ns=duration_ns("--cadence", cadence),
        calendar=calendar_of(timezone(zone), country(holidays), learned),
        is_late_merged=merge_late,
        is_ablated=ablate,
    )
    with shown_progress("backtest", is_shown=not is_json) as bar:
        document = run_backtest(plan, judged, out, Watcher(bar.expect, bar.advance, bar.advance_other))
    if is_json:
        typer.echo(to_json(document), nl=False)
        return
    console = Console()
    console.print(score_table(document))
    if ablate:
        console.print(ablation_table(document))
    for remark in remarks(document):
        console.print(Text(remark))
    if out is not None:
        written = ", ".join(str(out / name) for name in (REPORT_FILE, SCORES_FILE, FORECASTS_FILE))
        console.print(Text(f"written: {written}"), soft_wrap=True)
