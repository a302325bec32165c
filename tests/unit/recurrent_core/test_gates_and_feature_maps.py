"""Decay in log space, and the keys the memories are written under."""

import math

import pytest
import torch

from recurrent_core.feature_maps import calendar_keys, num_calendar_keys, scale_query, unit_length
from recurrent_core.gates import log_decay

DAY = 86_400.0


def test_the_mass_falls_to_one_over_e_in_tau() -> None:
    elapsed = torch.tensor([0.0, 50.0, 1e9], dtype=torch.float64)
    assert log_decay(elapsed, torch.tensor(math.log(50.0), dtype=torch.float64)).tolist() == pytest.approx(
        [0.0, -1.0, -2e7], rel=1e-14
    )


def test_decay_spreads_over_heads_and_keeps_the_wider_dtype() -> None:
    found = log_decay(torch.ones(4, 1, dtype=torch.float64), torch.zeros(3))
    assert found.shape == (4, 3)
    assert found.dtype == torch.float64


def test_logits_of_scaled_queries_have_unit_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(20_000, 64, generator=generator) for _ in range(2))
    assert float((scale_query(q) * k).sum(-1).var()) == pytest.approx(1.0, abs=0.05)  # sd of the estimate is 0.01


def test_unit_length_and_its_gradient_at_zero() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    y = unit_length(x)
    assert y.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert bool(gradient.isfinite().all())


def test_calendar_keys_know_the_hour_and_the_weekend() -> None:
    times = torch.tensor([0.25 * DAY, 1.25 * DAY, 5.25 * DAY, 6.75 * DAY], dtype=torch.float64)
    keys = calendar_keys(times, num_daily=2, num_weekend=1)
    assert keys.shape == (4, num_calendar_keys(2, 1))
    assert keys.dtype == torch.float64
    assert torch.equal(keys[0], keys[1])  # two weekdays, one hour
    wanted = torch.tensor(  # sines, cosines, sign, sign * sine, sign * cosine
        [[1, 0, 0, -1, -1, -1, 0], [1, 0, 0, -1, -1, -1, 0], [1, 0, 0, -1, 1, 1, 0], [-1, 0, 0, -1, 1, -1, 0]]
    ).double()
    assert float((keys - wanted).abs().max()) < 1e-14  # sin(pi) in float64


def test_the_recipe_s_calendar_has_81_keys_that_do_not_vary_in_length() -> None:
    keys = calendar_keys(torch.arange(0.0, 7 * DAY, 300.0, dtype=torch.float64))
    assert keys.shape == (2016, 81)
    assert num_calendar_keys(32, 8) == 81
    assert float((keys.square().sum(-1) - 41.0).abs().max()) < 1e-12  # 32 + 1 + 8, some roundings
