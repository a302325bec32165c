"""Which time stands nearest to a wanted one, in one sorted list or in many.

I know nothing of what stands at these times.
"""

from dataclasses import dataclass

import numpy as np

from stream_engine.records import Bools, Int64s

NONE = -1


def nearest_rows(times_ns: Int64s, wanted_ns: Int64s, tolerance_ns: int) -> Int64s:
    """Indices of the times nearest to the wanted ones, NONE where none is within the tolerance.

    Args:
        times_ns: [n] increasing, not empty. wanted_ns: any shape.
    Returns:
        shaped like wanted_ns; of two equally near the earlier.
    """
    after = np.searchsorted(times_ns, wanted_ns)
    return _nearer(times_ns, wanted_ns, after, np.zeros_like(after), np.full_like(after, len(times_ns)), tolerance_ns)


@dataclass(frozen=True, slots=True, eq=False)
class SeriesTimes:
    """The times of many series, sorted within each.

    Attributes:
        times_ns: [n] those of series 0 in order, then those of series 1, …
        starts: [series + 1] where each series begins.
        numbers: [n] of the entry each time belongs to.
    """

    times_ns: Int64s
    starts: Int64s
    numbers: Int64s

    @classmethod
    def of(cls, series: Int64s, times_ns: Int64s, is_kept: Bools, num_series: int) -> "SeriesTimes":
        """Sort the kept ones of entries [n] by series and time; of equal times the first entry stands first."""
        numbers = np.flatnonzero(is_kept)
        numbers = numbers[np.lexsort((times_ns[numbers], series[numbers]))]
        return cls(times_ns[numbers], np.searchsorted(series[numbers], np.arange(num_series + 1)), numbers)

    def nearest(self, series: Int64s, wanted_ns: Int64s, tolerance_ns: Int64s) -> Int64s:
        """Numbers of the entries nearest to the wanted times, NONE where none is near enough.

        Args:
            series, wanted_ns, tolerance_ns: [q].
        """
        if not len(self.times_ns):
            return np.full(len(series), NONE, np.int64)
        start, end = self.starts[series], self.starts[series + 1]
        low, high = start.copy(), end.copy()
        for _ in range(int((end - start).max(initial=0)).bit_length()):
            is_open = low < high
            middle = (low + high) // 2
            is_before = is_open & (self.times_ns[np.minimum(middle, len(self.times_ns) - 1)] < wanted_ns)
            low = np.where(is_before, middle + 1, low)
            high = np.where(is_open & ~is_before, middle, high)
        found = _nearer(self.times_ns, wanted_ns, low, start, end, tolerance_ns)
        return np.where(found == NONE, NONE, self.numbers[found])


def _nearer(
    times_ns: Int64s, wanted_ns: Int64s, after: Int64s, start: Int64s, end: Int64s, tolerance_ns: Int64s | int
) -> Int64s:
    """Of the time before and the one at or after the wanted, the nearer, if near enough; start <= after <= end."""
    has_before, has_after = after > start, after < end
    before_gap = wanted_ns - times_ns[np.maximum(after - 1, 0)]
    after_gap = times_ns[np.minimum(after, len(times_ns) - 1)] - wanted_ns
    far = np.iinfo(np.int64).max
    before_gap = np.where(has_before, before_gap, far)
    after_gap = np.where(has_after, after_gap, far)
    nearest = np.where(before_gap <= after_gap, after - 1, after)
    return np.where(np.minimum(before_gap, after_gap) <= tolerance_ns, nearest, NONE)
