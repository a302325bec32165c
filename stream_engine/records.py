"""The engine's own columns: readings, rejects, step batches and forecasts.

I know nothing of bytes on the wire, tensors or the network. Times are int64 UTC nanoseconds.
All columns of one batch have the same length; batches are frozen and their arrays are not written to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from connectors.records import RecordBatch

Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]
Bools = NDArray[np.bool_]

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

    @property
    def horizon(self) -> int:
        """How many leads each forecast has."""
        return int(self.mean.shape[1])
