"""How far a partition's event time has come, and the cadence its sensors have in common.

Values in, values out: I know nothing of state, bytes, tensors or the clock.
"""

from dataclasses import dataclass, field

import numpy as np

from stream_engine.records import Float64s, Int64s

NUM_EARLY_GAPS = 64
MIN_GAPS = 3


def lower_median(gaps: Int64s) -> int:
    """The lower median: a gap that was really seen."""
    return int(np.sort(gaps)[(len(gaps) - 1) // 2])


@dataclass(slots=True)
class Progress:
    """One partition's event time and common cadence; stored with every checkpoint of the partition.

    Attributes:
        watermark_ns: newest event time of a reading; None before the first.
        early_gaps_ns: the first NUM_EARLY_GAPS gaps between readings of one sensor, in arrival order:
            their median stands in for the cadence of a sensor too young to have its own. It is frozen
            after that, so it depends on the log alone and never on how the log was cut into batches.
        group: [group_floats] float64, what the model keeps of the partition's series together; empty at the start,
            and where it keeps nothing.
        log_id: the log that it has come so far in; "" where it is not known.
    """

    watermark_ns: int | None = None
    early_gaps_ns: list[int] = field(default_factory=list)
    group: Float64s = field(default_factory=lambda: np.empty(0), compare=False)
    log_id: str = ""

    def advance(self, times_ns: Int64s) -> None:
        """Take note of event times, [n]."""
        if len(times_ns):
            newest = int(times_ns.max())
            self.watermark_ns = newest if self.watermark_ns is None else max(newest, self.watermark_ns)

    def common_cadence_ns(self, gaps_ns: Int64s) -> Int64s:
        """The partition's cadence as each reading finds it.

        Args:
            gaps_ns: [n] gap that each reading closes, in arrival order; <= 0 where it closes none.
        Returns:
            [n] median of the early gaps up to and including that reading's; 0 while there are too few.
        """
        current = lower_median(np.asarray(self.early_gaps_ns)) if len(self.early_gaps_ns) >= MIN_GAPS else 0
        common = np.full(len(gaps_ns), current, np.int64)
        wanted = NUM_EARLY_GAPS - len(self.early_gaps_ns)
        for row in np.flatnonzero(gaps_ns > 0)[:wanted].tolist():
            self.early_gaps_ns.append(int(gaps_ns[row]))
            if len(self.early_gaps_ns) >= MIN_GAPS:
                common[row:] = lower_median(np.asarray(self.early_gaps_ns))
        return common
