"""A made-up fleet of sensors for the demo: roads, rooms, meters and servers, each with its own day.

I know nothing of the engine; I only make numbers. Everything follows from the seed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_engine.records import Float64s, Int64s

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
THURSDAY_S = 3 * DAY_S
"""1970-01-01 was a Thursday."""

KINDS = ("road", "room", "meter", "server")
MISSING_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Tick:
    """What the fleet sends at one moment.

    Attributes:
        time_ns: event time.
        present: [k] index of the sensors that send.
        values: [k] what they send.
    """

    time_ns: int
    present: Int64s
    values: Float64s


class Fleet:
    """Sensors that report together every cadence; two in a hundred reports are lost.

    Args:
        num_sensors: how many, a quarter of each kind.
        start_ns: event time of the first tick.
        cadence_ns: from tick to tick.
        seed: of everything random.
    """

    def __init__(self, num_sensors: int, start_ns: int, cadence_ns: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        rng = self._rng
        self.names = [f"{KINDS[number % len(KINDS)]}-{number // len(KINDS):02d}" for number in range(num_sensors)]
        self._kind = np.arange(num_sensors) % len(KINDS)
        self._level = np.choose(self._kind, (60.0, 21.0, 4.0, 120.0)) * rng.uniform(0.7, 1.4, num_sensors)
        self._swing = self._level * np.choose(self._kind, (0.8, 0.12, 0.7, 0.5)) * rng.uniform(0.7, 1.3, num_sensors)
        self._phase_s = rng.normal(0.0, 1.0, num_sensors) * 3600.0
        self._noise = self._level * np.choose(self._kind, (0.03, 0.006, 0.05, 0.04))
        self._wander: NDArray[np.float64] = np.zeros(num_sensors)
        self._time_ns = start_ns
        self._cadence_ns = cadence_ns

    def tick(self) -> Tick:
        """The next reports of the whole fleet."""
        rng, num = self._rng, len(self.names)
        self._wander = 0.9 * self._wander + rng.normal(0.0, 0.5, num)
        values = self._shape() + self._noise * (self._wander + rng.normal(0.0, 0.7, num))
        values = np.where(self._kind == 1, values, np.maximum(values, 0.0))
        present = np.flatnonzero(rng.random(num) >= MISSING_SHARE)
        tick = Tick(self._time_ns, present, np.round(values[present], 2))
        self._time_ns += self._cadence_ns
        return tick

    def _shape(self) -> Float64s:
        """The level of each sensor at this hour of this day, [sensors]."""
        seconds = self._time_ns / 1e9 - self._phase_s
        day = 2.0 * np.pi * (seconds % DAY_S) / DAY_S
        is_weekend = (seconds + THURSDAY_S) % WEEK_S >= 5 * DAY_S
        rush = np.exp(-((day - 2.1) ** 2) / 0.15) + np.exp(-((day - 4.5) ** 2) / 0.25)
        waves = np.choose(
            self._kind,
            (np.where(is_weekend, 0.4, 1.0) * rush, np.sin(day - 2.5), rush * 0.8, np.sin(day - 1.9)),
        )
        return np.asarray(self._level + self._swing * waves)
