"""The test equals its formula, rejects as often as it says, and owns up where it cannot tell."""

import numpy as np
import pytest

from stream_engine.backtest.diebold_mariano import Verdict, diebold_mariano, two_sided


@pytest.mark.parametrize(
    ("statistic", "degrees", "p_value"),
    [(12.706, 1, 0.05), (4.303, 2, 0.05), (3.182, 3, 0.05), (2.776, 4, 0.05), (-2.086, 20, 0.05), (2.845, 20, 0.01)],
)
def test_students_t_as_printed_in_tables(statistic: float, degrees: int, p_value: float) -> None:
    assert two_sided(statistic, degrees) == pytest.approx(p_value, rel=2e-3)  # tables have four figures


@pytest.mark.parametrize("degrees", [1, 2, 5, 38, 1_001])
def test_no_distance_is_certain_to_be_chance(degrees: int) -> None:
    assert two_sided(0.0, degrees) == 1.0
    assert two_sided(1e9, degrees) == pytest.approx(0.0, abs=1e-8)


def test_at_lead_1_it_is_the_t_test_of_the_differences() -> None:
    differences = np.random.default_rng(1).normal(0.3, 1.0, 40)
    verdict = diebold_mariano(np.arange(40), differences, 1)
    expected = differences.mean() / (differences.std(ddof=1) / np.sqrt(40))
    assert verdict.statistic == pytest.approx(expected)
    assert verdict.num_origins == 40
    swapped = diebold_mariano(np.arange(40), -differences, 1)
    assert swapped.statistic == pytest.approx(-expected)
    assert swapped.p_value == verdict.p_value


def test_lags_and_correction_by_the_formula() -> None:
    d, h, n = np.convolve(np.random.default_rng(2).normal(0.1, 1, 62), np.ones(3), "valid"), 3, 60
    c = d - d.mean()
    variance = (c @ c + 2 * sum(c[k:] @ c[:-k] for k in range(1, h))) / n
    expected = d.mean() / np.sqrt(variance / n) * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    assert diebold_mariano(np.arange(n), d, h).statistic == pytest.approx(expected)


@pytest.mark.parametrize(("lead", "num"), [(1, 60), (4, 300), (12, 1_000)])
def test_it_rejects_chance_about_as_often_as_it_says(lead: int, num: int) -> None:
    rng = np.random.default_rng(3)
    rejected = 0
    for _ in range(400):
        overlapping = np.convolve(rng.normal(size=num + lead - 1), np.ones(lead), "valid")
        verdict = diebold_mariano(np.arange(num), overlapping, lead)
        rejected += verdict.p_value is not None and verdict.p_value < 0.05
    assert 0.02 <= rejected / 400 <= 0.10  # 5 %, give or take four standard errors of 400 draws, and small samples


@pytest.mark.parametrize("scattered", [1, 1_000])
def test_only_origins_that_far_apart_share_a_lag(scattered: int) -> None:
    ticks = np.array([0, 1, 2, 50, 51, 52, 100, 101, 102, 150]) + scattered * np.repeat([0, 1, 2, 3], [3, 3, 3, 1])
    differences = np.arange(10.0) % 3 + 1
    c = differences - differences.mean()
    pairs = [0, 1, 3, 4, 6, 7]
    variance = (c @ c + 2 * sum(c[n] * c[n + 1] for n in pairs)) / 10
    shrink = np.sqrt((10 + 1 - 4 + 2 / 10) / 10)
    expected = differences.mean() / np.sqrt(variance / 10) * shrink
    assert diebold_mariano(ticks, differences, 2).statistic == pytest.approx(expected)


def test_where_the_plain_sum_is_not_above_0_the_weighted_one_stands_in() -> None:
    differences = np.tile([1.0, -1.0], 20) + 0.01
    verdict = diebold_mariano(np.arange(40), differences, 2)
    assert verdict.statistic is not None
    assert verdict.statistic > 0


@pytest.mark.parametrize(
    ("differences", "lead", "verdict"),
    [
        (np.zeros(0), 1, Verdict(None, None, 0)),
        (np.ones(7), 1, Verdict(None, None, 7)),
        (np.random.default_rng(0).normal(size=20), 12, Verdict(None, None, 20)),
        (np.ones(30), 1, Verdict(None, None, 30)),
        (np.zeros(30), 3, Verdict(0.0, 1.0, 30)),
    ],
)
def test_what_cannot_be_told_is_none(differences: np.ndarray, lead: int, verdict: Verdict) -> None:
    assert diebold_mariano(np.arange(len(differences)), differences, lead) == verdict
