"""What in a history is likely not what its owner meant, as sentences that name the sensors.

I know nothing of files, models or scores.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.file.tables import Table
from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.backtest.report.wording import counted
from stream_engine.errors import ConfigError
from stream_engine.records import Bools, Int64s

Ints = NDArray[np.signedinteger]

_MOST_NAMED = 5


def check_readings(history: GridHistory | ArrivalHistory, path: Path) -> None:
    """Refuse a history without a single reading.

    Raises:
        ConfigError: it has none.
    """
    if not np.isfinite(history.values).any():
        raise ConfigError(
            f"{path} has no reading that counts in {history.values.size:,} cells; look at --channel, --mask-zeros "
            "and --valid-where"
        )


def oddities(history: GridHistory | ArrivalHistory, table: Table) -> list[str]:
    """Sensors without readings, sensors that never change, doubled times and times that run back.

    Args:
        table: what the history was taken from, where a grid no longer shows the order of its file.
    """
    found = []
    counts, is_constant = _counted(history)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        found.append(f"no reading at all, so no forecast: {_named(history.sensors, empty)}")
    constant = np.flatnonzero(is_constant)
    if len(constant):
        found.append(f"the value never changes: {_named(history.sensors, constant)}")
    if isinstance(history, ArrivalHistory):
        is_there = ~np.isnan(history.values)
        late, double = _out_of_order(history.series[is_there], history.times_ns[is_there])
        fate = "dropped, as live"
    elif table.is_dense:
        late, double = _out_of_order(np.zeros(len(table.times_ns), np.int64), table.times_ns)
        return found + _rows(len(late), len(double))
    else:
        late, double = _out_of_order(table.series, table.times_ns)
        fate = "put in order, as on every grid"
    if len(double):
        what = f"{counted(len(double), 'reading')} at a time that had one before; the first counts"
        found.append(f"{what}: {_named(history.sensors, np.unique(double))}")
    if len(late):
        what = f"{counted(len(late), 'reading')} older than one before in the file; {fate}"
        found.append(f"{what}: {_named(history.sensors, np.unique(late))}")
    return found


def _counted(history: GridHistory | ArrivalHistory) -> tuple[Ints, Bools]:
    """Readings of each sensor, and whether it has several that are all equal."""
    num = len(history.sensors)
    if isinstance(history, GridHistory):
        row, series = np.nonzero(~np.isnan(history.values))
        values = history.values[row, series]
    else:
        is_there = ~np.isnan(history.values)
        series, values = history.series[is_there], history.values[is_there]
    lowest, highest = np.full(num, np.inf), np.full(num, -np.inf)
    np.minimum.at(lowest, series, values)
    np.maximum.at(highest, series, values)
    counts = np.bincount(series, minlength=num)
    return counts, (counts > 1) & (lowest == highest)


def _out_of_order(series: Ints, times_ns: Ints) -> tuple[Ints, Ints]:
    """Series of the entries that are older than one before, and of those at the time of one before."""
    doubles = np.lexsort((times_ns, series))
    is_double = (np.diff(series[doubles]) == 0) & (np.diff(times_ns[doubles]) == 0)
    order = np.argsort(series, kind="stable")
    newest = _newest_before(series[order], times_ns[order])
    late = series[order][times_ns[order] < newest]
    return late, series[doubles][1:][is_double]


def _rows(num_late: int, num_double: int) -> list[str]:
    found = []
    if num_double:
        found.append(
            f"{counted(num_double, 'row')} at a time that had one before; in each cell the first reading counts"
        )
    if num_late:
        found.append(f"{counted(num_late, 'row')} older than one before in the file; put in order, as on every grid")
    return found


def _newest_before(series: Ints, times_ns: Ints) -> Int64s:
    """[n] the newest time among a series' entries before each, a very old one at its first; grouped by series."""
    nothing = np.iinfo(np.int64).min
    newest = np.full(len(times_ns), nothing)
    for part in np.split(np.arange(len(series)), np.flatnonzero(np.diff(series)) + 1):
        if len(part) > 1:
            newest[part[1:]] = np.maximum.accumulate(times_ns[part])[:-1]
    return newest


def _named(sensors: Sequence[str], numbers: Ints) -> str:
    names = ", ".join(repr(sensors[number]) for number in numbers[:_MOST_NAMED].tolist())
    more = len(numbers) - _MOST_NAMED
    return f"{counted(len(numbers), 'sensor')}: {names}" + (f" and {more:,} more" if more > 0 else "")
