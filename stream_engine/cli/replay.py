"""`stream-engine replay`: sends history to a topic as if it were live."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import orjson
import typer
from rich.console import Console

from connectors.contracts import Sink
from connectors.file.read import read_table
from connectors.file.tables import Table
from connectors.records import SinkRecord
from connectors.registry import SINKS, open_sink
from stream_engine.cli.progress import Bar, shown_progress
from stream_engine.clock import Clock, SystemClock
from stream_engine.errors import ConfigError

BATCH = 5_000
READINGS_PER_FLUSH = 50_000
FLUSH_TIMEOUT_S = 60.0
OPEN_TIMEOUT_S = 30.0
LONGEST_SLEEP_S = 0.05
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Script:
    """What is sent, and how.

    Attributes:
        events: the readings in order of arrival.
        channel: the column sent as `value`; None for all of several as `values`.
        mask_zeros: whether 0 is sent as null, a slot without a reading.
        limit: most readings sent; None for all.
    """

    events: Table
    channel: str | None
    mask_zeros: bool
    limit: int | None

    def __len__(self) -> int:
        num = len(self.events.times_ns)
        return num if self.limit is None else min(num, self.limit)

    def records(self, first: int, end: int) -> Iterator[SinkRecord]:
        """Readings first … end - 1 as records keyed by sensor, stamped with the time they are sent.

        (Stamped with their event time, history older than the topic's retention would be removed at once.)
        With a channel the file's other columns stand beside the value, for conditions to look at.
        """
        events = self.events
        ids = [events.ids[number] for number in events.series[first:end].tolist()]
        sent = events.channels if self.channel is None else (self.channel,)
        values = {name: self._values(name, first, end) for name in sent}
        beside = {
            name: column[first:end].tolist()
            for name, column in events.columns.items()
            if name not in sent and name not in ("sensor", "ts", "value", "values")
        }
        for number, (sensor, time_ns) in enumerate(zip(ids, events.times_ns[first:end].tolist(), strict=True)):
            body: dict[str, object] = {"sensor": sensor, "ts": _milliseconds(time_ns)}
            if self.channel is None:
                body["values"] = {name: column[number] for name, column in values.items()}
            else:
                body["value"] = values[self.channel][number]
            body.update((name, column[number]) for name, column in beside.items())
            yield SinkRecord(sensor.encode(), orjson.dumps(body))

    def _values(self, name: str, first: int, end: int) -> list[float | None]:
        column = np.asarray(self.events.columns[name][first:end], np.float64)
        is_none = ~np.isfinite(column) | ((column == 0) & self.mask_zeros)
        return [None if none else value for none, value in zip(is_none.tolist(), column.tolist(), strict=True)]


def play(script: Script, sink: Sink, speed: float, bar: Bar, clock: Clock) -> float:
    """Send everything, a reading no sooner than its event time allows at that speed; returns the seconds it took.

    Args:
        speed: seconds of event time in one of the clock's; infinite for no waiting.
    """
    started_s = clock.monotonic_s()
    newest_ns = np.maximum.accumulate(script.events.times_ns[: len(script)])
    due_s = np.zeros(len(script)) if math.isinf(speed) else (newest_ns - newest_ns[:1]) / 1e9 / speed
    sent = flushed = 0
    while sent < len(script):
        elapsed_s = clock.monotonic_s() - started_s
        end = min(int(np.searchsorted(due_s, elapsed_s, side="right")), sent + BATCH)
        if end <= sent:
            time.sleep(min(float(due_s[sent]) - elapsed_s, LONGEST_SLEEP_S))
            continue
        sink.write(list(script.records(sent, end)))
        bar.advance(end - sent)
        sent = end
        if sent - flushed >= READINGS_PER_FLUSH:
            sink.flush(FLUSH_TIMEOUT_S)
            flushed = sent
    sink.flush(FLUSH_TIMEOUT_S)
    return clock.monotonic_s() - started_s


def parse_speed(text: str) -> float:
    """`--speed`: `max`, or how many seconds of history pass in one.

    Raises:
        ConfigError: it is neither.
    """
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise ConfigError(
            f"--speed: {text!r} is no speed; wanted max, or a number above 0 such as 60 (an hour a minute)"
        )
    return speed


def chosen_channel(events: Table, channel: str | None) -> str | None:
    """The column sent as `value`: the one named, else the only one; None where there are several and none is named.

    Raises:
        TableError: there is no such channel.
    """
    if channel is not None or len(events.channels) < 2:
        return events.channel(channel)
    return None


def replay(  # noqa: PLR0913 (one argument per option)
    data: Annotated[
        Path,
        typer.Argument(
            help="history: CSV, Parquet or NPZ; long (unique_id, ds, y) or wide (time, then a column per sensor)"
        ),
    ],
    to: Annotated[str, typer.Option(metavar="URL", help=f"where to: {', '.join(f'{kind}://…' for kind in SINKS)}")],
    speed: Annotated[
        str, typer.Option(help="seconds of history sent in one second, such as 60; max for no waiting")
    ] = "max",
    channel: Annotated[
        str | None, typer.Option(help="which column to send as `value`; without it several are sent as `values`")
    ] = None,
    mask_zeros: Annotated[bool, typer.Option("--mask-zeros", help="send 0 as null: a slot without a reading")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="stop after this many readings")] = None,
    partitions: Annotated[int, typer.Option(min=1, help="of the topic, where it has to be created")] = 4,
    is_json: Annotated[bool, typer.Option("--json", help="print what was sent as JSON, and nothing else")] = False,
) -> None:
    """Send history to a topic as if it were live: JSON readings keyed by sensor, in order of arrival.

    Each record is stamped with the time it is sent (history older than the topic's retention would be removed at once).
    A topic that is missing is created:

        stream-engine replay metr_la.csv --to kafka://127.0.0.1:9092/readings --speed 60
    """
    rate = parse_speed(speed)
    events = read_table(data).as_events()
    script = Script(events, chosen_channel(events, channel), mask_zeros, limit)
    sink = open_sink(to)
    try:
        sink.open(partitions, OPEN_TIMEOUT_S)
        with shown_progress("replay", is_shown=not is_json) as bar:
            bar.expect(len(script))
            took_s = play(script, sink, rate, bar, SystemClock())
    finally:
        sink.close()
    num_sensors = len(np.unique(events.series[: len(script)]))
    if is_json:
        told = {"data": events.name, "to": to, "readings": len(script), "sensors": num_sensors, "seconds": took_s}
        typer.echo(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE), nl=False)
        return
    Console().print(
        f"sent {len(script):,} readings of {num_sensors:,} sensors from {data} to {to} in {took_s:.1f} s "
        f"({len(script) / max(took_s, 1e-9):,.0f} a second)",
        highlight=False,
        soft_wrap=True,
    )


def _milliseconds(time_ns: int) -> int | float:
    return time_ns // NS_PER_MS if time_ns % NS_PER_MS == 0 else time_ns / NS_PER_MS
