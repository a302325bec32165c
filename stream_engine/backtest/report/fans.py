"""Stretches of forecasts to draw, read back from the forecast file so that nothing is held while a backtest runs.

I know nothing of pages. A stretch is some forecasts end to end: each starts where the one before has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet

from stream_engine.backtest.report.found import Found
from stream_engine.records import Float64s, Int64s

_STEPS_SHOWN = 84
_MOST_FANS = 42
_ORIGINS_SEARCHED = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """One forecast.

    Attributes:
        origin_ns: its origin.
        times_ns, median, low, high: [leads with a truth].
    """

    origin_ns: int
    times_ns: Int64s
    median: Float64s
    low: Float64s
    high: Float64s


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Forecasts of one sensor, end to end, with its readings before and beside them.

    Attributes:
        sensor: its number. place: among the sensors. kind: "typical" or "hard".
        times_ns, values: its readings.
        fans: in order of origin.
        mae: over the fans.
    """

    sensor: int
    place: str
    kind: str
    times_ns: Int64s
    values: Float64s
    fans: tuple[Fan, ...]
    mae: float


@dataclass(frozen=True, slots=True, eq=False)
class _Forecasts:
    """Forecasts of one sensor by origin; forecast k is the rows starts[k] to starts[k + 1]."""

    origins_ns: Int64s
    starts: Int64s
    columns: dict[str, np.ndarray]
    errors: Float64s


def stretches(found: Found, path: Path, model: str) -> tuple[Stretch, ...]:
    """The stretches that are drawn: of each portrayed sensor a typical one, and a hard one where sensors are few."""
    portrayed = found.portrayed()
    read = _read(found, path, model, [sensor for _, sensor in portrayed])
    made: list[Stretch] = []
    for place, sensor in portrayed:
        if not len(read[sensor].origins_ns):
            continue
        made.append(_stretch(found, sensor, place, read[sensor], "typical"))
        if len(portrayed) < 3:
            made.append(_stretch(found, sensor, place, read[sensor], "hard"))
    return tuple(made)


def _read(found: Found, path: Path, model: str, sensors: Sequence[int]) -> dict[int, _Forecasts]:
    """The newest forecasts of some sensors, in one pass over the file."""
    names = ["ds", "cutoff", "y", model, f"{model}-lo-80", f"{model}-hi-80"]
    oldest_ns = found.breakdown.last_origin_ns - _ORIGINS_SEARCHED * found.history.step_ns
    wanted = {found.history.sensors[sensor]: sensor for sensor in sensors}
    parts: dict[int, list[list[np.ndarray]]] = {sensor: [[np.zeros(0)] * 6] for sensor in sensors}
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(1 << 17, columns=["unique_id", *names], use_threads=False):
            ids, codes = batch.column(0).dictionary.to_pylist(), batch.column(0).indices.to_numpy()
            is_new = batch.column(2).cast("int64").to_numpy() >= oldest_ns
            for code, name in enumerate(ids):
                if name in wanted:
                    is_there = is_new & (codes == code)
                    times = [batch.column(n).cast("int64").to_numpy()[is_there] for n in (1, 2)]
                    rest = [batch.column(n).to_numpy()[is_there].astype(np.float64) for n in (3, 4, 5, 6)]
                    parts[wanted[name]].append([*times, *rest])
    return {
        sensor: _by_origin([np.concatenate(one) for one in zip(*part, strict=True)]) for sensor, part in parts.items()
    }


def _by_origin(joined: Sequence[np.ndarray]) -> _Forecasts:
    columns = dict(zip(("ds", "cutoff", "y", "median", "low", "high"), joined, strict=True))
    columns = {name: one.astype(np.int64) if name in ("ds", "cutoff") else one for name, one in columns.items()}
    order = np.lexsort((columns["ds"], columns["cutoff"]))
    columns = {name: column[order] for name, column in columns.items()}
    origins_ns, starts = np.unique(columns["cutoff"], return_index=True)
    starts = np.append(starts, len(order))
    errors = np.abs(columns["y"] - columns["median"])
    means = np.add.reduceat(errors, starts[:-1]) / np.diff(starts) if len(origins_ns) else np.zeros(0)
    return _Forecasts(origins_ns, starts, columns, means)


def _stretch(found: Found, sensor: int, place: str, forecasts: _Forecasts, kind: str) -> Stretch:
    num_fans = int(np.clip(round(_STEPS_SHOWN / found.horizon), 2, _MOST_FANS))
    chains = _chains(found, forecasts, num_fans)
    errors = np.array([np.mean(forecasts.errors[chain]) for chain in chains])
    # typical: as far off as the sensor is on the whole; hard: worse than nine of ten
    wanted = float(np.mean(forecasts.errors)) if kind == "typical" else float(np.quantile(errors, 0.9))
    chain = chains[int(np.argmin(np.abs(errors - wanted)))]
    fans = tuple(_fan(forecasts, number) for number in chain)
    times_ns, values = found.history.of(sensor)
    first_ns = fans[0].origin_ns - max(found.horizon, 12) * found.history.step_ns
    shown = slice(*np.searchsorted(times_ns, [first_ns, int(fans[-1].times_ns[-1]) + 1]).tolist())
    mae = float(np.mean(forecasts.errors[chain]))
    return Stretch(sensor, place, kind, times_ns[shown], values[shown], fans, mae)


def _chains(found: Found, forecasts: _Forecasts, num_fans: int) -> list[list[int]]:
    """Forecasts end to end, from some 400 places on; the longest one where none is as long as wanted."""
    ends_ns = forecasts.columns["ds"][forecasts.starts[1:] - 1]
    origins_ns, num = forecasts.origins_ns, len(forecasts.origins_ns)
    following = np.maximum(np.searchsorted(origins_ns, ends_ns), np.arange(num) + 1)
    longest_gap_ns = 2 * found.horizon * found.history.step_ns
    whole: list[list[int]] = []
    best: list[int] = []
    for first in range(0, num, max(1, num // 400)):
        chain = [first]
        while len(chain) < num_fans:
            after = int(following[chain[-1]])
            if after >= num or origins_ns[after] - ends_ns[chain[-1]] > longest_gap_ns:
                break
            chain.append(after)
        if len(chain) == num_fans:
            whole.append(chain)
        best = max(best, chain, key=len)
    return whole or [best]


def _fan(forecasts: _Forecasts, number: int) -> Fan:
    rows = slice(int(forecasts.starts[number]), int(forecasts.starts[number + 1]))
    columns = forecasts.columns
    return Fan(
        int(forecasts.origins_ns[number]),
        columns["ds"][rows],
        columns["median"][rows],
        columns["low"][rows],
        columns["high"][rows],
    )
