"""The ledger and the slots: numbering, exact order of eviction, reuse."""

import numpy as np
import pytest

from connectors.records import Partition
from stream_engine.slots import NEVER_NS, NO_SLOT, Ledger, Slots, fresh_entries

HERE, THERE = Partition("t", 0), Partition("t", 1)


def ledger_with(names: str, partition: Partition = HERE) -> Ledger:
    ledger = Ledger()
    ledger.add_partition(partition)
    ledger.look_up(partition, [(name, "") for name in names])
    return ledger


def array(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


def test_series_are_numbered_as_first_seen() -> None:
    ledger = ledger_with("ba")
    handles, new = ledger.look_up(HERE, [("a", ""), ("c", ""), ("b", ""), ("c", ""), ("a", "x")])
    assert new == [("c", ""), ("a", "x")]
    assert ledger.number[handles].tolist() == [1, 2, 0, 2, 3]
    assert [ledger.keys[handle] for handle in ledger.handles(HERE)] == [("b", ""), ("a", ""), ("c", ""), ("a", "x")]
    assert (ledger.entries["last_time_ns"][handles] == NEVER_NS).all()


def test_partitions_do_not_share_series() -> None:
    ledger = ledger_with("ab")
    ledger.add_partition(THERE)
    handles, new = ledger.look_up(THERE, [("a", "")])
    assert new == [("a", "")]
    assert handles[0] != ledger.find(HERE, ("a", ""))
    assert ledger.others_with(THERE, ("a", "")) == [HERE]
    assert ledger.partition_of(int(handles[0])) == THERE


def test_a_dropped_partition_gives_back_slots_and_handles() -> None:
    ledger, slots = ledger_with("abc"), Slots(8)
    placed = slots.place(ledger.handles(HERE), ledger)
    freed = ledger.drop_partition(HERE)
    assert sorted(freed.tolist()) == sorted(placed.loaded_slots.tolist())
    slots.release(freed)
    assert slots.num_resident == 0
    assert len(ledger) == 0
    ledger.add_partition(HERE)
    handles, _ = ledger.look_up(HERE, [("z", "")])
    assert ledger.slot[handles].tolist() == [NO_SLOT]
    assert ledger.entries["count"][handles].tolist() == [0]
    assert ledger.number[handles].tolist() == [0]


def test_many_series_grow_the_ledger_and_keep_their_entries() -> None:
    ledger = Ledger()
    ledger.add_partition(HERE)
    entries = fresh_entries(700)
    entries["count"] = np.arange(700)
    handles = ledger.add(HERE, [(str(number), "") for number in range(700)], entries)
    more, _ = ledger.look_up(HERE, [(str(number), "") for number in range(600, 2000)])
    assert ledger.entries["count"][handles].tolist() == list(range(700))
    assert ledger.number[more].tolist() == list(range(600, 2000))


def test_slots_are_given_out_from_zero_up() -> None:
    ledger, slots = ledger_with("abcde"), Slots(4)
    placed = slots.place(ledger.handles(HERE)[:3], ledger)
    assert placed.loaded_slots.tolist() == [0, 1, 2]
    assert placed.evicted.tolist() == []


def test_the_least_recently_used_leaves_first_and_none_of_those_in_use() -> None:
    ledger, slots = ledger_with("abcdef"), Slots(4)
    a, b, c, d, e, f = ledger.handles(HERE).tolist()
    slots.place(array(a, b, c, d), ledger)
    slots.place(array(b), ledger)
    placed = slots.place(array(e, a), ledger)
    assert placed.evicted.tolist() == [c]
    assert placed.loaded.tolist() == [e]
    assert ledger.slot[[c]].tolist() == [NO_SLOT]
    placed = slots.place(array(f, c), ledger)
    assert placed.evicted.tolist() == [d, b]
    assert sorted(placed.loaded_slots.tolist()) == sorted(placed.evicted_slots.tolist())
    assert sorted(ledger.slot[[a, e, f, c]].tolist()) == [0, 1, 2, 3]
    assert slots.holder[ledger.slot[[a, e, f, c]]].tolist() == [a, e, f, c]


def test_released_slots_are_used_before_anyone_is_evicted() -> None:
    ledger, slots = ledger_with("abc"), Slots(2)
    a, b, c = ledger.handles(HERE).tolist()
    slots.place(array(a, b), ledger)
    slots.release(ledger.slot[[a]])
    ledger.slot[a] = NO_SLOT
    placed = slots.place(array(c), ledger)
    assert placed.evicted.tolist() == []
    assert ledger.slot[b] != NO_SLOT


def test_no_slots_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Slots(0)
