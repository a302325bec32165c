"""Anchor, ring and scale."""

import torch

from recurrent_core import scaling


def test_the_anchor_keeps_forty_eight_bits() -> None:
    value = torch.tensor([1e9 + 0.125, -101325.123456, 1e-30, 0.0, 1e30], dtype=torch.float64)
    joined = scaling.join_anchor(scaling.split_anchor(value))
    assert torch.allclose(joined, value, rtol=1e-14, atol=0.0)
    assert scaling.join_anchor(scaling.split_anchor(torch.tensor([1e300], dtype=torch.float64))).isfinite().all()


def test_small_steps_on_a_great_offset_are_kept() -> None:
    first = torch.tensor([1e9], dtype=torch.float64)
    assert scaling.relative(first + 2.0**-10, scaling.split_anchor(first)).item() == 2.0**-10


def test_pushing_shifts_by_the_ticks_and_fills_on_a_line() -> None:
    ring = torch.tensor([[4.0, 3.0, 2.0, 1.0]]).repeat(3, 1)
    pushed = scaling.push(ring, torch.tensor([5.0, 10.0, 1004.0]), torch.tensor([1.0, 3.0, 1000.0]))
    assert pushed[0].tolist() == [5.0, 4.0, 3.0, 2.0]
    assert torch.allclose(pushed[1], torch.tensor([10.0, 8.0, 6.0, 4.0]))
    assert torch.allclose(pushed[2], torch.tensor([1004.0, 1003.0, 1002.0, 1001.0]))


def test_the_scale_starts_as_a_guess_and_ends_as_the_steps() -> None:
    steps = torch.tensor([[0.0, 0.0], [2.0, 4.0], [2.0, 4.0]])
    count = torch.tensor([1.0, 30.0, 30.0])
    anchor = torch.tensor([[50.0, 0.0], [50.0, 0.0], [0.0, 0.0]])
    scale = scaling.scale(steps, count, anchor, torch.zeros(3))
    assert torch.allclose(scale, torch.tensor([5.0, 3.0, 3.0]))
    assert scaling.scale(torch.zeros(1, 2), torch.tensor([1e6]), torch.zeros(1, 2), torch.zeros(1)) > 0
