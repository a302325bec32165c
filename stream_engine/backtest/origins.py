"""Which rows of a grid are forecast origins, and at which rows their truths stand.

I know nothing of values, models or scores: times in, row numbers out.
"""

from dataclasses import dataclass

import numpy as np

from connectors.file.times import TimeSpellingError, parse_time_ns
from stream_engine.backtest.nearest import nearest_rows
from stream_engine.errors import ConfigError
from stream_engine.records import Int64s


@dataclass(frozen=True, slots=True, eq=False)
class Origins:
    """Forecast origins in order of time.

    Attributes:
        rows: [m] rows after which every sensor is asked.
        target_rows: [m, horizon] row nearest to origin + h * step and within half a step; -1 where the grid has
            a gap there. On a grid without gaps it is the origin's row + h.
    """

    rows: Int64s
    target_rows: Int64s

    def __len__(self) -> int:
        return len(self.rows)


def grid_origins(times_ns: Int64s, step_ns: int, horizon: int, start_ns: int | None) -> Origins:
    """Every row from start_ns on whose last lead is not beyond the grid's end.

    Args:
        times_ns: [T] strictly increasing, of the rows.
        start_ns: time of the first origin; None for the first row.
    """
    rows = np.arange(len(times_ns))
    if start_ns is not None:
        rows = rows[times_ns >= start_ns]
    rows = rows[times_ns[rows] + horizon * step_ns <= times_ns[-1] + step_ns // 2]
    wanted_ns = times_ns[rows][:, None] + np.arange(1, horizon + 1) * step_ns
    return Origins(rows, nearest_rows(times_ns, wanted_ns, step_ns // 2))


def parse_start_ns(text: str, grid_times_ns: Int64s) -> int:
    """`--test-start`: a row number of the time grid, whose time is meant, or a time itself.

    A whole number below the number of rows is a row; any other is an epoch.

    Raises:
        ConfigError: it is neither, or lies beyond the data.
    """
    if text.strip().isdigit() and int(text) < len(grid_times_ns):
        return int(grid_times_ns[int(text)])
    try:
        start_ns = parse_time_ns(text)
    except TimeSpellingError as error:
        raise ConfigError(
            f"--test-start: {text!r} is no time; wanted RFC 3339, an epoch, or a row number of the time grid"
        ) from error
    if text.strip().isdigit() and len(grid_times_ns) and start_ns < grid_times_ns[0]:
        raise ConfigError(
            f"--test-start: the time grid has no row {text.strip()}; its rows are 0 to {len(grid_times_ns) - 1}"
        )
    return start_ns
