"""What a peer is: one sensor's forecaster from outside the house.

I know nothing of libraries, sensors' names or scores.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from stream_engine.records import Float64s

DAY_NS = 86_400_000_000_000


class Peer(ABC):
    """Learns one sensor's readings in order of time and forecasts from what it has learned."""

    @abstractmethod
    def learn(self, tick: int, value: float) -> None:
        """Take in a reading.

        Args:
            tick: its time in steps since the sensor's first reading, above that of the reading before.
        """

    @abstractmethod
    def forecast(self, tick: int, num_steps: int) -> Float64s | None:
        """What ticks tick + 1 … tick + num_steps will read, [num_steps]; None where it cannot tell yet.

        Args:
            tick: not before the last reading.
        """


@dataclass(frozen=True, slots=True)
class Season:
    """A day in steps (a week where a step is a day or longer).

    Attributes:
        num_steps: 1 where a step is longer than half the season.
    """

    num_steps: int

    @classmethod
    def of(cls, step_ns: int) -> "Season":
        """The season of readings so far apart."""
        span_ns = 7 * DAY_NS if step_ns >= DAY_NS else DAY_NS
        steps = round(span_ns / step_ns) if step_ns > 0 else 1
        return cls(steps if steps >= 2 else 1)

    def at_most(self, num_steps: int) -> int:
        """The season's steps if they are no more than these, else 1: no season."""
        return self.num_steps if self.num_steps <= num_steps else 1
