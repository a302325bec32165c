"""Round local times along an axis, and their texts.

I know nothing of plots.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from stream_engine.backtest.report.wording import NS_PER_S, moment

_DAY = 86_400
_STEPS_S = (1, 5, 15, 60, 300, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, _DAY, 2 * _DAY, 7 * _DAY, 14 * _DAY)
_LONG_STEPS_S = (30 * _DAY, 91 * _DAY, 182 * _DAY, 365 * _DAY, 1_826 * _DAY, 3_652 * _DAY)


def time_ticks(first_ns: int, last_ns: int, timezone: ZoneInfo, most: int = 7) -> tuple[list[int], list[str]]:
    """Times between the two at round local hours or days, at most about so many, and how to write them."""
    span_s = max(1, (last_ns - first_ns) // NS_PER_S)
    steps = (*_STEPS_S, *_LONG_STEPS_S)
    step_s = next((step for step in steps if span_s / step <= most), steps[-1])
    offset = datetime.fromtimestamp(first_ns // NS_PER_S, UTC).astimezone(timezone).utcoffset()
    offset_s = int(offset.total_seconds()) if offset is not None else 0
    first = -(-(first_ns // NS_PER_S + offset_s) // step_s) * step_s - offset_s
    ticks = [second * NS_PER_S for second in range(first, last_ns // NS_PER_S + 1, step_s)]
    return ticks, _texts(ticks, step_s, timezone)


def _texts(ticks: Sequence[int], step_s: int, timezone: ZoneInfo) -> list[str]:
    if step_s >= 30 * _DAY:
        return [moment(one, timezone, "%b %Y") for one in ticks]
    found = []
    for one in ticks:
        clock = moment(one, timezone, "%H:%M:%S" if step_s < 60 else "%H:%M")
        found.append(moment(one, timezone, "%-d %b") if clock in ("00:00", "00:00:00") else clock)
    return found
