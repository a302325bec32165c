"""Local time: against the standard library, second by second around changes of the clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

import recurrent_core.calendar
from stream_engine.localtime import DAILY_NS, WEEK_S, Calendar, calendar_of, second_of_week

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


def at(zone, text):
    """Nanoseconds of a local time."""
    return np.array([int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * NS])


def day_and_hour(calendar, text, cadence_s=300):
    second = calendar.second_of_week(at(calendar.timezone.key, text), cadence_s * NS)[0]
    return divmod(second / 3600, 24)


US = Calendar(ZoneInfo("America/Los_Angeles"), "US")
DK = Calendar(ZoneInfo("Europe/Copenhagen"), "DK")


@pytest.mark.parametrize(
    ("calendar", "text", "day", "hour"),
    [
        (US, "2012-05-27T23:55", 6, 23 + 55 / 60),  # a Sunday
        (US, "2012-05-28T00:00", 6, 0),  # Memorial Day, a Monday, by the clocks of Los Angeles
        (US, "2012-05-28T23:55", 6, 23 + 55 / 60),
        (US, "2012-05-29T00:00", 1, 0),
        (US, "2012-07-04T08:30", 6, 8.5),  # Independence Day, a Wednesday
        (DK, "2012-07-04T08:30", 2, 8.5),
        (DK, "2024-03-29T12:00", 6, 12),  # Good Friday
        (US, "2024-03-29T12:00", 4, 12),
        (DK, "2024-03-31T01:30", 6, 1.5),  # Easter Sunday, when the clocks go forward at 2
        (DK, "2024-03-31T03:30", 6, 3.5),
        (DK, "2024-04-01T03:30", 6, 3.5),  # Easter Monday, after it
        (DK, "2024-04-02T00:30", 1, 0.5),
        (US, "2024-11-04T00:30", 0, 0.5),  # a Monday after the clocks went back
        (Calendar(ZoneInfo("Europe/Berlin"), "DE-BY"), "2024-01-06T10:00", 6, 10),  # Epiphany, in Bavaria alone
        (Calendar(ZoneInfo("Europe/Berlin"), "DE"), "2024-01-06T10:00", 5, 10),
    ],
)
def test_a_public_holiday_is_a_sunday(calendar, text, day, hour):
    assert day_and_hour(calendar, text) == (day, pytest.approx(hour))


def test_a_daily_reading_keeps_its_weekday():
    assert day_and_hour(US, "2012-07-04T00:00", cadence_s=86_400) == (2, 0)
    both = US.second_of_week(np.repeat(at("America/Los_Angeles", "2012-07-04T00:00"), 2), np.array([3600, 86_400]) * NS)
    assert (both // 86_400).tolist() == [6, 2]
    assert DAILY_NS == recurrent_core.calendar.SLOWEST_DAILY_S * NS


def test_without_a_country_nothing_changes_and_the_ends_of_time_are_no_trouble():
    times_ns = np.concatenate([np.arange(1_330_000_000, 1_345_000_000, 4_999) * NS, [-(2**63), 2**63 - 1]])
    plain = second_of_week(times_ns, US.timezone)
    assert (Calendar(US.timezone).second_of_week(times_ns, 300 * NS) == plain).all()
    with_country = US.second_of_week(times_ns, 300 * NS)
    assert (with_country % 86_400 == plain % 86_400).all()
    changed = with_country != plain
    assert 0 < changed.sum() < 0.1 * len(times_ns)
    assert len(US.second_of_week(np.zeros(0, np.int64), 300 * NS)) == 0


def test_what_is_not_said_is_the_models(caplog):
    learned = DK.to_dict()
    assert calendar_of(None, None, None) == Calendar()
    assert calendar_of(None, None, learned) == DK
    assert not caplog.records
    assert calendar_of("UTC", None, learned) == Calendar(ZoneInfo("UTC"), "DK")
    assert calendar_of(None, "none", learned) == Calendar(DK.timezone)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "learned with the calendar Europe/Copenhagen, holidays of DK" in caplog.messages[0]
