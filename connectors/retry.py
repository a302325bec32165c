"""Waiting and retrying as small values: Deadline, Silence, Backoff, Retry.

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


@dataclass(slots=True)
class Silence:
    """How long a server has said nothing; lives as long as the connection it watches.

    Records are a sign of life that costs nothing; where none come, the holder asks the server when
    `is_question_due`, and gives up when `is_too_long`.

    Attributes:
        limit_s: the longest silence to bear.
    """

    limit_s: float
    _heard_s: float = field(default_factory=time.monotonic)
    _asked_s: float = field(default_factory=time.monotonic)

    def heard(self) -> None:
        """The server has answered just now."""
        self._heard_s = self._asked_s = time.monotonic()

    def asked(self) -> None:
        """The server is being asked just now."""
        self._asked_s = time.monotonic()

    @property
    def is_question_due(self) -> bool:
        """Whether it has been silent, and not been asked, for a while."""
        return time.monotonic() - self._asked_s >= min(5.0, self.limit_s / 4)

    @property
    def is_too_long(self) -> bool:
        """Whether it has been silent for longer than limit_s."""
        return time.monotonic() - self._heard_s > self.limit_s


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
