"""Where in its local week an instant lies, public holidays counting as Sundays.

I know nothing of sensors. A zone's offset is asked for once a day of UTC at most
and kept: days on which it changes are searched for the second of the change.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from stream_engine.config import NO_COUNTRY

WEEK_S = 604_800
NS_PER_S = 1_000_000_000
DAY_S = 86_400
MONDAY_S = 3 * DAY_S
"""1970-01-01 was a Thursday: seconds into its week, which begins on Monday 00:00."""

SUNDAY_S = 6 * DAY_S
DAILY_NS = 18 * 3_600 * NS_PER_S
"""From this cadence on a model's season is the week, in which a day must keep its place: holidays are left alone."""

logger = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIXED = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "UCT", "Universal", "Zulu"})


@dataclass(frozen=True, slots=True)
class Calendar:
    """Whose clocks and holidays count; a value.

    Attributes:
        timezone: whose clocks.
        country: whose public holidays, such as `DK` or `DE-BY`; None for nobody's.
    """

    timezone: ZoneInfo = ZoneInfo("UTC")  # noqa: RUF009 (zones are values)
    country: str | None = None

    def second_of_week(self, times_ns: NDArray[np.int64], cadences_ns: NDArray[np.int64] | int) -> NDArray[np.float64]:
        """Seconds since Monday 00:00 by these clocks, those of a public holiday being Sunday's.

        A holiday that begins after the instant is not in it: see docs/configuration.md.

        Args:
            times_ns: [n] UTC nanoseconds. cadences_ns: [n], or of all.
        Returns:
            [n] float64 in [0, 604800).
        """
        second = second_of_week(times_ns, self.timezone)
        if self.country is None:
            return second
        days, places = np.unique(_local_s(times_ns, self.timezone) // DAY_S, return_inverse=True)
        is_holiday = np.array([_is_holiday(self.country, int(day)) for day in days], np.bool_)[places]
        return np.where(is_holiday & (np.asarray(cadences_ns) < DAILY_NS), SUNDAY_S + second % DAY_S, second)

    def to_dict(self) -> dict[str, str | None]:
        """As an artifact's card keeps it."""
        return {"timezone": self.timezone.key, "country": self.country}


def calendar_of(timezone: str | None, country: str | None, learned: Mapping[str, str | None] | None) -> Calendar:
    """The calendar asked for; what is not said is the one that the model has learned with, else UTC without holidays.

    Warns where what is said differs from what the model has learned with.

    Args:
        timezone, country: known names, or None where nothing is said; country NO_COUNTRY for no holidays.
        learned: as `Calendar.to_dict` gave it; None where the model's card tells of none.
    """
    kept = learned or {}
    zone = timezone or kept.get("timezone") or "UTC"
    place = kept.get("country") if country is None else country
    found = Calendar(ZoneInfo(zone), None if place == NO_COUNTRY else place)
    if learned is not None and found.to_dict() != dict(learned):
        logger.warning(
            "the model has learned with the calendar %s, and is used with %s: hours and kinds of day may not fit",
            _told(kept),
            _told(found.to_dict()),
        )
    return found


def _told(calendar: Mapping[str, str | None]) -> str:
    return f"{calendar.get('timezone')}, holidays of {calendar.get('country') or 'nobody'}"


def second_of_week(times_ns: NDArray[np.int64], timezone: ZoneInfo) -> NDArray[np.float64]:
    """Seconds since Monday 00:00 by the clocks of a zone.

    Args:
        times_ns: [n] UTC nanoseconds.
        timezone: whose clocks; their changes are followed to the second.
    Returns:
        [n] float64 in [0, 604800), fractions of a second kept.
    """
    fraction = (times_ns - times_ns // NS_PER_S * NS_PER_S) / NS_PER_S
    # 1 - 1e-9 is the largest fraction, so the sum stays below a whole week
    return np.mod(_local_s(times_ns, timezone) + MONDAY_S, WEEK_S) + fraction


def _local_s(times_ns: NDArray[np.int64], timezone: ZoneInfo) -> NDArray[np.int64]:
    """[n] whole seconds since 1970-01-01 00:00 by the clocks of a zone."""
    seconds = times_ns // NS_PER_S
    return seconds if timezone.key in _FIXED else seconds + _offsets_s(seconds, timezone)


@lru_cache(maxsize=65_536)
def _is_holiday(country: str, day: int) -> bool:
    """Whether a local day, counted from 1970-01-01, is a public holiday."""
    when = date(1970, 1, 1) + timedelta(days=day)
    return when in _holidays(country, when.year)


@lru_cache(maxsize=1_024)
def _holidays(country: str, year: int) -> frozenset[date]:
    import holidays  # only who names a country waits for it

    code, _, part = country.partition("-")
    return frozenset(holidays.country_holidays(code, subdiv=part or None, years=year))


def _offsets_s(seconds: NDArray[np.int64], timezone: ZoneInfo) -> NDArray[np.int64]:
    """[n] local time minus UTC at each instant, in seconds."""
    if not len(seconds):
        return seconds
    days = seconds // DAY_S
    first = int(days[0])
    if (days == first).all():
        before, change_s, after = _day(timezone, first)
        return np.where(seconds < change_s, before, after)
    unique, inverse = np.unique(days, return_inverse=True)
    table = np.array([_day(timezone, int(day)) for day in unique], dtype=np.int64)[inverse]
    return np.where(seconds < table[:, 1], table[:, 0], table[:, 2])


@lru_cache(maxsize=65_536)
def _day(timezone: ZoneInfo, day: int) -> tuple[int, int, int]:
    """A day of UTC: the offset at its start, the second (since 1970) of its change, the offset from then on."""
    low, high = day * DAY_S, (day + 1) * DAY_S
    before, after = _offset_s(timezone, low), _offset_s(timezone, high)
    if before == after:
        return before, low, after
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_s(timezone, middle) == before:
            low = middle
        else:
            high = middle
    return before, high, after


def _offset_s(timezone: ZoneInfo, second: int) -> int:
    offset = (_EPOCH + timedelta(seconds=second)).astimezone(timezone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
