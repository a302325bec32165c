"""The engine's own columns: readings, rejects, step batches and forecasts.

I know nothing of bytes on the wire, tensors or the network. Times are int64 UTC nanoseconds.
All columns of one batch have the same length; batches are frozen and their arrays are not written to.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from connectors.records import RecordBatch

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]
Bools = NDArray[np.bool_]

SeriesKey: TypeAlias = tuple[str, str]
"""(sensor, channel); the channel is "" where a reading has just one value."""

QUANTILE_LEVELS = (0.1, 0.5, 0.9)
"""Levels of the quantiles that every forecast carries."""


class Status(IntEnum):
    """How far a forecast can be relied on."""

    OK = 0
    WARMING_UP = 1
    STALE = 2
    DRIFT = 3

    @property
    def text(self) -> str:
        """The word on the wire."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that cannot be a reading: a value, not an exception.

    Attributes:
        row: its index in the RecordBatch it came in.
        reason: one of REASONS.
        detail: a sentence for the person who sent it; names what was found and what was wanted.
    """

    row: int
    reason: str
    detail: str


REASONS = ("undecodable", "no_sensor", "bad_value", "bad_time", "future_time", "late", "schema", "too_large")
"""Every reason a record can be refused for (the `reason` header of a dead letter)."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadingBatch:
    """Readings decoded from one RecordBatch, in arrival order; a record may hold several.

    Attributes:
        records: the records they were decoded from.
        rows: [n] index into records of the record each reading came in (never decreasing).
        sensors: n ids as sent.
        channels: n channel names, "" where a reading has just one value.
        groups: n group names, or None where no reading names one.
        times_ns: [n] event times.
        values: [n]; NaN is a slot without a reading (null, or refused by `reading.valid_where`): it
            counts for the cadence only.
        num_invalid: how many of the NaN come from `reading.valid_where`.
    """

    records: RecordBatch
    rows: Int64s
    sensors: Sequence[str]
    channels: Sequence[str]
    groups: Sequence[str] | None
    times_ns: Int64s
    values: Float64s
    num_invalid: int = 0

    def __len__(self) -> int:
        return len(self.sensors)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where the series of one step go, and who leaves to make room for them.

    Attributes:
        evicted: [m] handles that give up their slots, least recently used first.
        evicted_slots: [m] the slots they had.
        loaded: [k] handles that come in; their state is put in before the step.
        loaded_slots: [k] their slots.
    """

    evicted: Int64s
    evicted_slots: Int64s
    loaded: Int64s
    loaded_slots: Int64s


@dataclass(frozen=True, slots=True, eq=False)
class StepBatch:
    """The router's decision: which readings step, in which slots, in which order.

    Readings stand wave by wave: wave k holds the (k+1)-th reading of each series that has so many, so
    the slots of one wave are distinct and each series' readings keep their order.

    Attributes:
        placement: who leaves and who comes in before the first wave.
        wave_ends: [waves] wave k is the readings [wave_ends[k-1], wave_ends[k]).
        handles, slots: [n] of each reading's series.
        source: [n] index of the ReadingBatch the reading came in.
        readings: [n] its index there.
        times_ns, values: [n]. A value of NaN (none of the router's is) asks for a forecast from the state as it stands.
        elapsed_s: [n] seconds since the series' last reading, 0 at its first; below 0 where the reading is late and
            is merged.
        cadences_ns: [n] expected gap to the next reading.
        has_cadence: [n] False where the default cadence stands in for one not known yet.
        second_of_week: [n] local time, 0 is Monday 00:00.
        is_due: [n] whether a forecast is to be sent.
        arrival: [n] permutation: column[arrival] is in order of arrival.
        rank: [n] place in order of arrival; readings of equal rank are of one moment, and hear each other.
    """

    placement: Placement
    wave_ends: Int64s
    handles: Int64s
    slots: Int64s
    source: Int64s
    readings: Int64s
    times_ns: Int64s
    values: Float64s
    elapsed_s: Float64s
    cadences_ns: Int64s
    has_cadence: Bools
    second_of_week: Float64s
    is_due: Bools
    arrival: Int64s
    rank: Int64s

    def __len__(self) -> int:
        return len(self.handles)


@dataclass(frozen=True, slots=True, eq=False)
class StepResult:
    """What the model says after each reading of a StepBatch, in the same order as its columns.

    Attributes:
        mean: [n, horizon].
        quantiles: [n, len(QUANTILE_LEVELS), horizon].
        scale: [n].
        status: [n] int8, see Status.
        num_resets: series whose state was not finite and was started afresh.
    """

    mean: Float64s
    quantiles: Float64s
    scale: Float64s
    status: NDArray[np.int8]
    num_resets: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ForecastBatch:
    """Forecasts in the order they are to be sent.

    Attributes:
        sources: the record batches that the forecasts' readings came in.
        source: [n] index into sources.
        rows: [n] index of the record within its batch.
        sensors, channels: n entries.
        origins_ns: [n] time that leads count from.
        last_readings_ns: [n] event time of the last reading folded.
        cadences_ns: [n]; target time of lead h = origin + h * cadence.
        mean: [n, horizon].
        quantiles: [n, len(QUANTILE_LEVELS), horizon], never crossing.
        scale: [n], the sensor's running scale, in the unit of its values.
        status: [n] int8, see Status.
    """

    sources: Sequence[RecordBatch]
    source: Int64s
    rows: Int64s
    sensors: Sequence[str]
    channels: Sequence[str]
    origins_ns: Int64s
    last_readings_ns: Int64s
    cadences_ns: Int64s
    mean: Float64s
    quantiles: Float64s
    scale: Float64s
    status: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.sensors)

    def pieces(self, most: int) -> "Iterator[ForecastBatch]":
        """The same forecasts in order, at most so many at a time."""
        columns = [field.name for field in fields(self) if field.name != "sources"]
        for start in range(0, len(self), most):
            cut = slice(start, start + most)
            yield ForecastBatch(self.sources, *(getattr(self, name)[cut] for name in columns))

    @property
    def horizon(self) -> int:
        """How many leads each forecast has."""
        return int(self.mean.shape[1])
