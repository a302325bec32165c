"""Local time: against the standard library, second by second around changes of the clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from stream_engine.localtime import WEEK_S, second_of_week

NS = 1_000_000_000


def by_datetime(second, zone):
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).astimezone(zone)
    return local.weekday() * 86_400 + local.hour * 3_600 + local.minute * 60 + local.second


@pytest.mark.parametrize(
    "name",
    [
        "UTC",
        "Etc/GMT+5",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",  # changes by half an hour
        "Africa/Casablanca",  # changes four times a year
        "Asia/Kathmandu",
        "Pacific/Apia",  # once left out a day
    ],
)
def test_it_agrees_with_the_standard_library(name):
    zone = ZoneInfo(name)
    draw = np.random.default_rng(3)
    seconds = np.concatenate(
        [
            draw.integers(-9_000_000_000, 9_200_000_000, 2_000),
            draw.integers(1_300_000_000, 1_700_000_000, 3_000),
            np.arange(1_711_846_800 - 100, 1_711_846_800 + 100),  # 2024-03-31 01:00 UTC
        ]
    )
    found = second_of_week(seconds * NS, zone)
    assert found.tolist() == [by_datetime(second, zone) for second in seconds.tolist()]


def test_monday_midnight_is_zero_and_fractions_are_kept():
    monday_ns = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * NS
    times_ns = np.array([monday_ns, monday_ns - 1, monday_ns + 500_000_000])
    assert second_of_week(times_ns, ZoneInfo("UTC")) == pytest.approx([0, WEEK_S - 1e-9, 0.5], abs=1e-9)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin"])
def test_the_ends_of_time(name):
    times_ns = np.array([-(2**63), -1, 0, 2**63 - 1])
    found = second_of_week(times_ns, ZoneInfo(name))
    assert ((found >= 0) & (found < WEEK_S)).all()
    assert len(second_of_week(np.zeros(0, np.int64), ZoneInfo(name))) == 0
