"""Errors at knots, weights of read-outs, residual decay."""

import torch

from recurrent_core import mixing


def test_knots_are_joined_by_straight_lines() -> None:
    knot_values = torch.tensor([[[1.0, 2.0, 4.0, 8.0, 12.0]]])
    leads = torch.arange(1, 13)[None]
    assert torch.allclose(mixing.at_leads(knot_values, leads)[0, 0], leads[0].float())
    assert mixing.at_leads(knot_values, torch.tensor([[13, 400]])).tolist() == [[[12.0, 12.0]]]
    own = torch.tensor([[3, 5], [6, 12]])
    assert torch.allclose(mixing.at_leads(knot_values.expand(2, -1, -1), own)[:, 0], own.float())


def test_errors_are_means_first_and_forget_later() -> None:
    errors, counts = torch.zeros(1, 1, 5), torch.zeros(1, 5)
    is_arrived = torch.tensor([[1.0, 1.0, 0.0, 0.0, 0.0]])
    for size in (1.0, 2.0, 6.0):
        counts = counts + is_arrived
        errors = mixing.learn_errors(errors, counts, torch.full((1, 1, 5), size), is_arrived, 0.0125)
    assert torch.allclose(errors, torch.tensor([[[3.0, 3.0, 0.0, 0.0, 0.0]]]))


def test_weights_sum_to_one_and_favour_the_small_error() -> None:
    errors = torch.tensor([[[1.0], [2.0], [1e30]]]).expand(1, 3, 5)
    expected = mixing.expected_errors(errors, torch.full((1, 5), 1e4), torch.ones(1), torch.ones(3))
    shares = mixing.weights(expected, 10)
    assert torch.allclose(shares.sum(dim=1), torch.ones(1, 5))
    assert torch.allclose(shares[0, 1] / shares[0, 0], torch.tensor(0.001), atol=1e-4)
    assert (shares[0, 2] == 0).all()


def test_a_new_slot_goes_by_the_prior() -> None:
    nothing, prior = torch.zeros(1, 5), torch.tensor([1.0, 2.0])
    shares = mixing.weights(mixing.expected_errors(torch.zeros(1, 2, 5), nothing, torch.tensor([7.0]), prior), 3)
    assert torch.allclose(shares[0, 0] / shares[0, 1], torch.tensor(8.0))


def test_the_residual_decay_is_one_at_first_and_regresses_later() -> None:
    zeros = torch.zeros(1, 1, 5)
    assert torch.equal(mixing.decay(zeros, zeros), torch.ones(1, 1, 5))
    cross, square = zeros, zeros
    is_arrived = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0]])
    for _ in range(2000):
        then = torch.randn(1, 1, 5)
        cross, square = mixing.learn_decay(cross, square, 0.5 * then[..., 0], then, is_arrived, 0.002)
    b = mixing.decay(cross, square)
    assert abs(b[0, 0, 0] - 0.5) < 0.01
    assert b[0, 0, 1] < 0.2
    assert b[0, 0, 4] == 1.0
