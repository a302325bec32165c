"""The journal and what refolds from it, with a model small enough to be followed by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurrent_core.models import journal
from recurrent_core.models.interface import Arrival, Outlook, Question, Runs, StreamingModel
from recurrent_core.models.refolding import NUM_SPARE, RefoldingModel

NUM_KEPT, NUM_SLOTS = 4, 3


class Chain(StreamingModel):
    """State: a chain of value and elapsed time, which tells every order of readings apart; time; last value; count."""

    name, version, state_floats, layout_id, max_horizon = "chain", "1", 4, "chain-1", 24

    def init_state(self, num_slots: int) -> Tensor:
        return torch.zeros(num_slots, 4)

    def advance(self, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
        value, elapsed_s = arrival.value.float(), arrival.elapsed_s.float()
        chain = (3.0 * state[:, 0] + 7.0 * value + elapsed_s + arrival.second_of_week.float()).remainder(9973.0)
        state[:] = torch.stack([chain, state[:, 1] + elapsed_s, value, state[:, 3] + 1.0], dim=1)
        return self._outlook(state, horizon)

    def ask(self, question: Question, state: Tensor, horizon: int) -> Outlook:
        return self._outlook(state, horizon)

    def _outlook(self, state: Tensor, horizon: int) -> Outlook:
        mean = state[:, :1].double().repeat(1, horizon)
        flags = torch.zeros(len(state), dtype=torch.bool)
        return Outlook(mean, mean[:, None].repeat(1, 3, 1), torch.ones(len(state), dtype=torch.float64), flags, flags)

    def describe(self, state: Tensor) -> dict[str, float]:
        return {"chain": float(state[0])}


Reading = tuple[int, int]
"""Slot, and minute of its event time; the value follows from them."""


def legal(told: list[Reading]) -> list[Reading]:
    """Without what the promise leaves out: doubles, and readings with NUM_KEPT newer ones."""
    kept: list[Reading] = []
    for slot, minute in told:
        newest = sorted(other for one, other in kept if one == slot)[-NUM_KEPT:]
        if minute not in newest and (len(newest) < NUM_KEPT or minute > newest[0]):
            kept.append((slot, minute))
    return kept


def fold(model: StreamingModel, readings: list[Reading], cuts: list[int]) -> tuple[Tensor, Tensor]:
    """Rows and the means of readings in order, after batches that end at the cuts."""
    slab, last, means = model.init_state(NUM_SLOTS), {}, []
    columns = []
    for slot, minute in readings:
        elapsed_s = 60.0 * (minute - last.get(slot, minute))
        last[slot] = max(minute, last.get(slot, minute))
        columns.append((float(minute * 5 % 17 + slot), elapsed_s, 60.0, 60.0 * minute))
    table, slots = torch.tensor(columns, dtype=torch.float64), np.array([slot for slot, _ in readings])
    for batch in np.split(np.arange(len(readings)), sorted(cuts)):
        if len(batch):
            order, runs = Runs.of(slots[batch])
            outlook = model.sequence(Arrival(*table[batch[order]].T), runs, slab, 2)
            means.append(outlook.mean[np.argsort(order)])
    return slab, torch.cat(means)[table[:, 1] >= 0.0]


readings = st.lists(st.tuples(st.integers(0, NUM_SLOTS - 1), st.integers(0, 40)), min_size=1, max_size=80)


@given(readings, st.lists(st.integers(0, 80), max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_order_and_any_cut_leave_the_state_of_readings_in_order(told: list[Reading], cuts: list[int]) -> None:
    model, inner, came = RefoldingModel(Chain(), NUM_KEPT), Chain(), legal(told)
    rows, means = fold(model, came, cuts)
    in_order, _ = fold(inner, sorted(came, key=lambda reading: reading[1]), [])
    assert torch.equal(rows[:, : inner.state_floats], in_order)
    rows_whole, means_whole = fold(model, came, [])
    assert torch.equal(rows, rows_whole)
    assert torch.equal(means, means_whole)


def test_at_least_so_many_readings_can_be_folded_again() -> None:
    model, inner = RefoldingModel(Chain(), NUM_KEPT), Chain()
    for num in range(NUM_KEPT, NUM_KEPT + 3 * NUM_SPARE):
        came = [(0, 2 * minute) for minute in range(num)]
        late = (0, 2 * (num - NUM_KEPT) + 1)
        rows, _ = fold(model, [*came, late], [num])
        wanted, _ = fold(inner, sorted([*came, late]), [])
        assert torch.equal(rows[:, : inner.state_floats], wanted), num


def test_a_question_beside_late_readings_is_answered_from_what_came_before_it() -> None:
    model = RefoldingModel(Chain(), NUM_KEPT)
    columns = [(1.0, 0.0, 60.0, 0.0), (2.0, 120.0, 60.0, 120.0), (3.0, -60.0, 60.0, 60.0), (np.nan, 60.0, 60.0, 180.0)]
    arrival = Arrival(*torch.tensor(columns, dtype=torch.float64).T)
    slab = model.init_state(1)
    outlook = model.sequence(arrival, Runs(np.zeros(4, np.int64), np.arange(1, 5)), slab, 2)
    assert outlook.mean[2:, 0].tolist() == [float(slab[0, 0])] * 2
    assert slab[0, 3] == 3.0, "readings, not questions"


def test_a_fresh_row_takes_a_late_reading_as_its_first() -> None:
    """So it is where the row of a series was not finite and has started afresh."""
    model = RefoldingModel(Chain(), NUM_KEPT)
    late = Arrival(*torch.tensor([[5.0], [-60.0], [60.0], [0.0]], dtype=torch.float64))
    _, state = model.step(late, model.init_state(1), 2)
    assert state[0, :4].tolist() == [35.0, 0.0, 5.0, 1.0]


def test_rows_of_another_policy_are_foreign_and_renewed_rows_are_fresh() -> None:
    model = RefoldingModel(Chain(), NUM_KEPT)
    assert model.layout_id != Chain.layout_id
    assert model.layout_id != RefoldingModel(Chain(), NUM_KEPT + 1).layout_id
    rows, _ = fold(model, [(slot, minute) for slot in range(NUM_SLOTS) for minute in range(20)], [])
    assert (rows != 0).any(dim=1).all()
    model.renew(rows)
    assert torch.equal(rows, model.init_state(NUM_SLOTS))


@pytest.mark.parametrize("number", [0.0, 1 / 3, 86_399.999_999_9, 1e15 / 7, -1.7e-9, 3e30])
def test_numbers_are_kept_to_48_bits(number: float) -> None:
    columns = torch.full((1,), number, dtype=torch.float64)
    found = journal.read(journal.written(Arrival(columns, columns, columns, torch.zeros(1).double())))
    assert found.value.item() == pytest.approx(number, rel=2**-47, abs=0.0)
    assert journal.read(journal.written(found)).value.item() == found.value.item()


def test_the_last_moment_of_a_week_does_not_round_out_of_it() -> None:
    second = torch.tensor([604_799.999_999_999], dtype=torch.float64)
    found = journal.read(journal.written(Arrival(second, second, second, second)))
    assert 0.0 <= found.second_of_week.item() < 604_800.0
