"""Threads that share the work on a batch; with just one, it is the caller's.

I know nothing of what the work is. It gains where the work leaves Python's lock, as compiled loops and torch do.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Part = TypeVar("Part")
Result = TypeVar("Result")

FEWEST_READINGS = 512
"""Of a part: fewer are done before a thread is awake."""


class Crew:
    """So many threads; they live as long as the process."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, "rows") if threads > 1 else None

    def map(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """The work on every part, in their order."""
        if self._pool is None or len(parts) < 2:
            return [work(part) for part in parts]
        return list(self._pool.map(work, parts))

    def cut(self, order: NDArray[np.int64], slots: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Readings cut into about equal parts, one a thread where they are enough; no slot is in two of them.

        Args:
            order: [n] readings, those of a slot side by side. slots: [n] of each reading.
        """
        num_parts = min(self.threads, len(order) // FEWEST_READINGS)
        if num_parts < 2:
            return [order]
        is_first = np.diff(slots[order], prepend=-1) != 0
        firsts = np.flatnonzero(is_first)
        wanted = np.arange(1, num_parts) * len(order) // num_parts
        cuts = np.unique(firsts[np.searchsorted(firsts, wanted, side="right") - 1])
        return [part for part in np.split(order, cuts) if len(part)]
