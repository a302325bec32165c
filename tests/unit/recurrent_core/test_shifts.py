"""What the shipped model does when a level shifts: it is told, the interval widens at once and calms down again."""

import numpy as np
import pytest

from recurrent_core.weights import load_model
from tests.benchmarks.shifts import AFTER, Series, made, measure, tell

MODEL = load_model()
SHIFTED = list(made(5, seed=5))
STEADY = list(made(5, seed=6, is_shifted=False))


@pytest.fixture(scope="module")
def seen() -> dict[str, float]:
    return measure(SHIFTED, tell(MODEL, SHIFTED))


def test_a_shift_is_told_soon_and_not_for_ever(seen: dict[str, float]) -> None:
    assert seen["told within 12"] >= 0.85
    assert seen["readings until told"] <= 5
    assert seen["readings told"] <= 40
    assert seen["drifting before"] <= 0.01


def test_the_interval_holds_soon_after_a_shift_and_is_calm_again_later(seen: dict[str, float]) -> None:
    assert seen["coverage 1st-12th"] >= 0.65, "0.64 without breaks"
    assert 0.76 <= seen["coverage 13th-60th"] <= 0.86, "0.91 without breaks"
    assert seen["width 1st-12th"] > 2 * seen["width 61st-250th"]


def test_where_nothing_shifts_nothing_is_told() -> None:
    seen = measure(STEADY, tell(MODEL, STEADY))
    assert seen["drifting before"] <= 0.01
    assert all(0.76 <= seen[f"coverage {name}"] <= 0.84 for name in AFTER)


def test_a_single_outlier_is_no_break() -> None:
    values = np.random.default_rng(3).normal(size=400)
    values[350] += 1000.0
    told = tell(MODEL, [Series("outlier", values, 300.0, 0.0, 350)])[0]
    assert not told.is_drifting.any()


def test_a_constant_that_jumps_is_told_and_stays_finite() -> None:
    values = np.full(500, 7.0)
    values[400:] = 9.0
    told = tell(MODEL, [Series("constant", values, 300.0, 0.0, 400)])[0]
    assert told.is_drifting[400:412].any()
    assert not told.is_drifting[:400].any()
    assert np.isfinite(told.quantiles).all()
    assert (told.quantiles[470:, 0] <= 9.001).all()
    assert (told.quantiles[470:, 2] >= 8.999).all()
