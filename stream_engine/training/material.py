"""What a training run learns from: histories of one or several files on common rows, and where to cut them.

I know nothing of models. Every sensor gets a number, 1 and up; one that stands in several files keeps its number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from connectors.file.read import read_table
from connectors.file.tables import Table
from stream_engine.backtest.history import ArrivalHistory, Choice, GridHistory, arrival_history, grid_history
from stream_engine.backtest.origins import parse_start_ns
from stream_engine.errors import ConfigError
from stream_engine.localtime import Calendar
from stream_engine.records import Bools, Float64s, Int64s

LEAST_ROWS = 96
"""Rows that must lie before the end of training; fewer hold nothing to learn."""
TRAIN_SHARE, VALID_SHARE = 0.7, 0.85
"""Where training and choosing end when nothing is said: shares of the rows."""
_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One file's history, ready to be replayed; values are absolute.

    Attributes:
        name: the data set's, as cards and scores call it.
        sensors: [N] ids; numbers: [N] int64, the sensors' numbers, 1 and up.
        times_ns: [T] strictly increasing; step_ns: from row to row.
        second_of_week: [T] float64, local.
        values: [T, N], NaN where there is no reading.
        train_end: rows below it are learned from; valid_end: rows from train_end to below it choose.
    """

    name: str
    sensors: tuple[str, ...]
    numbers: Int64s
    times_ns: Int64s
    step_ns: int
    second_of_week: Float64s
    values: Float64s
    train_end: int
    valid_end: int

    @property
    def has_reading(self) -> Bools:
        """[T, N]."""
        return ~np.isnan(self.values)


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where training and choosing end, as the command line spells it: a time or a row number; None for a share."""

    train_end: str | None = None
    valid_end: str | None = None


def read_parts(paths: Sequence[Path], choice: Choice, cuts: Cuts, calendar: Calendar) -> tuple[Part, ...]:
    """The files' histories.

    Raises:
        ConfigError, TableError: a file cannot be read as asked, or the cuts leave nothing to learn from.
    """
    numbers: dict[str, int] = {}
    parts = []
    for path in paths:
        table = read_table(path)
        rows = _rows(table, choice)
        for sensor in rows.sensors:
            numbers.setdefault(sensor, len(numbers) + 1)
        train_end, valid_end = _cut(path, rows.times_ns, cuts)
        if not np.isfinite(rows.values[:train_end]).any():
            raise ConfigError(f"{path} has no reading before the end of training; move --train-end, or mask less")
        parts.append(
            Part(
                name=table.name,
                sensors=rows.sensors,
                numbers=np.array([numbers[sensor] for sensor in rows.sensors], np.int64),
                times_ns=rows.times_ns,
                step_ns=rows.step_ns,
                second_of_week=calendar.second_of_week(rows.times_ns, rows.step_ns),
                values=rows.values,
                train_end=train_end,
                valid_end=valid_end,
            )
        )
    return tuple(parts)


def _rows(table: Table, choice: Choice) -> GridHistory:
    return grid_history(table, choice) if table.is_grid else on_rows(arrival_history(table, choice), table.path)


def on_rows(arrivals: ArrivalHistory, path: Path) -> GridHistory:
    """Readings one by one, each put on the nearest of regular rows; of two on one place the later arrival stands.

    Raises:
        ConfigError: no sensor has two readings, so there is no step from row to row.
    """
    if arrivals.step_ns <= 0:
        raise ConfigError(f"{path} has no sensor with two readings; wanted a history to learn from")
    first_ns, last_ns = arrivals.span_ns
    rows = (arrivals.times_ns - first_ns + arrivals.step_ns // 2) // arrivals.step_ns
    num_rows = int((last_ns - first_ns + arrivals.step_ns // 2) // arrivals.step_ns) + 1
    values = np.full((num_rows, len(arrivals.sensors)), np.nan)
    is_reading = np.isfinite(arrivals.values)
    values[rows[is_reading], arrivals.series[is_reading]] = arrivals.values[is_reading]
    times_ns = first_ns + np.arange(num_rows, dtype=np.int64) * arrivals.step_ns
    return GridHistory(arrivals.sensors, times_ns, values, arrivals.step_ns)


def _cut(path: Path, times_ns: Int64s, cuts: Cuts) -> tuple[int, int]:
    """Rows at which training and choosing end."""
    num_rows = len(times_ns)
    valid_end = _row("--valid-end", cuts.valid_end, times_ns)
    train_end = _row("--train-end", cuts.train_end, times_ns)
    if train_end is None:
        train_end = int(num_rows * TRAIN_SHARE) if valid_end is None else int(valid_end * TRAIN_SHARE / VALID_SHARE)
    if valid_end is None:
        valid_end = max(train_end, int(num_rows * VALID_SHARE)) if cuts.train_end is None else num_rows
    if train_end < LEAST_ROWS:
        raise ConfigError(
            f"{path} has {train_end} rows before the end of training; wanted at least {LEAST_ROWS}: give more "
            "history, or move --train-end"
        )
    if valid_end < train_end:
        raise ConfigError(f"--valid-end is row {valid_end} of {path}, before --train-end at row {train_end}")
    return train_end, valid_end


def _row(option: str, text: str | None, times_ns: Int64s) -> int | None:
    """The first row at or after a time, or the row itself; one past the last where the time is beyond them."""
    if text is None:
        return None
    if text.strip() == str(len(times_ns)):
        return len(times_ns)
    try:
        end_ns = parse_start_ns(text, times_ns)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--test-start", option)) from error
    return int(np.searchsorted(times_ns, end_ns))
