"""Waiting and retrying as small values: Deadline, Backoff, Retry.

I know nothing of what is tried, nor of any server.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadline:
    """One time budget shared by several steps; lives as long as the work it bounds."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The deadline `seconds` from now, on the monotonic clock."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at_s - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s <= 0.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing waits with jitter: first_s, 2 first_s, 4 first_s … up to most_s, each times 0.5-1."""

    first_s: float = 0.05
    most_s: float = 5.0

    def wait_s(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt` (from 0)."""
        full = min(self.most_s, self.first_s * 2.0 ** min(attempt, 32))
        return full * random.uniform(0.5, 1.0)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Retry:
    """Call again while one of the named faults comes and time is left; then let the fault through."""

    faults: tuple[type[Exception], ...]
    backoff: Backoff = field(default_factory=Backoff)

    def call(self, action: Callable[[], T], deadline: Deadline) -> T:
        """The action's result, or its last fault once the deadline is over."""
        attempt = 0
        while True:
            try:
                return action()
            except self.faults:
                if deadline.is_over:
                    raise
            time.sleep(min(self.backoff.wait_s(attempt), deadline.remaining_s))
            attempt += 1
