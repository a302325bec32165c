"""One value for every table of time series that a file can hold: `Table`.

I know nothing of file formats (`columnar` and `npz` read those), nor of what the numbers mean.

    dense    times_ns [rows], columns [rows, series]          one row per time, NaN (or "") where a series has none
    events   times_ns [n], series [n], columns [n]            one entry per row of the file, in arrival order

Both hold the same thing and turn into each other: `as_events` leaves the empty cells out, `as_grid` puts every entry on
its row (of two entries of one series and time the first stands).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.errors import ConnectorConfigError

Int64s = NDArray[np.int64]
Int32s = NDArray[np.int32]
Float64s = NDArray[np.float64]
Column = NDArray[np.generic]

VALUE = "value"
"""The channel of a table that has but one and does not name it (wide tables, NPZ grids)."""

_NO_SERIES = np.empty(0, np.int32)
_MOST_ROWS_PER_TIME = 10
"""Long data is no grid if so many rows would stand for each time that occurs: nearly all would be empty."""


class TableError(ConnectorConfigError):
    """A file that cannot be read as a table, or lacks a column that was asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Time series read from one file, dense or as events (see the module's head); arrays are not written to.

    Attributes:
        path: the file.
        ids: one name per series.
        times_ns: int64 UTC nanoseconds; [rows] when dense, else [n] in arrival order.
        series: [n] index into ids; empty when dense.
        columns: name -> [rows, series] when dense, else [n]; numbers, or text for conditions to look at.
        grid_times_ns: [rows] strictly increasing, the rows that `as_grid` has; empty where the table is no grid.
        step_ns: the usual time from one entry of a series to its next (median); 0 where no series has two.
    """

    path: Path
    ids: tuple[str, ...]
    times_ns: Int64s
    series: Int32s
    columns: Mapping[str, Column]
    grid_times_ns: Int64s
    step_ns: int

    @property
    def name(self) -> str:
        """The file's name without folder and endings."""
        return self.path.name.split(".", 1)[0]

    @property
    def is_dense(self) -> bool:
        """Whether the columns are [rows, series]."""
        return any(column.ndim == 2 for column in self.columns.values())

    @property
    def is_grid(self) -> bool:
        """Whether entries share rows: wide data, NPZ, or long data whose times are all multiples of one step."""
        return self.grid_times_ns.size > 0

    @property
    def channels(self) -> tuple[str, ...]:
        """The columns that hold numbers, in the file's order."""
        return tuple(name for name, column in self.columns.items() if column.dtype.kind in "iufb")

    def channel(self, wanted: str | None) -> str:
        """The channel asked for; with None the only one, else `y` or `value` where there is one.

        Raises:
            TableError: there is no such channel, or several and none is named.
        """
        known = self.channels
        if wanted is not None:
            if wanted in known:
                return wanted
            raise TableError(f"{self.path} has no channel {wanted!r}; it has {_listed(known)}")
        if len(known) == 1:
            return known[0]
        for usual in ("y", VALUE):
            if usual in known:
                return usual
        raise TableError(f"{self.path} has several channels ({_listed(known)}); choose one with --channel")

    def floats(self, channel: str) -> Float64s:
        """A channel's numbers as float64, shaped like the column."""
        return np.asarray(self.columns[channel], dtype=np.float64)

    def as_events(self) -> "Table":
        """The same entries one by one; a dense table's row by row, cells that are empty in every channel left out."""
        if not self.is_dense:
            return self
        is_present = np.zeros((len(self.times_ns), len(self.ids)), bool)
        for column in self.columns.values():
            is_present |= ~_empty(column)
        rows, series = np.nonzero(is_present)
        columns = {name: column[rows, series] for name, column in self.columns.items()}
        return Table(
            self.path,
            self.ids,
            self.times_ns[rows],
            series.astype(np.int32),
            columns,
            self.grid_times_ns,
            self.step_ns,
        )

    def as_grid(self) -> "Table":
        """The same entries on the rows `grid_times_ns`, dense.

        Raises:
            TableError: the table is no grid.
        """
        if not self.is_grid:
            raise TableError(f"{self.path} is no grid: its times are not all multiples of one step")
        if self.is_dense and len(self.times_ns) == len(self.grid_times_ns) and _is_increasing(self.times_ns):
            return self
        events = self.as_events()
        cells = np.searchsorted(self.grid_times_ns, events.times_ns) * len(self.ids) + events.series
        cells, first = np.unique(cells, return_index=True)
        columns = {name: self._in_cells(cells, column[first]) for name, column in events.columns.items()}
        return Table(self.path, self.ids, self.grid_times_ns, _NO_SERIES, columns, self.grid_times_ns, self.step_ns)

    def _in_cells(self, cells: Int64s, column: Column) -> Column:
        shape = (len(self.grid_times_ns), len(self.ids))
        if column.dtype.kind in "iufb":
            dense: Column = np.full(shape, np.nan, np.float32 if column.dtype.itemsize < 4 else np.float64)
        else:
            dense = np.full(shape, "", column.dtype)
        dense.reshape(-1)[cells] = column
        return dense


def dense_table(path: Path, ids: tuple[str, ...], times_ns: Int64s, columns: Mapping[str, Column]) -> Table:
    """A table of rows as they stand in the file: times_ns [rows] in any order, columns [rows, series]."""
    grid_times_ns = np.unique(times_ns)
    gaps = np.diff(grid_times_ns)
    step_ns = int(np.median(gaps)) if gaps.size else 0
    return Table(path, ids, times_ns, _NO_SERIES, columns, grid_times_ns, step_ns)


def event_table(
    path: Path,
    ids: tuple[str, ...],
    times_ns: Int64s,
    series: Int32s,
    columns: Mapping[str, Column],
    grid_times_ns: Int64s | None = None,
) -> Table:
    """A table of single entries in arrival order, all arrays [n]; the times tell the grid where none is given."""
    step_ns = _usual_gap_ns(times_ns, series)
    rows_ns = grid_times_ns if grid_times_ns is not None else _regular_rows_ns(times_ns, step_ns)
    return Table(path, ids, times_ns, series, columns, rows_ns, step_ns)


def numbered(names: Column) -> tuple[tuple[str, ...], Int32s]:
    """Names [n] as ids in order of first appearance, and each name's index [n]."""
    distinct, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return tuple(str(name) for name in distinct[order]), rank[inverse]


def _usual_gap_ns(times_ns: Int64s, series: Int32s) -> int:
    order = np.lexsort((times_ns, series))
    gaps = np.diff(times_ns[order])
    gaps = gaps[(np.diff(series[order]) == 0) & (gaps > 0)]
    return int(np.median(gaps)) if gaps.size else 0


def _regular_rows_ns(times_ns: Int64s, step_ns: int) -> Int64s:
    """Every multiple of step_ns from the first to the last time, or nothing where some time is none."""
    none = np.empty(0, np.int64)
    if step_ns <= 0:
        return none
    first, last = int(times_ns.min()), int(times_ns.max())
    if np.any((times_ns - first) % step_ns):
        return none
    num_rows = (last - first) // step_ns + 1
    if num_rows > _MOST_ROWS_PER_TIME * len(np.unique(times_ns)):
        return none
    return first + np.arange(num_rows, dtype=np.int64) * step_ns


def _empty(column: Column) -> NDArray[np.bool_]:
    if column.dtype.kind == "f":
        return np.isnan(column)
    return np.zeros(column.shape, bool) if column.dtype.kind in "iub" else column == ""


def _is_increasing(times_ns: Int64s) -> bool:
    return bool(np.all(np.diff(times_ns) > 0))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names) or "none"
