"""Decides which readings step, in which slots and in which order; who is late, double or due.

Values in, values out: I touch no tensors, no network and no clock, and I move no state. What I decide
depends on the log alone, never on how it was cut into batches.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from connectors.records import Partition
from stream_engine.localtime import Calendar
from stream_engine.records import Bools, Float64s, Int64s, ReadingBatch, Reject, SeriesKey, StepBatch
from stream_engine.slots import NEVER_NS, NUM_GAPS, RECENT, Ledger, Slots
from stream_engine.watermark import MIN_GAPS, Progress

MAX_SPAN_NS = 2**62
NS_PER_S = 1e9
Late: TypeAlias = Literal["drop", "dead_letter", "merge"]


@dataclass(frozen=True, slots=True)
class RouterPolicy:
    """What the router is told once.

    Attributes:
        cadence_ns: the configured cadence, or None to find each sensor's own.
        default_cadence_ns: stands in while no cadence is known.
        emit_every_ns: least event time between two forecasts of a series; 0 for one at every reading.
        late: what becomes of a late reading: it is only counted, becomes a dead letter too, or is merged where fewer
            than NUM_RECENT of its series are newer and none is of its time.
        calendar: in which days and weeks are told.
    """

    cadence_ns: int | None = None
    default_cadence_ns: int = 300_000_000_000
    emit_every_ns: int = 0
    late: Late = "drop"
    calendar: Calendar = field(default_factory=Calendar)

    @property
    def is_merging(self) -> bool:
        """Whether late readings are merged: then the ledger and the model must be such that can."""
        return self.late == "merge"


@dataclass(frozen=True, slots=True, eq=False)
class Routed:
    """What became of the readings of one turn.

    Attributes:
        steps: what is to be done, in order; more than one only if there are more series than slots.
        rejects: for each ReadingBatch, late readings that become dead letters.
        num_duplicates, num_late, num_empty: readings dropped as double or late, and slots without a reading.
        num_merged: late readings that step.
        doubled: series that were seen in another partition of the topic too, and where.
    """

    steps: list[StepBatch]
    rejects: list[list[Reject]]
    num_duplicates: int
    num_late: int
    num_empty: int
    num_merged: int
    doubled: list[tuple[SeriesKey, Partition, Partition]]


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """The readings of all partitions of a turn side by side, in order of arrival."""

    handles: Int64s
    source: Int64s
    readings: Int64s
    times_ns: Int64s
    values: Float64s

    def __getitem__(self, rows: Int64s) -> "_Columns":
        return _Columns(
            self.handles[rows], self.source[rows], self.readings[rows], self.times_ns[rows], self.values[rows]
        )


def newest_before(groups: Int64s, times_ns: Int64s, start_ns: Int64s) -> Int64s:
    """For each element the newest time of its group among those before it, and not below its start.

    Args:
        groups: [n] any labels.
        times_ns: [n] in order of arrival.
        start_ns: [n] what each group begins with, the same for all elements of a group.
    Returns:
        [n] exclusive running maximum.
    """
    num = len(groups)
    order = np.argsort(groups, kind="stable")
    is_first = np.ones(num, np.bool_)
    is_first[1:] = groups[order][1:] != groups[order][:-1]
    if is_first.all():
        return start_ns
    ranked, rank = np.unique(np.concatenate([times_ns[order], start_ns[order]]), return_inverse=True)
    shifted = np.empty(num, np.int64)
    shifted[1:] = rank[: num - 1]
    shifted[is_first] = rank[num:][is_first]
    offset = (np.cumsum(is_first) - 1) * (len(ranked) + 1)
    running = np.maximum.accumulate(shifted + offset) - offset
    newest = np.empty(num, np.int64)
    newest[order] = ranked[running]
    return newest


def since(times_ns: Int64s, before_ns: Int64s) -> Int64s:
    """Nanoseconds from before to each time, [n]; 0 since NEVER_NS, and at most MAX_SPAN_NS, so that none wraps."""
    is_far = times_ns // 2 - before_ns // 2 > MAX_SPAN_NS // 2
    near = np.where(is_far | (before_ns == NEVER_NS), times_ns, before_ns)
    return np.where(is_far & (before_ns != NEVER_NS), MAX_SPAN_NS, times_ns - near)


def wave_numbers(groups: Int64s) -> Int64s:
    """How many elements of the same group stand before each element, [n]."""
    num = len(groups)
    order = np.argsort(groups, kind="stable")
    is_first = np.ones(num, np.bool_)
    is_first[1:] = groups[order][1:] != groups[order][:-1]
    starts = np.flatnonzero(is_first)
    wave = np.empty(num, np.int64)
    wave[order] = np.arange(num) - np.repeat(starts, np.diff(np.append(starts, num)))
    return wave


def waves(groups: Int64s) -> Iterator[Int64s]:
    """Rows cut so that within each cut all groups are distinct and each group keeps its order."""
    wave = wave_numbers(groups)
    order = np.argsort(wave, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(wave[order])) + 1) if len(order) else ()


def digest_next(digest: np.ndarray, times_ns: Int64s, values: Float64s) -> np.ndarray:
    """The rolling digest after one more reading each: equal only for equal readings in equal order.

    Args:
        digest: [n] uint64. times_ns, values: [n].
    Returns:
        [n] uint64.
    """
    mixed = (digest ^ times_ns.view(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed = (mixed ^ values.view(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(mixed ^ (mixed >> np.uint64(32)))


class Router:
    """Routes the readings of each turn; lives as long as the pipeline.

    It writes into the ledger it is given (times, gaps, counts, digests) and takes slots; nothing else. The ledger is
    one that merges where the policy does.
    """

    def __init__(self, policy: RouterPolicy, ledger: Ledger, slots: Slots) -> None:
        self._policy = policy
        self._ledger = ledger
        self._slots = slots

    def route(self, batches: Sequence[ReadingBatch], progress: Mapping[Partition, Progress]) -> Routed:
        """Decide about the readings of one turn, at most one batch a partition."""
        columns, doubled = self._look_up(batches)
        entries = self._ledger.entries
        is_reading = ~np.isnan(columns.values)
        last_ns = newest_before(
            columns.handles,
            np.where(is_reading, columns.times_ns, NEVER_NS),
            entries["last_time_ns"][columns.handles],
        )
        accepted = is_reading & (columns.times_ns > last_ns)
        is_late = is_reading & (columns.times_ns < last_ns)
        cadences, has_cadence = self._cadences(columns, batches, progress)
        is_merged, is_double = self._merge(columns, accepted, is_late)
        is_due = self._record(columns, accepted, is_merged)
        for number, batch in enumerate(batches):
            progress[batch.records.partition].advance(columns.times_ns[accepted & (columns.source == number)])
        elapsed_ns = np.where(is_late, -since(last_ns, columns.times_ns), since(columns.times_ns, last_ns))
        return Routed(
            steps=self._steps(columns, accepted | is_merged, elapsed_ns / NS_PER_S, cadences, has_cadence, is_due),
            rejects=self._late_rejects(columns, batches, is_late, last_ns),
            num_duplicates=int((is_double | (is_reading & (columns.times_ns == last_ns))).sum()),
            num_late=int((is_late & ~is_merged & ~is_double).sum()),
            num_empty=int((~is_reading).sum()),
            num_merged=int(is_merged.sum()),
            doubled=doubled,
        )

    def _look_up(
        self, batches: Sequence[ReadingBatch]
    ) -> tuple[_Columns, list[tuple[SeriesKey, Partition, Partition]]]:
        handles, doubled = [np.zeros(0, np.int64)], []
        for batch in batches:
            partition = batch.records.partition
            found, new = self._ledger.look_up(partition, zip(batch.sensors, batch.channels, strict=True))
            handles.append(found)
            doubled += [(key, partition, other) for key in new for other in self._ledger.others_with(partition, key)]
        sizes = [len(batch) for batch in batches]
        columns = _Columns(
            handles=np.concatenate(handles),
            source=np.repeat(np.arange(len(batches)), sizes),
            readings=np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)]),
            times_ns=np.concatenate([np.zeros(0, np.int64), *(batch.times_ns for batch in batches)]),
            values=np.concatenate([np.zeros(0, np.float64), *(batch.values for batch in batches)]),
        )
        return columns, doubled

    def _cadences(
        self, columns: _Columns, batches: Sequence[ReadingBatch], progress: Mapping[Partition, Progress]
    ) -> tuple[Int64s, Bools]:
        """The cadence each reading finds, and whether it is known; takes note of every gap."""
        entries, policy = self._ledger.entries, self._policy
        seen_ns = newest_before(columns.handles, columns.times_ns, entries["last_seen_ns"][columns.handles])
        gaps = since(columns.times_ns, seen_ns)
        np.maximum.at(entries["last_seen_ns"], columns.handles, columns.times_ns)
        self._ledger.is_dirty[columns.handles] = True
        if policy.cadence_ns is not None:
            return np.full(len(gaps), policy.cadence_ns, np.int64), np.ones(len(gaps), np.bool_)
        common = np.zeros(len(gaps), np.int64)
        for number, batch in enumerate(batches):
            mine = columns.source == number
            common[mine] = progress[batch.records.partition].common_cadence_ns(gaps[mine])
        own, num_own = self._own_cadences(columns.handles, gaps)
        cadences = np.where(num_own >= MIN_GAPS, own, np.where(common > 0, common, own))
        has_cadence = cadences > 0
        return np.where(has_cadence, cadences, policy.default_cadence_ns), has_cadence

    def _own_cadences(self, handles: Int64s, gaps: Int64s) -> tuple[Int64s, Int64s]:
        """Each series' running median of gaps, 0 while it has none, and how many it has seen."""
        entries = self._ledger.entries
        own = np.zeros(len(handles), np.int64)
        num_own = np.zeros(len(handles), np.int64)
        for rows in waves(handles):
            series = handles[rows]
            closing = rows[gaps[rows] > 0]
            closed = handles[closing]
            entries["gaps_ns"][closed, entries["num_gaps"][closed] % NUM_GAPS] = gaps[closing]
            entries["num_gaps"][closed] += 1
            kept = np.minimum(entries["num_gaps"][series], NUM_GAPS)
            ring = np.sort(entries["gaps_ns"][series], axis=1)
            median = np.take_along_axis(ring, np.maximum(kept - 1, 0)[:, None] // 2, axis=1)[:, 0]
            own[rows] = np.where(kept > 0, median, 0)
            num_own[rows] = kept
        return own, num_own

    def _merge(self, columns: _Columns, accepted: Bools, is_late: Bools) -> tuple[Bools, Bools]:
        """Which readings are late and merged, and which are late and double; takes note of the times folded."""
        is_merged, is_double = np.zeros_like(is_late), np.zeros_like(is_late)
        if self._policy.is_merging:
            rows_told = np.flatnonzero(accepted | is_late)
            for cut in waves(columns.handles[rows_told]):
                rows = rows_told[cut]
                has_place, is_double[rows] = self._find_place(columns.handles[rows], columns.times_ns[rows])
                is_merged[rows] = has_place & is_late[rows]
        return is_merged, is_double

    def _find_place(self, series: Int64s, times_ns: Int64s) -> tuple[Bools, Bools]:
        """Enter times among the newest of their series, one each.

        Returns:
            which have a place there, and which are there already.
        """
        recent = self._ledger.entries[RECENT][series]
        is_double = (recent == times_ns[:, None]).any(axis=1)
        has_place = (times_ns > recent[:, 0]) & ~is_double
        recent[has_place, 0] = times_ns[has_place]
        recent.sort(axis=1)
        self._ledger.entries[RECENT][series] = recent
        return has_place, is_double

    def _record(self, columns: _Columns, accepted: Bools, is_merged: Bools) -> Bools:
        """Enter the readings that step into the ledger; say which of them are due a forecast."""
        entries, every = self._ledger.entries, self._policy.emit_every_ns
        rows_taken = np.flatnonzero(accepted | is_merged)
        is_due = accepted.copy()
        for cut in waves(columns.handles[rows_taken]):
            rows = rows_taken[cut]
            series, times_ns = columns.handles[rows], columns.times_ns[rows]
            entries["digest"][series] = digest_next(entries["digest"][series], times_ns, columns.values[rows])
            entries["count"][series] += np.uint64(1)
            entries["last_time_ns"][series] = np.maximum(entries["last_time_ns"][series], times_ns)
            emitted_ns = entries["last_emitted_ns"][series]
            due = accepted[rows] & ((emitted_ns == NEVER_NS) | (since(times_ns, emitted_ns) >= every))
            is_due[rows] = due
            entries["last_emitted_ns"][series[due]] = times_ns[due]
        return is_due

    def _late_rejects(
        self, columns: _Columns, batches: Sequence[ReadingBatch], is_late: Bools, last_ns: Int64s
    ) -> list[list[Reject]]:
        rejects: list[dict[int, Reject]] = [{} for _ in batches]
        if self._policy.late == "dead_letter":
            for row in np.flatnonzero(is_late).tolist():
                number = int(columns.source[row])
                behind_s = (last_ns[row] - columns.times_ns[row]) / NS_PER_S
                sensor = batches[number].sensors[int(columns.readings[row])]
                detail = f"reading of sensor {sensor!r} is {behind_s:g} s behind its newest; late: drop ignores such"
                record = int(batches[number].rows[int(columns.readings[row])])
                rejects[number].setdefault(record, Reject(record, "late", detail))
        return [list(one.values()) for one in rejects]

    def _steps(
        self,
        columns: _Columns,
        accepted: Bools,
        elapsed_s: Float64s,
        cadences_ns: Int64s,
        has_cadence: Bools,
        is_due: Bools,
    ) -> list[StepBatch]:
        steps = []
        for rows in self._fitting(columns.handles, np.flatnonzero(accepted)):
            handles = columns.handles[rows]
            used = handles[np.sort(len(handles) - 1 - np.unique(handles[::-1], return_index=True)[1])]
            placement = self._slots.place(used, self._ledger)
            wave = wave_numbers(handles)
            order = np.argsort(wave, kind="stable")
            arrival = np.empty(len(order), np.int64)
            arrival[order] = np.arange(len(order))
            rows = rows[order]
            steps.append(
                StepBatch(
                    placement=placement,
                    wave_ends=np.cumsum(np.bincount(wave)),
                    handles=columns.handles[rows],
                    slots=self._ledger.slot[columns.handles[rows]],
                    source=columns.source[rows],
                    readings=columns.readings[rows],
                    times_ns=columns.times_ns[rows],
                    values=columns.values[rows],
                    elapsed_s=elapsed_s[rows],
                    cadences_ns=cadences_ns[rows],
                    has_cadence=has_cadence[rows],
                    second_of_week=self._policy.calendar.second_of_week(columns.times_ns[rows], cadences_ns[rows]),
                    is_due=is_due[rows],
                    arrival=arrival,
                    rank=order,
                )
            )
        return steps

    def _fitting(self, handles: Int64s, rows: Int64s) -> Iterator[Int64s]:
        """Cut rows so that each cut has no more distinct series than there are slots."""
        while len(rows):
            is_first = np.zeros(len(rows), np.bool_)
            is_first[np.unique(handles[rows], return_index=True)[1]] = True
            too_many = np.flatnonzero(np.cumsum(is_first) > self._slots.capacity)
            cut = int(too_many[0]) if len(too_many) else len(rows)
            yield rows[:cut]
            rows = rows[cut:]
