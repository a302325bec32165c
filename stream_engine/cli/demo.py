"""`stream-engine demo`: the whole engine on this machine, with a made-up fleet and no server."""

import logging
import sys
import tempfile
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
import orjson
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from connectors.contracts import Sink, Source
from connectors.records import SinkRecord
from connectors.registry import open_sink, open_source
from stream_engine.backtest.scores import Judged, Scoreboard
from stream_engine.cli.fleet import Fleet, Tick
from stream_engine.cli.logs import log_to_stderr
from stream_engine.clock import SystemClock
from stream_engine.config import Config, load_config
from stream_engine.records import QUANTILE_LEVELS, Float64s

if TYPE_CHECKING:
    from stream_engine.worker import Worker

CADENCE_NS = 300_000_000_000
DAY_TICKS = 288
HORIZON = 12
NUM_PARTITIONS = 2
TICKS_PER_TURN = 6
DAYS_BACK = 90
SHOWN_LEADS = (1, 6, 12)
NUM_SHOWN = 8
PRINT_EVERY_S = 5.0
PLAIN_WIDTH = 110
PERSISTENCE, SEASONAL = "persistence", "seasonal_naive"


class Received(msgspec.Struct):
    """A forecast as it stands in the topic, as far as the demo shows it."""

    sensor: str
    origin: int
    mean: list[float]
    quantiles: dict[str, list[float]]
    status: str


class Summary(msgspec.Struct):
    """What the demo came to.

    Attributes:
        mae_percent: forecaster -> mean absolute error in percent of the sensor's level; None before any is scored.
        coverage_80: share of truths within the 80 % intervals.
        cells: how many truths were scored.
    """

    mae_percent: dict[str, float | None]
    coverage_80: float | None
    cells: int
    readings: int = 0
    forecasts: int = 0


class RunningScore:
    """Scores forecasts as their truths arrive, in percent of each sensor's usual level; starts after a day.

    A baseline and the engine are judged on the same cells.
    """

    def __init__(self, num_sensors: int) -> None:
        self._scores = Scoreboard(HORIZON, (PERSISTENCE, SEASONAL), SEASONAL)
        self._num_ticks = 0
        self._truths: deque[Float64s] = deque(maxlen=HORIZON + 1)
        self._waiting: deque[tuple[Float64s, Float64s, Float64s]] = deque(maxlen=HORIZON + 1)
        self._same_hour = np.full((DAY_TICKS, num_sensors), np.nan)

    def add(self, truths: Float64s, mean: Float64s, quantiles: Float64s) -> None:
        """One tick: what was read, [N], and what was forecast then, [N, H] and [N, 3, H]; NaN where nothing was."""
        today = self._num_ticks % DAY_TICKS
        self._same_hour[today] = np.where(np.isnan(truths), self._same_hour[today], truths)
        self._num_ticks += 1
        targets = (self._num_ticks + np.arange(HORIZON)) % DAY_TICKS
        self._truths.append(truths)
        self._waiting.append((mean, quantiles, self._same_hour[targets].T.copy()))
        if self._num_ticks > DAY_TICKS + HORIZON:
            self._judge()

    def _judge(self) -> None:
        """Score the forecasts of the oldest tick kept: the last of their truths has come."""
        mean, quantiles, seasonal = self._waiting[0]
        last, *later = self._truths
        truths = np.stack(later, axis=1)
        level = np.nanmean(np.abs(self._same_hour), axis=0)
        unit = 100.0 / np.where(level > 0, level, 1.0)[:, None]
        both = ~np.isnan(seasonal) & ~np.isnan(last)[:, None]
        self._scores.add(
            Judged(
                series=np.arange(len(last)),
                origins_ns=np.zeros(len(last), np.int64),
                targets_ns=np.zeros(truths.shape, np.int64),
                truths=np.where(both, truths, np.nan) * unit,
                mean=mean * unit,
                quantiles=quantiles * unit[:, :, None],
                baselines={
                    PERSISTENCE: np.broadcast_to(last[:, None] * unit, truths.shape),
                    SEASONAL: seasonal * unit,
                },
            )
        )

    def summary(self) -> Summary:
        """The score so far."""
        errors = {"stream-engine": self._scores.pooled, **self._scores.baselines_pooled}
        pooled = self._scores.pooled
        return Summary(
            mae_percent={name: score["mae"] for name, score in errors.items()},
            coverage_80=pooled["coverage_80"],
            cells=int(pooled["count"] or 0),
        )


class Demo:
    """Feeds the fleet's readings, reads the forecasts back as any consumer would, and keeps the score."""

    def __init__(self, worker: "Worker", fleet: Fleet, seconds: float) -> None:
        self._worker = worker
        self._fleet = fleet
        self._clock = SystemClock()
        self._started_s = self._clock.monotonic_s()
        self._ends_s = self._started_s + seconds
        self._readings: Sink = open_sink("embedded://readings")
        self._forecasts: Source = open_source("embedded://forecasts?group=audience")
        self._numbers = {name: number for number, name in enumerate(fleet.names)}
        self._ticks: list[Tick] = []
        self._received: dict[int, tuple[Float64s, Float64s]] = {}
        self._latest: dict[str, Received] = {}
        self._decoder = msgspec.json.Decoder(Received)
        self.score = RunningScore(len(fleet.names))
        self.num_readings = 0
        self.num_forecasts = 0

    def __enter__(self) -> "Demo":
        self._readings.open(NUM_PARTITIONS, 1.0)
        forecasts = open_sink("embedded://forecasts")
        forecasts.open(NUM_PARTITIONS, 1.0)
        forecasts.close()
        self._forecasts.open(lambda partitions: None, 1.0)
        self._send()
        return self

    def __exit__(self, *error: object) -> None:
        self._forecasts.close()
        self._readings.close()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock.monotonic_s() - self._started_s

    def after_turn(self, num_records: int) -> None:
        """Between two turns: read what was forecast, score it, send the next ticks, end in time."""
        self._receive()
        self._keep_score()
        if self._clock.monotonic_s() >= self._ends_s:
            self._worker.stop()
        else:
            self._send()

    def _send(self) -> None:
        for _ in range(TICKS_PER_TURN):
            tick = self._fleet.tick()
            self._ticks.append(tick)
            self._readings.write(
                [
                    SinkRecord(
                        key=self._fleet.names[number].encode(),
                        value=orjson.dumps(
                            {"sensor": self._fleet.names[number], "ts": tick.time_ns // 1_000_000, "value": value}
                        ),
                        timestamp_ns=tick.time_ns,
                    )
                    for number, value in zip(tick.present.tolist(), tick.values.tolist(), strict=True)
                ]
            )
            self.num_readings += len(tick.present)
        self._readings.flush(1.0)

    def _receive(self) -> None:
        while True:
            polled = self._forecasts.poll(100_000, 0.0)
            for partition in polled.assigned:
                self._forecasts.seek(partition, 0)
            if not len(polled) and not polled.assigned:
                return
            for batch in polled.batches:
                for value in batch.values:
                    self._take(self._decoder.decode(value or b""))

    def _take(self, forecast: Received) -> None:
        num, sensor = len(self._numbers), self._numbers[forecast.sensor]
        mean, spread = self._received.setdefault(
            forecast.origin,
            (np.full((num, HORIZON), np.nan), np.full((num, len(QUANTILE_LEVELS), HORIZON), np.nan)),
        )
        mean[sensor] = forecast.mean
        spread[sensor] = [forecast.quantiles[str(level)] for level in QUANTILE_LEVELS]
        self._latest[forecast.sensor] = forecast
        self.num_forecasts += 1

    def _keep_score(self) -> None:
        """Score the ticks whose forecasts are all in."""
        num = len(self._numbers)
        for tick in self._ticks:
            truths = np.full(num, np.nan)
            truths[tick.present] = tick.values
            nothing = (np.full((num, HORIZON), np.nan), np.full((num, len(QUANTILE_LEVELS), HORIZON), np.nan))
            mean, quantiles = self._received.pop(tick.time_ns // 1_000_000, nothing)
            self.score.add(truths, mean, quantiles)
        self._ticks.clear()

    def picture(self) -> Group:
        """What is going on, for people."""
        table = Table(title="rolling forecasts: median (80 % interval)", padding=(0, 1, 0, 0))
        for title in ("sensor", "UTC", *(f"in {lead * 5} min" for lead in SHOWN_LEADS), "status"):
            table.add_column(title, no_wrap=True)
        for name in self._fleet.names[:NUM_SHOWN]:
            if name in self._latest:
                table.add_row(*_forecast_cells(self._latest[name]))
        return Group(table, Text(self.line()))

    def line(self) -> str:
        """One line of progress."""
        days = self.num_readings / max(1, len(self._numbers)) / DAY_TICKS
        errors = self.score.summary().mae_percent
        score = "  ".join(f"{name} {value:.2f} %" for name, value in errors.items() if value is not None)
        rate = self.num_readings / max(self.elapsed_s, 1e-9)
        shown = score or "starts after the first day"
        return f"day {days:5.1f}   {self.num_readings:,} readings, {rate:,.0f}/s   mean absolute error: {shown}"


def _forecast_cells(forecast: Received) -> list[str]:
    low, middle, high = (forecast.quantiles[str(level)] for level in QUANTILE_LEVELS)
    origin = datetime.fromtimestamp(forecast.origin / 1000, UTC)
    spans = [f"{middle[h - 1]:.1f} ({low[h - 1]:.1f} … {high[h - 1]:.1f})" for h in SHOWN_LEADS]
    return [forecast.sensor, f"{origin:%a %H:%M}", *spans, forecast.status]


def _settings(folder: Path) -> Config:
    return load_config(
        None,
        {
            "source": "embedded://readings?group=demo",
            "sink": "embedded://forecasts",
            "store": f"sqlite://{folder / 'state.db'}",
            "horizon": HORIZON,
        },
        {},
    )


def _run(demo: Demo, worker: "Worker", console: Console, is_quiet: bool) -> None:
    """Run the worker, showing a moving picture on a terminal and a line now and then elsewhere."""
    if is_quiet:
        worker.run(demo.after_turn)
        return
    if console.is_terminal:
        with Live(demo.picture(), console=console, refresh_per_second=4) as live:

            def show(num_records: int) -> None:
                demo.after_turn(num_records)
                live.update(demo.picture())

            worker.run(show)
        return
    printed_s = 0.0

    def report(num_records: int) -> None:
        nonlocal printed_s
        demo.after_turn(num_records)
        if demo.elapsed_s - printed_s >= PRINT_EVERY_S:
            printed_s = demo.elapsed_s
            console.print(demo.line(), highlight=False, soft_wrap=True)

    worker.run(report)
    console.print(demo.picture())


def demo(
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="end by itself after this long")] = 60.0,
    sensors: Annotated[int, typer.Option("--sensors", min=1, help="how many sensors the fleet has")] = 24,
    seed: Annotated[int, typer.Option("--seed", help="of everything random in the fleet")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="print only a summary, as JSON")] = False,
) -> None:
    """Run the whole engine on this machine, without a server: a made-up fleet, its forecasts, a running score.

    The fleet starts three months ago and its clock runs fast, so that days pass on screen and the engine learns
    their shape. The log is kept in memory, the state in a SQLite file that is removed at the end.
    """
    from stream_engine.worker import assemble, stopping_on_signals  # brings torch, which takes seconds

    log_to_stderr(logging.WARNING)
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    now_ns = SystemClock().now_ns()
    start_ns = (now_ns - DAYS_BACK * DAY_TICKS * CADENCE_NS) // CADENCE_NS * CADENCE_NS
    with tempfile.TemporaryDirectory(prefix="stream-engine-demo-") as folder:
        worker = assemble(_settings(Path(folder)))
        shown = Demo(worker, Fleet(sensors, start_ns, CADENCE_NS, seed), seconds)
        with shown, stopping_on_signals(worker):
            _run(shown, worker, console, as_json)
    summary = shown.score.summary()
    summary.readings, summary.forecasts = shown.num_readings, shown.num_forecasts
    if as_json:
        typer.echo(msgspec.json.encode(summary).decode())
    else:
        _print_summary(console, summary)


def _print_summary(console: Console, summary: Summary) -> None:
    table = Table(title="mean absolute error, 5 to 60 minutes ahead")
    table.add_column("forecaster", min_width=24)
    table.add_column("% of the sensor's level", justify="right")
    for name, value in summary.mae_percent.items():
        table.add_row(name, "-" if value is None else f"{value:.2f} %", style="bold" if name == "stream-engine" else "")
    console.print(table)
    inside = "-" if summary.coverage_80 is None else f"{100 * summary.coverage_80:.0f} %"
    console.print(
        f"{summary.readings:,} readings, {summary.forecasts:,} forecasts; {inside} of the truths lay in the "
        f"80 % intervals ({summary.cells:,} cells scored, from the second day on)",
        highlight=False,
    )
