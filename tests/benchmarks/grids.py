"""Reads the sets of ../shared/data as grids, ready to be streamed row by row through a model.

I know nothing of models or scores.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[3] / "shared" / "data"
DAY_S, WEEK_S = 86400, 604800
NUM_LEADS = 12


@dataclass(frozen=True, slots=True)
class Grid:
    """One set: readings by row, truths by tick of the set's cadence.

    Attributes:
        readings: [rows, sensors] float64, NaN where the sensor has no reading.
        times_s: [rows] int64, wall clock as if it were UTC.
        cadence_s: the median step of the rows.
        ticks: [rows] int64, each row's tick; never decreasing.
        truths: [ticks + NUM_LEADS, sensors] float64, NaN where there is nothing to score.
        first_origin: first row whose forecasts count.
    """

    name: str
    readings: NDArray[np.float64]
    times_s: NDArray[np.int64]
    cadence_s: float
    ticks: NDArray[np.int64]
    truths: NDArray[np.float64]
    first_origin: int

    @property
    def season_ticks(self) -> int:
        """Ticks of a day, or of a week where the cadence is a day."""
        season_s = WEEK_S if self.cadence_s >= DAY_S else DAY_S
        return max(1, round(season_s / self.cadence_s))


def loader() -> ModuleType:
    """The module load.py beside the data."""
    spec = importlib.util.spec_from_file_location("shared_data_load", DATA / "load.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{DATA / 'load.py'} is missing; the development data belong in {DATA}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_grid(name: str, max_sensors: int = 0, max_rows: int = 0, first_origin: int = -1) -> Grid:
    """One set; aarhus_speed keeps only the readings with a vehicle (mask B), zeros that mean "no reading" are gaps.

    Args:
        max_sensors: that many sensors, evenly spaced; 0 for all.
        max_rows: the first rows only; 0 for all.
        first_origin: first row scored; -1 for the first row after a day (14 days of daily data).
    """
    load = loader()
    readings, times_s, _ = load.load(name, mask_zeros=True)
    if name == "aarhus_speed":
        count, _, _ = load.load("aarhus_count")
        readings = np.where(count > 0, readings, np.nan)
    if max_rows:
        readings, times_s = readings[:max_rows], times_s[:max_rows]
    if max_sensors and readings.shape[1] > max_sensors:
        readings = readings[:, np.linspace(0, readings.shape[1] - 1, max_sensors).round().astype(int)]
    readings = readings.astype(np.float64)
    cadence_s = float(np.median(np.diff(times_s)))
    ticks = np.round((times_s - times_s[0]) / cadence_s).astype(np.int64)
    truths = np.full((int(ticks[-1]) + 1 + NUM_LEADS, readings.shape[1]), np.nan)
    for row, tick in enumerate(ticks):
        truths[tick] = np.where(np.isnan(readings[row]), truths[tick], readings[row])
    if first_origin < 0:
        wait_s = 14 * DAY_S if cadence_s >= DAY_S else DAY_S
        first_origin = int(np.searchsorted(times_s, times_s[0] + wait_s))
    return Grid(name, readings, times_s, cadence_s, ticks, truths, first_origin)


def targets(grid: Grid, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Truths at leads 1 ... NUM_LEADS of the given rows, [rows, sensors, leads]."""
    ticks = grid.ticks[rows][:, None] + np.arange(1, NUM_LEADS + 1)
    return np.moveaxis(grid.truths[ticks], 1, 2)


def persistence(grid: Grid) -> NDArray[np.float64]:
    """The last reading at every row, [rows, sensors]; NaN before the first."""
    last = grid.readings.copy()
    for row in range(1, len(last)):
        last[row] = np.where(np.isnan(last[row]), last[row - 1], last[row])
    return last


def seasonal_naive(grid: Grid) -> NDArray[np.float64]:
    """The latest value of each phase of the season, known at each tick, [ticks + NUM_LEADS, sensors]."""
    season = grid.season_ticks
    latest = grid.truths.copy()
    for tick in range(season, len(latest)):
        latest[tick] = np.where(np.isnan(latest[tick]), latest[tick - season], latest[tick])
    return latest


def seasonal_forecasts(grid: Grid, latest: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the seasonal naive says at leads 1 ... NUM_LEADS of the given rows, [rows, sensors, leads]."""
    leads = np.arange(1, NUM_LEADS + 1)
    season = grid.season_ticks
    ticks = grid.ticks[rows][:, None] + leads - season * np.ceil(leads / season).astype(int)
    said = np.where((ticks >= 0)[..., None], latest[np.maximum(ticks, 0)], np.nan)
    return np.moveaxis(said, 1, 2)
