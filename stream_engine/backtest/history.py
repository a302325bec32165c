"""What of a table is replayed: one channel, with the readings that do not count taken out.

I know nothing of models, forecasts or scores. NaN is a slot without a reading: absent, a masked zero, or refused by
the condition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from connectors.file.tables import VALUE, Table
from stream_engine.backtest.nearest import SeriesTimes
from stream_engine.config import Condition
from stream_engine.errors import ConfigError
from stream_engine.records import Float64s, Int64s


@dataclass(frozen=True, slots=True)
class Choice:
    """What counts as a reading.

    Attributes:
        channel: the column that is forecast; None for the only one.
        mask_zeros: whether 0 means "no reading".
        valid_where: what a reading's fields must fulfil; None for nothing.
    """

    channel: str | None = None
    mask_zeros: bool = False
    valid_where: Condition | None = None


@dataclass(frozen=True, slots=True, eq=False)
class GridHistory:
    """Readings on common rows, in order of event time.

    Attributes:
        sensors: [N] ids.
        times_ns: [T] strictly increasing.
        values: [T, N], NaN where there is no reading.
        step_ns: usual time from row to row; the cadence of every sensor, and what one lead means.
    """

    sensors: tuple[str, ...]
    times_ns: Int64s
    values: Float64s
    step_ns: int

    @property
    def span_ns(self) -> tuple[int, int]:
        """The oldest and the newest event time."""
        return int(self.times_ns[0]), int(self.times_ns[-1])

    def of(self, sensor: int) -> tuple[Int64s, Float64s]:
        """One sensor's readings in order of time: times, values."""
        is_there = ~np.isnan(self.values[:, sensor])
        return self.times_ns[is_there], self.values[is_there, sensor]


@dataclass(frozen=True, slots=True, eq=False)
class ArrivalHistory:
    """Readings one by one, in order of arrival.

    Attributes:
        sensors: ids.
        series: [n] index into sensors.
        times_ns: [n] event times.
        values: [n], NaN for a slot without a reading.
        step_ns: usual time from reading to reading of one sensor.
    """

    sensors: tuple[str, ...]
    series: Int64s
    times_ns: Int64s
    values: Float64s
    step_ns: int

    @property
    def span_ns(self) -> tuple[int, int]:
        """The oldest and the newest event time; (0, 0) where there are none."""
        return (int(self.times_ns.min()), int(self.times_ns.max())) if len(self.times_ns) else (0, 0)

    def of(self, sensor: int) -> tuple[Int64s, Float64s]:
        """One sensor's readings in order of time: times, values."""
        numbers = np.flatnonzero((self.series == sensor) & ~np.isnan(self.values))
        numbers = numbers[np.argsort(self.times_ns[numbers], kind="stable")]
        return self.times_ns[numbers], self.values[numbers]

    def readings(self) -> SeriesTimes:
        """The times of the readings, sensor by sensor, slots without one left out."""
        return SeriesTimes.of(self.series, self.times_ns, np.isfinite(self.values), len(self.sensors))


def grid_history(table: Table, choice: Choice) -> GridHistory:
    """The rows of a grid.

    Raises:
        ConfigError: the table has fewer than two rows, or the condition names a field it lacks.
        TableError: it is no grid, or lacks the channel.
    """
    grid = table.as_grid()
    if grid.step_ns <= 0:
        raise ConfigError(f"{table.path} has a single row; wanted at least two, to tell the time from row to row")
    return GridHistory(grid.ids, grid.times_ns, _valid(grid, choice), grid.step_ns)


def arrival_history(table: Table, choice: Choice) -> ArrivalHistory:
    """The readings of any table in order of arrival.

    Raises:
        ConfigError: the condition names a field that the table lacks.
        TableError: it lacks the channel.
    """
    events = table.as_events()
    return ArrivalHistory(
        events.ids, events.series.astype(np.int64), events.times_ns, _valid(events, choice), events.step_ns
    )


def _valid(table: Table, choice: Choice) -> Float64s:
    """The channel's numbers, NaN where they do not count as readings."""
    channel = table.channel(choice.channel)
    values = table.floats(channel).copy()
    values[~np.isfinite(values)] = np.nan
    if choice.mask_zeros:
        values[values == 0] = np.nan
    if choice.valid_where is not None:
        values[~_holds(table, channel, choice.valid_where)] = np.nan
    return values


def _holds(table: Table, channel: str, condition: Condition) -> NDArray[np.bool_]:
    """Where the condition holds, shaped like a column; the channel also goes by the name `value`."""
    fields: Mapping[str, NDArray[Any]] = {VALUE: table.columns[channel], **table.columns}
    for name in condition.fields:
        if name not in fields:
            raise ConfigError(f"--valid-where: {table.path} has no field {name!r}; it has {', '.join(sorted(fields))}")
    shape = table.columns[channel].shape
    return condition.evaluate({name: fields[name].reshape(-1) for name in condition.fields}).reshape(shape)
