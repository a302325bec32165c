"""Wait on a condition, never sleep and hope; I know nothing of what is waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def poll_for(condition: Callable[[], T], timeout_s: float = 10.0, every_s: float = 0.02, what: str = "") -> T:
    """Call condition until its answer is true and return that answer; AssertionError after timeout_s."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline_s:
            named = what or getattr(condition, "__name__", "the condition")
            raise AssertionError(f"waited {timeout_s:g} s for {named}; the last answer was {answer!r}")
        time.sleep(every_s)
