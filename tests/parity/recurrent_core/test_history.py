"""Attention over a series' own past is the same whole runs at a time, one reading at a time, and by torch's way."""

import numpy as np
import pytest
import torch

from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.models.interface import Arrival, Outlook, Runs, StreamingModel
from recurrent_core.ops.mechanism import Recurrence
from recurrent_core.ops.registry import MECHANISMS
from tests.parity.recurrent_core.test_elinformer_forms import by_torch, make_rows, numbered_rows, worst
from tests.support.models import with_history

KNOWN = Known(("s-1", "s-2", "s-3"))
STREAMING = [name for name, rule in MECHANISMS.items() if issubclass(rule, Recurrence)]
STACKS = [(rule,) for rule in STREAMING] + [("conv+entropy_equality",), ("lightning", "softmax_window")]
NUM_ROWS = 150


def assert_near(left: Outlook, right: Outlook) -> None:
    apart = worst(left, right)
    assert (apart > 1e-4).double().mean() < 1e-2, "a few may differ by a flipped threshold"


@pytest.mark.parametrize("rules", STACKS, ids="+".join)
def test_runs_with_questions_equal_readings_and_questions_one_by_one(rules: tuple[str, ...]) -> None:
    model = with_history(1, KNOWN, 0.3, *rules)
    rows, cadence = make_rows(6)
    rows, num = rows[:NUM_ROWS], len(cadence)
    draw = np.random.default_rng(6)
    is_there = draw.random((NUM_ROWS, num)) < 0.8
    is_there[0] = True
    waited = np.zeros(num)
    columns: list[list[torch.Tensor]] = [[], [], [], []]
    slots, ends = [], []
    for row, arrival in enumerate(rows):
        waited += arrival.elapsed_s.numpy()
        value = torch.where(torch.from_numpy(is_there[row]), arrival.value, torch.nan)
        elapsed_s = torch.from_numpy(waited.copy())
        for column, each in zip(columns, (value, elapsed_s, cadence, arrival.second_of_week), strict=True):
            column.append(each)
        waited[is_there[row]] = 0.0
        slots.append(np.arange(num))
        ends.append(num * (row + 1))
    whole = Arrival(*(torch.cat(column) for column in columns))
    runs = Runs(np.concatenate(slots), np.array(ends))
    together, apart = numbered_rows(model, num), numbered_rows(model, num)
    found = model.sequence(whole, runs, together, 12)
    expected = StreamingModel.sequence(model, whole, runs, apart, 12)
    assert_near(found, expected)
    parts = (model.layout.views(state) for state in (together, apart))
    one, other = ({name: view[name] for name in ("history", "memory")} for view in parts)
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-3)
        assert one[name].abs().sum() > 0


@pytest.mark.parametrize("rules", [("entropy_equality",), ("conv+gla", "softmax_window")], ids="+".join)
def test_the_compiled_loops_equal_the_equations(rules: tuple[str, ...]) -> None:
    model = with_history(1, KNOWN, 0.3, *rules)
    rows, cadence = make_rows(8)
    compiled, plain = (numbered_rows(model, len(cadence)) for _ in range(2))
    for arrival in rows[:NUM_ROWS]:
        assert_near(model.advance(arrival, compiled, 12), by_torch(model, arrival, plain, 12))


def test_what_is_remembered_is_heard() -> None:
    """The network's say changes with the past alone: the same readings of late, another past."""
    model = with_history(1, KNOWN, 0.3, "entropy_equality")
    rows, cadence = make_rows(8)
    state = numbered_rows(model, len(cadence))
    for arrival in rows[:60]:
        model.advance(arrival, state, 12)
    other = state.clone()
    model.layout.view(other, "history").mul_(-1.0)
    left, right = model.advance(rows[60], state, 12), model.advance(rows[60], other, 12)
    assert worst(left, right)[1] > 1e-3
    assert isinstance(model, Elinformer)
