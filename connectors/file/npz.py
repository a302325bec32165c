"""NPZ files -> `Table`: grids, scaled integers, and events with several channels.

    values [T, N], timestamps [T], sensor_ids [N]           a grid of numbers
    q [T, N], scale, timestamps, sensor_ids                 the same as integers times scale; the smallest means "none"
    sensor [E], slot [E], t0, step, n_slots, sensor_ids,    entries in arrival order with fields [E], t0 + slot * step
    sensor [E], time_ms [E], sensor_ids,                    the same, at time_ms

Times are epoch seconds where no unit is named. I know nothing of other formats, nor of what the numbers mean.
No pickled object is ever loaded.
"""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connectors.file.tables import VALUE, Column, Int64s, Table, TableError, dense_table, event_table
from connectors.file.times import NS_PER_S, TimeSpellingError, epoch_ns

_FORMS = "values (or q + scale) + timestamps + sensor_ids, or sensor + slot + t0 + step (or time_ms) + sensor_ids"
_ANY_OF_EVENTS = {"sensor", "slot", "time_ms", "t0", "step", "n_slots", "sensor_ids"}


def read_npz(path: Path) -> Table:
    """The table that an NPZ file holds.

    Raises:
        TableError: it is no NPZ file, holds none of the known forms, or its arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TableError(f"{path} cannot be read as NPZ: {error}") from error
    try:
        return _table(path, arrays)
    except KeyError as error:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise TableError(f"{path} has no array {error.args[0]!r} (found {found}); wanted {_FORMS}") from error
    except TimeSpellingError as error:
        raise TableError(f"{path}: {error}") from error


def _table(path: Path, arrays: dict[str, Column]) -> Table:
    if "sensor" in arrays:
        return _events(path, arrays)
    values = _scaled(path, arrays) if "q" in arrays else _numbers(path, arrays["values"])
    ids = tuple(str(name) for name in arrays["sensor_ids"])
    times_ns = epoch_ns(arrays["timestamps"])
    if values.shape != (len(times_ns), len(ids)):
        raise TableError(
            f"{path}: values have shape {values.shape}, wanted {(len(times_ns), len(ids))} (timestamps, sensor_ids)"
        )
    return dense_table(path, ids, times_ns, {VALUE: values})


def _numbers(path: Path, values: Column) -> Column:
    if values.dtype.kind not in "iuf":
        raise TableError(f"{path}: values are of type {values.dtype}, wanted numbers")
    return values


def _scaled(path: Path, arrays: dict[str, Column]) -> NDArray[np.float32]:
    q = arrays["q"]
    if q.dtype.kind != "i":
        raise TableError(f"{path}: q is of type {q.dtype}, wanted signed integers")
    values: NDArray[np.float32] = (q.astype(np.float64) * float(arrays["scale"])).astype(np.float32)
    values[q == np.iinfo(q.dtype.str).min] = np.nan
    return values


def _events(path: Path, arrays: dict[str, Column]) -> Table:
    series = arrays["sensor"].astype(np.int32)
    ids = tuple(str(name) for name in arrays["sensor_ids"])
    times_ns, rows_ns = _event_times(arrays)
    fields = {
        name: array for name, array in arrays.items() if name not in _ANY_OF_EVENTS and array.shape == series.shape
    }
    if not fields or times_ns.shape != series.shape or not series.size:
        raise TableError(f"{path} has events without a time and a field of numbers each; wanted {_FORMS}")
    if series.min() < 0 or series.max() >= len(ids):
        raise TableError(f"{path}: sensor {int(series.max())} is beyond the {len(ids)} sensor_ids")
    return event_table(path, ids, times_ns, series, fields, rows_ns)


def _event_times(arrays: dict[str, Column]) -> tuple[Int64s, Int64s]:
    """Each event's time [E] and the rows of the grid."""
    if "slot" not in arrays:
        times_ns = arrays["time_ms"].astype(np.int64) * (NS_PER_S // 1_000)
        return times_ns, np.unique(times_ns)
    slot = arrays["slot"].astype(np.int64)
    first_ns, step_ns = int(arrays["t0"]) * NS_PER_S, int(arrays["step"]) * NS_PER_S
    num_slots = int(arrays["n_slots"]) if "n_slots" in arrays else int(slot.max(initial=0)) + 1
    return first_ns + slot * step_ns, first_ns + np.arange(num_slots, dtype=np.int64) * step_ns
