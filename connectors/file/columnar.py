"""CSV and Parquet files -> `Table`, long or wide, told apart by the header.

    long   unique_id, ds, then one column per channel (`y` where there is but one); text columns are kept for conditions
    wide   first column time, then one column of numbers per series

I know nothing of NPZ, nor of what the numbers mean. All reading is left to Arrow.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from connectors.file.tables import VALUE, Column, Table, TableError, dense_table, event_table, numbered
from connectors.file.times import TimeSpellingError, column_ns

ID, TIME = "unique_id", "ds"

_ALONE = pyarrow.csv.ReadOptions(use_threads=False)


def read_csv(path: Path) -> Table:
    """The table that a CSV file (also compressed: `.csv.gz`) holds.

    Raises:
        TableError: it cannot be parsed, or is neither long nor wide.
    """
    options = pyarrow.csv.ConvertOptions(column_types={ID: pa.string()})  # ids stay the text they are ("007")
    try:
        table = pyarrow.csv.read_csv(path, _ALONE, convert_options=options)
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{path} cannot be read as CSV: {error}") from error
    return _table(path, table)


def read_parquet(path: Path) -> Table:
    """The table that a Parquet file holds; a time index saved by pandas stands for the first column.

    Raises:
        TableError: it cannot be read, or is neither long nor wide.
    """
    try:
        table = pyarrow.parquet.read_table(path, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise TableError(f"{path} cannot be read as Parquet: {error}") from error
    return _table(path, _with_index_first(table))


def _with_index_first(table: pa.Table) -> pa.Table:
    saved = (table.schema.pandas_metadata or {}).get("index_columns", [])
    index = [name for name in saved if isinstance(name, str) and name in table.column_names]
    return table.select(index + [name for name in table.column_names if name not in index])


def _table(path: Path, table: pa.Table) -> Table:
    names = table.column_names
    if not table.num_rows or len(names) < 2:
        raise TableError(
            f"{path} has {table.num_rows} rows and {len(names)} columns; wanted a time and at least one value a row"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TableError(f"{path} has the column {twice!r} twice; wanted distinct names")
    try:
        return _long(path, table) if ID in names else _wide(path, table)
    except TimeSpellingError as error:
        hint = f"long data has {ID}, {TIME}, y; wide data has the time in its first column"
        raise TableError(f"{path}: {error} ({hint})") from error
    except pa.ArrowException as error:
        raise TableError(f"{path} has a column that cannot be read: {error}") from error


def _long(path: Path, table: pa.Table) -> Table:
    if TIME not in table.column_names:
        raise TableError(
            f"{path} has {ID} but no column {TIME!r} (found {', '.join(table.column_names)}); name the time {TIME}"
        )
    if table.column(ID).null_count:
        raise TableError(f"{path} has rows without {ID}; every row of long data names its series")
    columns = {name: _column(table.column(name)) for name in table.column_names if name not in (ID, TIME)}
    if not any(column.dtype.kind in "iufb" for column in columns.values()):
        raise TableError(f"{path} has no column of numbers beside {ID} and {TIME}{_first_text(columns)}")
    ids, series = numbered(table.column(ID).cast(pa.string()).to_numpy().astype(str))
    return event_table(path, ids, column_ns(table.column(TIME)), series, columns)


def _wide(path: Path, table: pa.Table) -> Table:
    times_ns = column_ns(table.column(0))
    ids = tuple(table.column_names[1:])
    values = np.empty((table.num_rows, len(ids)))
    for number, name in enumerate(ids):
        column = _column(table.column(name))
        if column.dtype.kind not in "iufb":
            raise TableError(
                f"{path} is wide, but its column {name!r} is not all numbers{_first_text({name: column})}; "
                f"or name the columns {ID}, {TIME}, y"
            )
        values[:, number] = column
    return dense_table(path, ids, times_ns, {VALUE: values})


def _first_text(columns: Mapping[str, Column]) -> str:
    """What stands in the way of numbers, as the end of a sentence: the first text in the first column that is none."""
    for name, column in columns.items():
        for row, text in enumerate(column.tolist()):
            try:
                float(text or "nan")
            except ValueError:
                return f": row {row} of {name!r} holds {text!r}, wanted a number or nothing"
    return f"; wanted {ID}, {TIME}, y"


def _column(column: pa.ChunkedArray) -> Column:
    """Numbers as they are (an empty column and missing numbers as NaN), everything else as text ("" where missing)."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_boolean(kind):
        return np.asarray(column.cast(pa.int8()).to_numpy())
    if pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy())
    return np.asarray(column.cast(pa.string()).fill_null("").to_numpy(), dtype=np.str_)
