"""What in a history is likely not what its owner meant, as sentences that name the sensors.

I know nothing of files, models or scores.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.errors import ConfigError

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


def oddities(history: GridHistory | ArrivalHistory) -> list[str]:
    """Sensors without readings, sensors that never change, doubled times and times that run back."""
    found = []
    counts, is_constant = _counted(history)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        found.append(f"no reading at all, so no forecast: {_named(history.sensors, empty)}")
    constant = np.flatnonzero(is_constant)
    if len(constant):
        found.append(f"the value never changes: {_named(history.sensors, constant)}")
    if isinstance(history, ArrivalHistory):
        found += _order(history)
    return found


def _counted(history: GridHistory | ArrivalHistory) -> tuple[np.ndarray, np.ndarray]:
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


def _order(history: ArrivalHistory) -> list[str]:
    """Of readings in order of arrival: those that double another's time, and those that come late."""
    is_there = ~np.isnan(history.values)
    series, times_ns = history.series[is_there], history.times_ns[is_there]
    order = np.argsort(series, kind="stable")
    series, times_ns = series[order], times_ns[order]
    newest = _newest_before(series, times_ns)
    late, double = series[times_ns < newest], series[times_ns == newest]
    found = []
    if len(double):
        found.append(
            f"{len(double):,} readings at the time of the one before; the first counts: "
            f"{_named(history.sensors, np.unique(double))}"
        )
    if len(late):
        found.append(
            f"{len(late):,} readings older than one that came before them; dropped, as live: "
            f"{_named(history.sensors, np.unique(late))}"
        )
    return found


def _newest_before(series: np.ndarray, times_ns: np.ndarray) -> np.ndarray:
    """[n] the newest time among a series' entries before each, a very old one at its first; grouped by series."""
    nothing = np.iinfo(np.int64).min
    newest = np.full(len(times_ns), nothing)
    for part in np.split(np.arange(len(series)), np.flatnonzero(np.diff(series)) + 1):
        if len(part) > 1:
            newest[part[1:]] = np.maximum.accumulate(times_ns[part])[:-1]
    return newest


def _named(sensors: Sequence[str], numbers: np.ndarray) -> str:
    names = ", ".join(repr(sensors[number]) for number in numbers[:_MOST_NAMED].tolist())
    more = len(numbers) - _MOST_NAMED
    what = f"{len(numbers):,} sensor{'s' if len(numbers) != 1 else ''}"
    return f"{what}: {names}" + (f" and {more:,} more" if more > 0 else "")
