"""The only reader of the clock: system time, and time moved by hand.

I know nothing of event time, which comes with the readings.
"""

import time
from abc import ABC, abstractmethod


class Clock(ABC):
    """What time it is; passed to whoever needs to know."""

    @abstractmethod
    def now_ns(self) -> int:
        """Wall time, int64 UTC nanoseconds; may jump."""

    @abstractmethod
    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never runs backwards."""


class SystemClock(Clock):
    """The machine's clocks."""

    def now_ns(self) -> int:
        """Wall time, UTC nanoseconds."""
        return time.time_ns()

    def monotonic_s(self) -> float:
        """The machine's monotonic clock."""
        return time.monotonic()


class ManualClock(Clock):
    """A clock that stands still until it is moved; for tests, replays and simulations."""

    def __init__(self, now_ns: int = 0, monotonic_s: float = 0.0) -> None:
        self._now_ns = now_ns
        self._monotonic_s = monotonic_s

    def now_ns(self) -> int:
        """Wall time as last set, UTC nanoseconds."""
        return self._now_ns

    def monotonic_s(self) -> float:
        """Seconds moved so far."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward.

        Raises:
            ValueError: if seconds is negative.
        """
        if seconds < 0:
            raise ValueError(f"a clock moves forward only, not by {seconds} s; use set_now_ns for a jump of wall time")
        self._now_ns += round(seconds * 1e9)
        self._monotonic_s += seconds

    def set_now_ns(self, now_ns: int) -> None:
        """Let wall time jump; the monotonic clock stays."""
        self._now_ns = now_ns
