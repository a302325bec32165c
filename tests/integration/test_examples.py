"""The examples run, on smaller numbers, and show what they claim."""

import pytest

from deploy.examples import chaotic_series, in_context_regression


def test_the_ridge_read_out_is_ridge_regression_and_the_others_learn_less() -> None:
    assert in_context_regression.distance_from_ridge_regression(20) < 1e-4
    curves = in_context_regression.run(200)
    last = {name: curve[-1][1] for name, curve in curves.items()}
    noise = in_context_regression.NOISE**2
    assert last["ridge"] < 2 * noise
    assert last["ridge"] == min(last.values())
    assert all(last[name] < 0.8 for name in ("entropy_equality", "softmax", "gated_delta"))


@pytest.mark.parametrize("series", ["lorenz", "mackey_glass"])
def test_a_chaotic_series_is_forecast_better_than_by_its_last_value(series: str) -> None:
    values = chaotic_series.SERIES[series](600)
    assert abs(values[300:].std() / values[:300].std() - 1.0) < 0.5, "it goes on as it began"
    accounts = chaotic_series.run(900, 40, ("entropy_equality",))
    ours = [account for account in accounts if account.series == series]
    assert {account.conv_width for account in ours} == {0, chaotic_series.WIDTH}
    assert all(account.errors[-1] < 1.2 for account in ours), "after 40 steps about the standard deviation at worst"
    assert all(account.errors[0] < account.errors[-1] for account in ours)
