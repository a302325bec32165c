"""Errors by hour, time, sensor and quantile, against plain sums."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from stream_engine.backtest.breakdown import MOST_SPELLS, Breakdown, Spells
from stream_engine.backtest.scores import Judged

HOUR_NS = 3_600 * 10**9
DAY_NS = 24 * HOUR_NS
START_NS = 1_717_200_000 * 10**9  # 2024-06-01 00:00 UTC


def judged() -> Judged:
    rng = np.random.default_rng(6)
    truths = rng.normal(10, 2, (96, 2)).round()
    truths[3, 1] = np.nan
    median = truths.round() + rng.choice([-1.0, 0.0, 2.0], truths.shape)
    median = np.where(np.isnan(median), 7.0, median)
    naive = np.where(rng.random(truths.shape) < 0.3, np.nan, 10.0)
    origins_ns = START_NS + np.repeat(np.arange(48), 2) * HOUR_NS
    return Judged(
        series=np.tile([0, 1], 48),
        origins_ns=origins_ns,
        targets_ns=origins_ns[:, None] + np.array([1, 2]) * HOUR_NS,
        truths=truths,
        mean=median,
        quantiles=np.stack([median - 1, median, median + 1], axis=1),
        baselines={"naive": naive},
    )


def broken(zone: str = "UTC", parts: int = 1) -> Breakdown:
    one = judged()
    found = Breakdown(2, 3, ["naive"], Spells.of(START_NS, START_NS + 3 * DAY_NS), ZoneInfo(zone))
    for cut in np.array_split(np.arange(96), parts):
        found.add(
            Judged(
                one.series[cut],
                one.origins_ns[cut],
                one.targets_ns[cut],
                one.truths[cut],
                one.mean[cut],
                one.quantiles[cut],
                {"naive": one.baselines["naive"][cut]},
            )
        )
    return found


def test_hours_are_those_of_the_target_by_local_clocks() -> None:
    one = judged()
    errors = np.abs(one.truths - one.median)
    for zone, shift in (("UTC", 0), ("America/Los_Angeles", -7)):
        local = (one.targets_ns // HOUR_NS + shift) % 24
        hours = broken(zone).result()["hours"]
        assert set(hours) == {str(hour) for hour in range(24)}  # type: ignore[call-overload]
        for hour in range(24):
            entry = hours[str(hour)]  # type: ignore[index]
            assert entry["mae"] == pytest.approx(np.nanmean(errors[local == hour]))
            assert entry["count"] == np.isfinite(errors[local == hour]).sum()


def test_sensors_and_their_ratio_on_common_cells() -> None:
    one = judged()
    errors, naive = np.abs(one.truths - one.median), np.abs(one.truths - one.baselines["naive"])
    sensors = broken().sensors
    both = np.isfinite(errors) & np.isfinite(naive) & (one.series[:, None] == 1)
    assert sensors.mae[1] == pytest.approx(np.nanmean(errors[one.series == 1]))
    assert sensors.ratio_to("naive")[1] == pytest.approx(errors[both].sum() / naive[both].sum())
    assert sensors.baseline_mae("naive")[1] == pytest.approx(naive[both].mean())
    assert np.isnan(sensors.mae[2])
    assert np.isnan(sensors.ratio_to("naive")[2])


def test_calibration_counts_ties_half() -> None:
    one = judged()
    shares = broken().result()["calibration"]
    for lead in range(2):
        y = one.truths[:, lead]
        there = np.isfinite(y)
        for number, level in enumerate((0.1, 0.5, 0.9)):
            quantile = one.quantiles[:, number, lead]
            expected = ((y < quantile)[there].sum() + 0.5 * (y == quantile)[there].sum()) / there.sum()
            assert shares[str(lead + 1)][str(level)] == pytest.approx(expected)  # type: ignore[index]


def test_however_cut_the_sums_are_the_same() -> None:
    whole, parts = broken(), broken(parts=7)
    assert parts.result() == whole.result()
    for name, sums in whole.spells.model.items():
        np.testing.assert_allclose(parts.spells.model[name], sums)
    assert (parts.first_origin_ns, parts.last_origin_ns) == (whole.first_origin_ns, whole.last_origin_ns)
    assert whole.spells.model["count"].sum() == np.isfinite(judged().truths).sum()


@pytest.mark.parametrize(
    ("span_ns", "width_ns"),
    [(10**9, 60 * 10**9), (DAY_NS, 900 * 10**9), (30 * DAY_NS, DAY_NS), (3_000 * DAY_NS, 28 * DAY_NS)],
)
def test_spells_are_round_and_not_too_many(span_ns: int, width_ns: int) -> None:
    spells = Spells.of(START_NS, START_NS + span_ns)
    assert spells.width_ns == width_ns
    assert spells.num <= MOST_SPELLS
    inside = np.array([START_NS, START_NS + span_ns])
    assert spells.number(inside).tolist() == [0, spells.num - 1]
    assert spells.number(np.array([0])).tolist() == [0]
