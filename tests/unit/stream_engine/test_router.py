"""Who steps, in which order, and who is dropped; against a plain-Python oracle for any cut of the log."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.records import Partition
from stream_engine import slots
from stream_engine.router import Routed, Router, RouterPolicy, newest_before
from stream_engine.slots import NO_SLOT, NUM_RECENT, Ledger, Slots
from stream_engine.watermark import Progress
from tests.support.builders import HERE, MINUTE_NS, reading_batch

NAN = math.nan
Reading = tuple[str, int, float]


@dataclass
class Desk:
    """A router with its tables, and what it has let through so far."""

    policy: RouterPolicy = field(default_factory=RouterPolicy)
    capacity: int = 64
    partitions: tuple[Partition, ...] = (HERE,)

    def __post_init__(self) -> None:
        self.ledger, self.slots = Ledger(self.policy.is_merging), Slots(self.capacity)
        self.router = Router(self.policy, self.ledger, self.slots)
        self.progress = {partition: Progress() for partition in self.partitions}
        for partition in self.partitions:
            self.ledger.add_partition(partition)
        self.let_through: list[tuple[str, int, float, float, int, bool, bool]] = []

    def route(self, *readings: Reading, partition: Partition = HERE) -> Routed:
        routed = self.router.route([reading_batch(readings, partition)], self.progress)
        for step in routed.steps:
            assert (step.slots != NO_SLOT).all()
            start = 0
            for end in step.wave_ends.tolist():
                assert len(set(step.slots[start:end].tolist())) == end - start, "slots of one wave are distinct"
                start = end
            assert start == len(step)
            for row in step.arrival.tolist():
                self.let_through.append(
                    (
                        self.ledger.keys[int(step.handles[row])][0],
                        int(step.times_ns[row]) // MINUTE_NS,
                        float(step.values[row]),
                        float(step.elapsed_s[row]),
                        int(step.cadences_ns[row]) // MINUTE_NS,
                        bool(step.has_cadence[row]),
                        bool(step.is_due[row]),
                    )
                )
        return routed

    def entry(self, sensor: str) -> dict[str, object]:
        handle = self.ledger.find(HERE, (sensor, ""))
        assert handle is not None
        return {name: self.ledger.entries[name][handle].tolist() for name in self.ledger.entries.dtype.names}


def accepted(desk: Desk) -> list[Reading]:
    return [(sensor, minute, value) for sensor, minute, value, *_ in desk.let_through]


def test_doubles_and_readings_late_for_their_own_sensor_are_dropped() -> None:
    desk = Desk()
    routed = desk.route(("a", 5, 1.0), ("b", 3, 1.0), ("a", 5, 9.0), ("a", 4, 9.0), ("b", 4, 2.0), ("a", 6, 2.0))
    assert accepted(desk) == [("a", 5, 1.0), ("b", 3, 1.0), ("b", 4, 2.0), ("a", 6, 2.0)]
    assert (routed.num_duplicates, routed.num_late, routed.num_empty) == (1, 1, 0)
    routed = desk.route(("a", 6, 2.0), ("a", 5, 2.0), ("b", 5, 3.0))
    assert accepted(desk)[4:] == [("b", 5, 3.0)]
    assert (routed.num_duplicates, routed.num_late) == (1, 1)


def test_waves_keep_each_sensors_order() -> None:
    desk = Desk()
    (step,) = desk.route(("a", 1, 1.0), ("a", 2, 2.0), ("b", 1, 3.0), ("a", 3, 4.0), ("b", 2, 5.0)).steps
    assert step.wave_ends.tolist() == [2, 4, 5]
    assert step.values.tolist() == [1.0, 3.0, 2.0, 5.0, 4.0]
    assert step.values[step.arrival].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert step.readings[step.arrival].tolist() == [0, 1, 2, 3, 4]


def test_a_slot_without_a_reading_counts_for_the_cadence_only() -> None:
    desk = Desk()
    routed = desk.route(("a", 0, 1.0), ("a", 5, NAN), ("a", 10, NAN), ("a", 15, NAN), ("a", 20, 2.0), ("a", 20, NAN))
    assert accepted(desk) == [("a", 0, 1.0), ("a", 20, 2.0)]
    assert desk.let_through[-1][3:6] == (1200.0, 5, True)
    assert routed.num_empty == 4
    assert desk.entry("a")["count"] == 2


def test_an_empty_slot_does_not_make_a_reading_at_the_same_time_a_double() -> None:
    desk = Desk()
    desk.route(("a", 0, 1.0), ("a", 5, NAN), ("a", 5, 2.0))
    assert accepted(desk) == [("a", 0, 1.0), ("a", 5, 2.0)]


def test_cadence_is_the_default_then_the_partitions_then_the_sensors_own() -> None:
    desk = Desk()
    desk.route(*((sensor, minute, 1.0) for minute in (0, 2, 4, 6, 8) for sensor in "ab"))
    desk.route(("young", 8, 1.0), ("young", 17, 1.0), ("young", 26, 1.0), ("young", 35, 1.0))
    cadences = {(sensor, minute): (cadence, known) for sensor, minute, _, _, cadence, known, _ in desk.let_through}
    assert cadences[("a", 0)] == (5, False)
    assert cadences[("a", 2)] == (2, True)
    assert cadences[("a", 8)] == (2, True)
    assert cadences[("young", 8)] == (2, True)
    assert cadences[("young", 26)] == (2, True)
    assert cadences[("young", 35)] == (9, True)


def test_a_configured_cadence_is_taken_as_it_is() -> None:
    desk = Desk(RouterPolicy(cadence_ns=7 * MINUTE_NS))
    desk.route(("a", 0, 1.0), ("a", 2, 1.0))
    assert [row[4:6] for row in desk.let_through] == [(7, True), (7, True)]


def test_forecasts_are_due_at_most_every_so_often() -> None:
    desk = Desk(RouterPolicy(emit_every_ns=10 * MINUTE_NS))
    desk.route(*(("a", minute, 1.0) for minute in (0, 4, 9)))
    desk.route(*(("a", minute, 1.0) for minute in (10, 11, 25, 34, 35)))
    assert [row[1] for row in desk.let_through if row[6]] == [0, 10, 25, 35]


def test_a_bad_clock_centuries_ago_does_not_silence_a_sensor() -> None:
    desk = Desk(RouterPolicy(emit_every_ns=10 * MINUTE_NS))
    centuries = 141_000_000  # minutes: 268 years
    desk.route(("a", -centuries, 1.0))
    desk.route(("a", centuries, 1.0), ("a", centuries + 5, 1.0), ("a", centuries + 10, 1.0))
    assert [row[6] for row in desk.let_through] == [True, True, False, True]
    assert all(row[3] >= 0 for row in desk.let_through), "time never runs backwards"


def test_late_readings_become_dead_letters_where_asked() -> None:
    desk = Desk(RouterPolicy(late="dead_letter"))
    routed = desk.route(("a", 5, 1.0), ("b", 5, 1.0), ("a", 3, 1.0))
    (reject,) = routed.rejects[0]
    assert (reject.row, reject.reason) == (2, "late")
    assert "'a'" in reject.detail
    assert "120 s" in reject.detail


def test_a_late_reading_is_merged_and_emits_nothing() -> None:
    desk = Desk(RouterPolicy(late="merge", cadence_ns=5 * MINUTE_NS))
    routed = desk.route(("a", 10, 1.0), ("b", 10, 1.0), ("a", 20, 2.0), ("a", 15, 3.0), ("a", 25, 4.0), ("b", 5, 2.0))
    assert (routed.num_merged, routed.num_late, routed.num_duplicates) == (2, 0, 0)
    assert [(row[:2], row[3], row[6]) for row in desk.let_through] == [
        (("a", 10), 0.0, True),
        (("b", 10), 0.0, True),
        (("a", 20), 600.0, True),
        (("a", 15), -300.0, False),
        (("a", 25), 300.0, True),
        (("b", 5), -300.0, False),
    ]
    entry = desk.entry("b")
    assert (entry["count"], entry["last_time_ns"], entry["last_emitted_ns"]) == (2, 10 * MINUTE_NS, 10 * MINUTE_NS)
    assert desk.progress[HERE].watermark_ns == 25 * MINUTE_NS


def test_doubles_of_any_reading_that_is_remembered_are_dropped() -> None:
    desk = Desk(RouterPolicy(late="merge"))
    desk.route(("a", 10, 1.0), ("a", 20, 2.0), ("a", 15, 3.0))
    before = desk.entry("a")
    routed = desk.route(("a", 15, 9.0), ("a", 10, 9.0), ("a", 20, 9.0))
    assert (routed.num_merged, routed.num_late, routed.num_duplicates) == (0, 0, 3)
    assert routed.steps == []
    assert desk.entry("a") == before


def test_what_is_older_than_all_that_is_remembered_is_too_late() -> None:
    desk = Desk(RouterPolicy(late="merge", cadence_ns=MINUTE_NS))
    desk.route(*(("a", 2 * minute, 1.0) for minute in range(NUM_RECENT + 1)))
    before = desk.entry("a")
    routed = desk.route(("a", 1, 1.0), ("a", 0, 1.0))
    assert (routed.num_merged, routed.num_late, routed.num_duplicates) == (0, 2, 0)
    assert desk.entry("a") == before
    assert desk.route(("a", 3, 1.0)).num_merged == 1


def test_a_reading_late_by_centuries_is_merged_as_late() -> None:
    desk = Desk(RouterPolicy(late="merge"))
    desk.route(("a", 141_000_000, 1.0), ("a", -141_000_000, 1.0))
    assert desk.let_through[1][3] < -1e9


def test_more_series_than_slots_are_stepped_in_several_batches() -> None:
    desk = Desk(capacity=2)
    readings = [(sensor, minute, 1.0) for minute in (1, 2) for sensor in "abc"]
    routed = desk.route(*readings)
    assert [len(set(step.handles.tolist())) for step in routed.steps] == [2, 2, 2]
    assert accepted(desk) == readings
    assert sum(len(step.placement.evicted) for step in routed.steps) == 2


def test_a_sensor_seen_in_two_partitions_is_reported_once() -> None:
    there = Partition("readings", 1)
    desk = Desk(partitions=(HERE, there))
    desk.route(("a", 1, 1.0))
    assert desk.route(("a", 1, 1.0), partition=there).doubled == [(("a", ""), there, HERE)]
    assert desk.route(("a", 2, 1.0), partition=there).doubled == []


def test_one_turn_may_hold_several_partitions() -> None:
    there = Partition("readings", 1)
    desk = Desk(partitions=(HERE, there))
    batches = [reading_batch([("a", 1, 1.0), ("a", 2, 2.0)]), reading_batch([("a", 1, 3.0)], there)]
    (step,) = desk.router.route(batches, desk.progress).steps
    assert step.wave_ends.tolist() == [2, 3]
    assert step.source[step.arrival].tolist() == [0, 0, 1]
    assert desk.progress[there].watermark_ns == MINUTE_NS


def test_nothing_to_route_is_fine() -> None:
    assert Desk().router.route([], {}).steps == []
    assert Desk().route().steps == []


READINGS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 30), st.sampled_from([1.0, -2.5, NAN])), max_size=60
)


def oracle(readings: Sequence[Reading], num_recent: int) -> tuple[list[Reading], int, int]:
    """One reading at a time: what is let through, doubles, late ones; as many newest times are remembered."""
    recent: dict[str, list[int]] = {}
    through, doubles, late = [], 0, 0
    for sensor, minute, value in readings:
        if math.isnan(value):
            continue
        times = recent.setdefault(sensor, [])
        if minute in times:
            doubles += 1
        elif len(times) == num_recent and minute < times[0]:
            late += 1
        else:
            recent[sensor] = sorted([*times, minute])[-num_recent:]
            through.append((sensor, minute, value))
    return through, doubles, late


@given(READINGS, st.lists(st.integers(0, 60), max_size=5), st.integers(1, 5), st.sampled_from([1, 3]))
@settings(max_examples=300, deadline=None)
def test_any_cut_of_the_log_gives_the_same(
    readings: list[Reading], cuts: list[int], capacity: int, num_recent: int
) -> None:
    """Dropping late readings is merging them where but the last one is remembered."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "NUM_RECENT", num_recent)
        compare_cut_with_whole(readings, cuts, capacity, num_recent)


def compare_cut_with_whole(readings: list[Reading], cuts: list[int], capacity: int, num_recent: int) -> None:
    policy = RouterPolicy(late="drop" if num_recent == 1 else "merge")
    whole = Desk(policy)
    routed = whole.route(*readings)
    through, doubles, late = oracle(readings, num_recent)
    assert accepted(whole) == through
    assert (routed.num_duplicates, routed.num_late) == (doubles, late)
    cut = Desk(policy, capacity=capacity)
    edges = [0, *sorted(cuts), len(readings)]
    for start, end in itertools.pairwise(edges):
        cut.route(*readings[start:end])
    assert cut.let_through == whole.let_through
    for sensor in {reading[0] for reading in readings}:
        assert cut.entry(sensor) == whole.entry(sensor)
    assert cut.progress == whole.progress


@given(READINGS)
@settings(max_examples=100, deadline=None)
def test_newest_before_equals_a_loop(readings: list[Reading]) -> None:
    groups = np.asarray([ord(sensor) for sensor, _, _ in readings], np.int64)
    times = np.asarray([minute for _, minute, _ in readings], np.int64)
    start = groups % 7
    newest: dict[int, int] = {}
    wanted = []
    for group, time, begin in zip(groups.tolist(), times.tolist(), start.tolist(), strict=True):
        wanted.append(newest.get(group, begin))
        newest[group] = max(newest.get(group, begin), time)
    assert newest_before(groups, times, start).tolist() == wanted


def test_the_digest_tells_order_values_and_times_apart() -> None:
    digests = []
    for readings in (
        [("a", 1, 1.0), ("a", 2, 2.0)],
        [("a", 1, 2.0), ("a", 2, 1.0)],
        [("a", 1, 1.0), ("a", 3, 2.0)],
        [("a", 1, 1.0)],
        [("a", 2, 2.0)],
    ):
        desk = Desk()
        desk.route(*readings)
        digests.append(desk.entry("a")["digest"])
    assert len(set(map(str, digests))) == 5


@pytest.mark.parametrize("cuts", [(1, 5), (3, 4)])
def test_the_digest_does_not_depend_on_other_sensors(cuts: tuple[int, int]) -> None:
    alone, beside = Desk(), Desk()
    alone.route(*(("a", minute, float(minute)) for minute in range(8)))
    readings = [(sensor, minute, float(minute)) for minute in range(8) for sensor in "ba"]
    beside.route(*readings[: cuts[0]])
    beside.route(*readings[cuts[0] : cuts[1]])
    beside.route(*readings[cuts[1] :])
    assert alone.entry("a") == beside.entry("a")
