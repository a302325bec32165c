"""One backtest from a table file to scores: the road that `replay`, `baselines`, `scores` and the files go together.

I know nothing of the command line. `run_backtest` returns what stands in scores.json and writes the files of a folder.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import torch

from connectors.file.read import read_table
from connectors.file.tables import Table
from recurrent_core.models.interface import StreamingModel
from stream_engine.backtest.ablation import variants
from stream_engine.backtest.baselines import BASELINES, SEASONAL, ArrivalBaselines, GridBaselines
from stream_engine.backtest.breakdown import Breakdown, Spells
from stream_engine.backtest.engine import ReplayEngine
from stream_engine.backtest.forecast_file import ForecastFile
from stream_engine.backtest.history import ArrivalHistory, Choice, GridHistory, arrival_history, grid_history
from stream_engine.backtest.oddities import check_readings, oddities
from stream_engine.backtest.origins import grid_origins, parse_start_ns
from stream_engine.backtest.outcome import Contenders, Outcome
from stream_engine.backtest.peers.feeding import ArrivalPeers, GridPeers, chosen_sensors
from stream_engine.backtest.peers.peer import Season
from stream_engine.backtest.peers.registry import PEERS, recipe
from stream_engine.backtest.replay import (
    ArrivalForecasts,
    GridForecasts,
    Listener,
    replay_arrivals,
    replay_grid,
)
from stream_engine.backtest.report import Found, write_report
from stream_engine.backtest.scores import Judged
from stream_engine.clock import Clock, SystemClock
from stream_engine.errors import ConfigError
from stream_engine.localtime import Calendar
from stream_engine.router import Late, RouterPolicy

SCORES_FILE, FORECASTS_FILE, REPORT_FILE = "scores.json", "forecasts.parquet", "report.html"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be replayed and scored.

    Attributes:
        path: the table file.
        choice: its channel, and what counts as a reading.
        horizon: leads 1 … horizon.
        test_start: first origin, as `--test-start` spells it; None for the first row.
        baselines: names of those to be scored beside the model.
        baseline_sensors: how many sensors the peers of other libraries forecast, evenly spaced; None for all.
        only_at_readings: replay in order of arrival and score what the live engine would have sent, on a grid too.
        cadence_ns: the configured cadence; None for the grid's step, or each sensor's own.
        calendar: in which days and weeks are told.
        is_late_merged: whether late readings are folded in their place, as under `late: merge`.
        is_ablated: whether to score the model without each of its parts too.
    """

    path: Path
    choice: Choice = field(default_factory=Choice)
    horizon: int = 12
    test_start: str | None = None
    baselines: Sequence[str] = BASELINES
    baseline_sensors: int | None = None
    only_at_readings: bool = False
    cadence_ns: int | None = None
    calendar: Calendar = field(default_factory=Calendar)
    is_late_merged: bool = False
    is_ablated: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """The model that is judged, and what its card says.

    Attributes:
        model: the model.
        device: where it runs.
        num_parameters: learned numbers in it.
        trained_on: names of the data it has learned from.
    """

    model: StreamingModel
    device: torch.device
    num_parameters: int
    trained_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how far a backtest has come.

    Attributes:
        expect: takes the number of rows (or readings) there are, once.
        advance: takes the number just shown.
        tell: takes a slow baseline's or an ablation's name and the number of forecasts (or rows) it has just done.
    """

    expect: Callable[[int], None] = lambda _: None
    advance: Callable[[int], None] = lambda _: None
    tell: Callable[[str, int], None] = lambda *_: None


def run_backtest(
    plan: Plan,
    candidate: Candidate,
    out: Path | None = None,
    watcher: Watcher | None = None,
    clock: Clock | None = None,
) -> dict[str, object]:
    """Replay, score, and write scores.json, forecasts.parquet and report.html into out (None: write nothing).

    Returns:
        what scores.json holds.
    Raises:
        ConfigError, TableError: the plan does not fit the data or the model.
    """
    clock = clock or SystemClock()
    table = read_table(plan.path)
    watcher = watcher or Watcher()
    run = _prepare(plan, table, candidate, watcher)
    ablated = variants(candidate.model) if plan.is_ablated else {}
    with _forecast_file(out, candidate.model.name, table) as forecasts:

        def judge(judged: Judged) -> None:
            run.outcome.add(judged)
            if forecasts is not None:
                forecasts.write(judged)

        started_s = clock.monotonic_s()
        run.replay(judge)
        took_s = clock.monotonic_s() - started_s
        if not run.outcome.num_cells:
            raise ConfigError(
                f"{plan.path} has no forecast to score: no origin from --test-start on has a truth within "
                f"{plan.horizon} leads and those leads within the data; start earlier, or shorten --horizon"
            )
    document = {
        "model": f"{candidate.model.name}@{candidate.model.version}",
        "data": table.name,
        "is_zero_shot": table.name not in candidate.trained_on,
        "state_bytes_per_sensor": run.engine.state_bytes,
        "parameters": candidate.num_parameters,
        "num_sensors": len(table.ids),
        "num_readings": run.engine.num_readings,
        "readings_per_s": run.engine.num_readings / took_s if took_s > 0 else None,
        "warnings": oddities(run.history, table),
        **run.outcome.result(),
    }
    if ablated:
        document["ablations"] = {
            name: _scored_alone(plan, table, replace(candidate, model=model), watcher)
            for name, model in ablated.items()
        }
    if out is not None:
        (out / SCORES_FILE).write_bytes(to_json(document))
        found = Found(document, run.outcome.breakdown, run.history, plan.calendar.timezone)
        write_report(out / REPORT_FILE, found, out / FORECASTS_FILE, candidate.model.name)
    return document


def score_rows(
    plan: Plan, history: GridHistory, start_ns: int, candidate: Candidate, watcher: Watcher | None = None
) -> dict[str, dict[str, object]]:
    """Scores of all leads pooled, of `model` and of each baseline, on rows at hand from a first origin on.

    Files play no part. Empty where no forecast has a truth.
    """
    policy = RouterPolicy(cadence_ns=history.step_ns, calendar=plan.calendar)
    run = _ready(plan, history, policy, start_ns, candidate, watcher or Watcher())
    run.replay(run.outcome.add)
    if not run.outcome.num_cells:
        return {}
    result: dict[str, Any] = run.outcome.result()
    return {"model": result["mean"], **{name: found["mean"] for name, found in result["baselines"].items()}}


def to_json(document: Mapping[str, object]) -> bytes:
    """What scores.json holds, as it stands in the file."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class _Run:
    """A replay that is ready to start."""

    engine: ReplayEngine
    history: GridHistory | ArrivalHistory
    outcome: Outcome
    replay: Callable[[Callable[[Judged], None]], None]


def _scored_alone(plan: Plan, table: Table, candidate: Candidate, watcher: Watcher) -> object:
    """The scores of all leads pooled, without baselines or files."""

    def advance(num: int) -> None:
        watcher.tell(candidate.model.name, num)

    run = _prepare(replace(plan, baselines=()), table, candidate, Watcher(advance=advance))
    run.replay(run.outcome.add)
    return run.outcome.result()["mean"]


def _prepare(plan: Plan, table: Table, candidate: Candidate, watcher: Watcher) -> _Run:
    start_ns = None if plan.test_start is None else parse_start_ns(plan.test_start, table.grid_times_ns)
    is_grid = table.is_grid and not plan.only_at_readings
    cadence_ns = plan.cadence_ns
    if is_grid:
        if cadence_ns is not None:
            raise ConfigError("--cadence: on a grid it is the grid's step; leave it out, or add --only-at-readings")
        if plan.is_late_merged:
            raise ConfigError("--merge-late: rows of a grid are in order; leave it out, or add --only-at-readings")
        cadence_ns = table.step_ns
    history = grid_history(table, plan.choice) if is_grid else arrival_history(table, plan.choice)
    check_readings(history, plan.path)
    late: Late = "merge" if plan.is_late_merged else "drop"
    policy = RouterPolicy(cadence_ns=cadence_ns, late=late, calendar=plan.calendar)
    return _ready(plan, history, policy, start_ns, candidate, watcher)


def _ready(
    plan: Plan,
    history: GridHistory | ArrivalHistory,
    policy: RouterPolicy,
    start_ns: int | None,
    candidate: Candidate,
    watcher: Watcher,
) -> _Run:
    engine = ReplayEngine(candidate.model, history.sensors, plan.horizon, policy, candidate.device)
    simple = tuple(dict.fromkeys((*(name for name in plan.baselines if name in BASELINES), SEASONAL)))
    slow = tuple(name for name in plan.baselines if name in PEERS)
    sensors = chosen_sensors(len(history.sensors), plan.baseline_sensors)

    def replay(judge: Callable[[Judged], None]) -> None:
        watcher.expect(len(history.times_ns))
        listener = Listener(judge, watcher.advance)
        if isinstance(history, GridHistory):
            origins = grid_origins(history.times_ns, history.step_ns, plan.horizon, start_ns)
            rows: list[GridForecasts] = [GridBaselines(history, plan.horizon, simple)]
            rows += [GridPeers(history, plan.horizon, slow, sensors, watcher.tell)] if slow else []
            replay_grid(history, origins, engine, rows, listener)
        else:
            readings: list[ArrivalForecasts] = [ArrivalBaselines(history, plan.horizon, simple)]
            readings += [ArrivalPeers(history, plan.horizon, slow, sensors, watcher.tell)] if slow else []
            replay_arrivals(history, start_ns, engine, readings, listener)

    season = Season.of(history.step_ns)
    contenders = Contenders(
        plan.baselines,
        {name: recipe(name).settings(season) for name in slow},
        {name: len(sensors) for name in slow},
    )
    first_ns, last_ns = history.span_ns
    spells = Spells.of(first_ns if start_ns is None else max(first_ns, start_ns), last_ns)
    names = tuple(dict.fromkeys((*plan.baselines, SEASONAL)))
    breakdown = Breakdown(plan.horizon, len(history.sensors), names, spells, plan.calendar.timezone)
    return _Run(engine, history, Outcome(plan.horizon, contenders, history.step_ns, breakdown), replay)


def _forecast_file(out: Path | None, model: str, table: Table) -> AbstractContextManager[ForecastFile | None]:
    return nullcontext() if out is None else ForecastFile(out / FORECASTS_FILE, model, table.ids)
