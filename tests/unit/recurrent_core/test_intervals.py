"""Widths that learn from their misses."""

import torch

from recurrent_core import intervals

BASE = torch.full((1, 2, 5), intervals.UNIT)
"""Sides noted with a forecast whose mean |error| is 1."""


def test_each_side_is_missed_in_one_of_ten() -> None:
    draw = torch.Generator().manual_seed(3)
    offsets, counts = torch.zeros(1, 2, 5), torch.zeros(1, 5)
    always = torch.ones(1, 5)
    misses = torch.zeros(2, 5)
    for step in range(6000):
        error = torch.randn(1, 5, generator=draw).exp() - 1.0
        if step >= 2000:
            sides = BASE * offsets.exp()
            misses += torch.stack([-error[0] > sides[0, 0], error[0] > sides[0, 1]])
        counts = counts + 1.0
        offsets = intervals.learn_offsets(offsets, counts, error, BASE, always)
    assert torch.allclose(misses / 4000, torch.full((2, 5), 0.1), atol=0.02)


def test_what_has_not_arrived_moves_nothing() -> None:
    offsets = torch.randn(1, 2, 5).clamp(-1, 1)
    nothing = torch.zeros(1, 5)
    learnt = intervals.learn_offsets(offsets, nothing, torch.full((1, 5), 9.0), BASE, nothing)
    assert torch.equal(learnt, offsets)


def test_offsets_stay_within_bounds() -> None:
    offsets, one = torch.zeros(1, 2, 5), torch.ones(1, 5)
    for _ in range(3000):
        offsets = intervals.learn_offsets(offsets, one, torch.full((1, 5), 1e30), BASE, one)
    assert torch.allclose(offsets[0, 1], torch.full((5,), intervals.MAX_OFFSET))
    assert torch.allclose(offsets[0, 0], torch.full((5,), -intervals.MAX_OFFSET))


def test_the_first_error_expected_grows_with_the_lead() -> None:
    nothing = torch.zeros(1, 5)
    expected = intervals.expected_error(nothing, nothing, torch.tensor([2.0]), torch.tensor([1, 2, 4, 8, 12]))
    assert torch.allclose(expected, 2.0 * torch.tensor([[1.0, 2.0, 4.0, 8.0, 12.0]]).sqrt())
