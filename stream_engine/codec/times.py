"""Event times as sent -> int64 UTC nanoseconds.

I know nothing of messages. A time is a whole or fractional number of its unit since 1970-01-01 UTC (a
fraction is kept to the microsecond, which is what a double of that size can tell), or RFC 3339 text.
"""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

NS_OF_UNIT = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
RFC3339 = "rfc3339"
MIN_NS, MAX_NS = -(2**63), 2**63 - 1

_RFC3339 = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)
_UP_TO_SECONDS = len("2024-05-01T12:00:00")
_EPOCH_DAY = datetime(1970, 1, 1, tzinfo=UTC).toordinal()


def whole_times_ns(times: Sequence[object], unit: str) -> NDArray[np.int64] | None:
    """[n] nanoseconds if every time is a whole number within range, else None: the fast way for most batches."""
    if unit not in NS_OF_UNIT:
        return None
    column = np.array(times) if len(times) else np.zeros(0, np.int64)
    if column.dtype != np.int64:
        return None
    size = NS_OF_UNIT[unit]
    if len(column) and (column.max() > MAX_NS // size or column.min() < -(MAX_NS // size)):
        return None
    return column * size


def time_ns(time: object, unit: str) -> int:
    """One time in nanoseconds.

    Raises:
        ValueError: says what it must be and is not.
    """
    if unit == RFC3339:
        if not isinstance(time, str):
            raise ValueError("must be RFC 3339 text, such as 2024-05-01T12:00:00Z")
        return _in_range(_rfc3339_ns(time))
    if isinstance(time, bool) or not isinstance(time, int | float):
        hint = "; set reading.time_unit: rfc3339 for text" if isinstance(time, str) else ""
        raise ValueError(f"must be a number of {unit} since 1970{hint}")
    size = NS_OF_UNIT[unit]
    if isinstance(time, int):
        return _in_range(time * size)
    if not math.isfinite(time):
        raise ValueError(f"must be a finite number of {unit} since 1970")
    whole = math.floor(time)
    fraction_ns = (time - whole) * size
    return _in_range(whole * size + (round(fraction_ns / 1_000) * 1_000 if size > 1_000 else round(fraction_ns)))


def _in_range(ns: int) -> int:
    if not MIN_NS <= ns <= MAX_NS:
        raise ValueError("must lie between the years 1678 and 2262 (is the unit right? see reading.time_unit)")
    return ns


def _rfc3339_ns(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("must be RFC 3339 with its offset, such as 2024-05-01T12:00:00Z or 2024-05-01T14:00:00+02:00")
    fraction, sign, hours, minutes = match.groups()
    try:
        local = datetime.fromisoformat(text[:_UP_TO_SECONDS])
    except ValueError as error:
        raise ValueError(f"must be a date and time that exist ({error})") from error
    second = (local.toordinal() - _EPOCH_DAY) * 86_400 + local.hour * 3_600 + local.minute * 60 + local.second
    if sign:
        offset = int(hours) * 3_600 + int(minutes) * 60
        second -= -offset if sign == "-" else offset
    return second * 1_000_000_000 + (int(fraction.ljust(9, "0")) if fraction else 0)
