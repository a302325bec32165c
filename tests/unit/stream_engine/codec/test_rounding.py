"""Rounding: short, near, never crossing, safe at the ends of the doubles."""

import numpy as np
import pytest

from stream_engine.codec.rounding import decimals, rounded


@pytest.mark.parametrize("scale", [1e-12, 3e-4, 1.0, 2.5, 1e3, 7e9])
def test_the_step_is_at_most_a_hundred_thousandth_of_the_scale(scale):
    numbers = np.random.default_rng(1).normal(0, scale, (100, 4))
    places = decimals(np.full(100, scale), np.abs(numbers).max(axis=1))
    short = rounded(numbers, places)
    assert np.abs(short - numbers).max() <= 0.51e-5 * scale
    assert max(len(repr(number).split("e")[0]) for number in short.ravel().tolist()) <= 14


def test_order_is_kept():
    numbers = np.sort(np.random.default_rng(2).normal(0, 1e-4, (50, 9)), axis=1)
    short = rounded(numbers, decimals(np.ones(50), np.ones(50)))
    assert (np.diff(short, axis=1) >= 0).all()


def test_without_a_scale_the_numbers_themselves_tell():
    places = decimals(np.array([0.0, np.nan, -1.0, 0.0]), np.array([20.0, 20.0, 20.0, 0.0]))
    short = rounded(np.full((4, 1), 20.123456789), places)
    assert short[:3, 0] == pytest.approx(20.123456789, abs=2e-6)


def test_the_ends_of_the_doubles():
    numbers = np.array([[1e308, -1e308, np.nan, np.inf, -0.0, 5e-324]])
    short = rounded(numbers, decimals(np.array([1e-300]), np.array([1e308])))
    assert short[0, :2] == pytest.approx(numbers[0, :2])
    assert np.isnan(short[0, 2])
    assert np.isinf(short[0, 3])
    assert not np.signbit(short[0, 4])
