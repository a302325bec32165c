"""Where in its local week an instant lies.

I know nothing of sensors or calendars of holidays. A zone's offset is asked for once a day of UTC at most
and kept: days on which it changes are searched for the second of the change.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

WEEK_S = 604_800
NS_PER_S = 1_000_000_000
DAY_S = 86_400
MONDAY_S = 3 * DAY_S
"""1970-01-01 was a Thursday: seconds into its week, which begins on Monday 00:00."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIXED = frozenset({"UTC", "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "UCT", "Universal", "Zulu"})


def second_of_week(times_ns: NDArray[np.int64], timezone: ZoneInfo) -> NDArray[np.float64]:
    """Seconds since Monday 00:00 by the clocks of a zone.

    Args:
        times_ns: [n] UTC nanoseconds.
        timezone: whose clocks; their changes are followed to the second.
    Returns:
        [n] float64 in [0, 604800), fractions of a second kept.
    """
    seconds = times_ns // NS_PER_S
    fraction = (times_ns - seconds * NS_PER_S) / NS_PER_S
    if timezone.key not in _FIXED:
        seconds = seconds + _offsets_s(seconds, timezone)
    # 1 - 1e-9 is the largest fraction, so the sum stays below a whole week
    return np.mod(seconds + MONDAY_S, WEEK_S) + fraction


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
