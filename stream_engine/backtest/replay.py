"""Replays history through an engine and hands each forecast on once its truths have arrived.

I know nothing of how forecasts are made or scored. The engine is shown readings only, in their order; a forecast is
judged after the rows (or readings) that hold its truths have been shown too, so no forecast can have seen its truth.

    grid       row by row in event time: fold the whole row, ask every sensor, judge what has come true; the engine is
               handed a lot of rows at a time
    arrivals   in order of arrival, in batches: every forecast that the live engine would send
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from stream_engine.backtest.engine import Answers
from stream_engine.backtest.history import ArrivalHistory, GridHistory
from stream_engine.backtest.nearest import NONE, SeriesTimes
from stream_engine.backtest.origins import Origins
from stream_engine.backtest.scores import Judged
from stream_engine.records import QUANTILE_LEVELS, Float64s, Int64s

MOST_ROWS = 2048
MOST_LEADS = 500_000
"""Of a lot: rows, and leads forecast, so that long horizons of many sensors take little memory."""
READINGS_PER_BATCH = 4096


class Forecaster(Protocol):
    """What a replay needs of an engine; `engine.ReplayEngine` is the one."""

    def step(self, series: Int64s, times_ns: Int64s, values: Float64s) -> list[Answers]:
        """Fold readings [n] in order; the forecasts made at them, `entries` being numbers of readings."""

    def step_rows(self, times_ns: Int64s, values: Float64s, are_asked: bool) -> list[Answers]:
        """Fold rows [r, N] in order; the forecasts made at them, `entries` being row * N + sensor.

        Where are_asked, also of sensors without a reading at a row.
        """


class GridForecasts(Protocol):
    """Baselines on a grid."""

    def forecast(self, rows: Int64s) -> dict[str, Float64s]:
        """name -> [b, N, horizon] from these origin rows [b], which come in order."""


class ArrivalForecasts(Protocol):
    """Baselines at single readings."""

    def forecast(self, arrivals: Int64s, cadences_ns: Int64s) -> dict[str, Float64s]:
        """name -> [b, horizon] from the readings of these numbers [b], which come in order."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told how the replay goes on.

    Attributes:
        judge: takes forecasts beside their truths, in order of origin.
        advance: takes the number of rows (or readings) just shown.
    """

    judge: Callable[[Judged], None]
    advance: Callable[[int], None] = field(default=lambda _: None)


def replay_grid(
    history: GridHistory,
    origins: Origins,
    forecaster: Forecaster,
    baselines: Sequence[GridForecasts],
    listener: Listener,
) -> None:
    """Show every row up to the last truth; forecast all sensors from each origin."""
    if not len(origins):
        return
    waiting: deque[_Lot] = deque()
    first, end = int(origins.rows[0]), int(origins.rows[-1]) + 1
    most = rows_of_lot(len(history.sensors), origins.target_rows.shape[1])
    for start in range(0, first, most):
        stop = min(start + most, first)
        forecaster.step_rows(history.times_ns[start:stop], history.values[start:stop], are_asked=False)
        listener.advance(stop - start)
    for start in range(first, end, most):
        stop = min(start + most, end)
        waiting.append(_forecast_rows(history, origins, slice(start - first, stop - first), forecaster))
        listener.advance(stop - start)
        while waiting and waiting[0].last_target < stop:
            listener.judge(_judged_rows(history, origins, waiting.popleft(), baselines))
    forecaster.step_rows(history.times_ns[end:], history.values[end:], are_asked=False)
    listener.advance(len(history.times_ns) - end)
    for lot in waiting:
        listener.judge(_judged_rows(history, origins, lot, baselines))


def rows_of_lot(num_sensors: int, horizon: int) -> int:
    """How many rows the engine is handed at a time."""
    return min(MOST_ROWS, max(1, MOST_LEADS // (num_sensors * horizon)))


@dataclass(frozen=True, slots=True, eq=False)
class _Lot:
    """Forecasts from some origins that wait for their truths.

    Attributes:
        origins: numbers of the origins.
        last_target: the row that holds the last of the truths.
        mean: [b * N, horizon]. quantiles: [b * N, levels, horizon]. NaN for a sensor never heard of.
    """

    origins: Int64s
    last_target: int
    mean: Float64s
    quantiles: Float64s


def _forecast_rows(history: GridHistory, origins: Origins, lot: slice, forecaster: Forecaster) -> _Lot:
    rows, targets = origins.rows[lot], origins.target_rows[lot]
    num_sensors, horizon = len(history.sensors), targets.shape[1]
    mean = np.full((len(rows) * num_sensors, horizon), np.nan)
    quantiles = np.full((len(mean), len(QUANTILE_LEVELS), horizon), np.nan)
    for answers in forecaster.step_rows(history.times_ns[rows], history.values[rows], are_asked=True):
        mean[answers.entries], quantiles[answers.entries] = answers.mean, answers.quantiles
    return _Lot(np.arange(lot.start, lot.stop), int(targets.max()), mean, quantiles)


def _judged_rows(history: GridHistory, origins: Origins, lot: _Lot, baselines: Sequence[GridForecasts]) -> Judged:
    """One forecast for each origin and sensor, in that order."""
    rows, targets = origins.rows[lot.origins], origins.target_rows[lot.origins]
    num_sensors, horizon = len(history.sensors), targets.shape[1]
    truths = np.where((targets == NONE)[:, :, None], np.nan, history.values[targets]).transpose(0, 2, 1)
    targets_ns = np.broadcast_to(history.times_ns[targets][:, None], (len(rows), num_sensors, horizon))
    return Judged(
        series=np.tile(np.arange(num_sensors), len(rows)),
        origins_ns=np.repeat(history.times_ns[rows], num_sensors),
        targets_ns=targets_ns.reshape(-1, horizon),
        truths=truths.reshape(-1, horizon),
        mean=lot.mean,
        quantiles=lot.quantiles,
        baselines={name: point.reshape(-1, horizon) for one in baselines for name, point in one.forecast(rows).items()},
    )


def replay_arrivals(
    history: ArrivalHistory,
    start_ns: int | None,
    forecaster: Forecaster,
    baselines: Sequence[ArrivalForecasts],
    listener: Listener,
) -> None:
    """Show every reading in order of arrival; judge the forecasts from origins at start_ns or later.

    The truth of a lead is the sensor's reading nearest to the target time, within half a cadence; it is looked up in
    the history, which the engine never sees. Origins whose last lead lies beyond the newest reading are not judged.
    """
    readings = history.readings()
    _, newest_ns = history.span_ns
    for start in range(0, len(history.times_ns), READINGS_PER_BATCH):
        stop = min(start + READINGS_PER_BATCH, len(history.times_ns))
        shown = slice(start, stop)
        for answers in forecaster.step(history.series[shown], history.times_ns[shown], history.values[shown]):
            last_ns = answers.origins_ns + answers.mean.shape[1] * answers.cadences_ns
            is_judged = last_ns <= newest_ns + answers.cadences_ns // 2
            if start_ns is not None:
                is_judged &= answers.origins_ns >= start_ns
            if is_judged.any():
                chosen = answers.only(is_judged)
                listener.judge(_judged_readings(history, readings, start + chosen.entries, chosen, baselines))
        listener.advance(stop - start)


def _judged_readings(
    history: ArrivalHistory,
    readings: SeriesTimes,
    arrivals: Int64s,
    answers: Answers,
    baselines: Sequence[ArrivalForecasts],
) -> Judged:
    """The forecasts made at the readings of these numbers [n], in their order."""
    horizon = answers.mean.shape[1]
    wanted_ns = answers.origins_ns[:, None] + answers.cadences_ns[:, None] * np.arange(1, horizon + 1)
    found = readings.nearest(
        np.repeat(history.series[arrivals], horizon),
        wanted_ns.reshape(-1),
        np.repeat(answers.cadences_ns // 2, horizon),
    ).reshape(wanted_ns.shape)
    is_found = found != NONE
    return Judged(
        series=history.series[arrivals],
        origins_ns=answers.origins_ns,
        targets_ns=np.where(is_found, history.times_ns[found], wanted_ns),
        truths=np.where(is_found, history.values[found], np.nan),
        mean=answers.mean,
        quantiles=answers.quantiles,
        baselines={
            name: point for one in baselines for name, point in one.forecast(arrivals, answers.cadences_ns).items()
        },
    )
