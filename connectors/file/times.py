"""Time columns of any spelling -> int64 UTC nanoseconds.

I know nothing of files, series or what happened at these times. Understood: RFC 3339 text (an offset is honoured, none
means UTC), dates, timestamps with or without a zone, and epoch numbers, whose unit their magnitude tells.
"""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = ((1e11, NS_PER_S), (1e14, 1_000_000), (1e17, 1_000))
"""Below the first number of a row a time is in the unit of that many nanoseconds; from 1e17 on in ns."""


class TimeSpellingError(ValueError):
    """A time that cannot be read; its row (from 0) and its text ride along."""

    def __init__(self, row: int, text: str) -> None:
        super().__init__(f"row {row} has the time {text!r}; wanted RFC 3339 or an epoch in s, ms, us or ns")
        self.row = row
        self.text = text


def parse_time_ns(text: str) -> int:
    """One RFC 3339 text or epoch number as UTC nanoseconds, fractions of a second to the nanosecond.

    Raises:
        TimeSpellingError: it is neither (row 0).
    """
    stripped = text.strip()
    try:
        number = float(stripped)
    except ValueError:
        return _parse_rfc3339_ns(stripped, 0)
    return int(epoch_ns(np.array([int(stripped)] if stripped.lstrip("+-").isdigit() else [number]))[0])


def epoch_ns(numbers: NDArray[np.generic]) -> Int64s:
    """Epoch numbers [n], whole or not, as UTC nanoseconds; the largest magnitude tells the unit of all.

    Raises:
        TimeSpellingError: a number that is not finite.
    """
    if numbers.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(numbers.astype(np.float64)))
        if bad.size:
            raise TimeSpellingError(int(bad[0]), str(numbers[bad[0]]))
    largest = float(np.abs(numbers.astype(np.float64)).max(initial=0.0))
    unit_ns = next((unit for limit, unit in _UNITS if largest < limit), 1)
    if numbers.dtype.kind != "f":
        return numbers.astype(np.int64) * unit_ns
    wide = numbers.astype(np.float64)
    whole = np.floor(wide)
    return whole.astype(np.int64) * unit_ns + np.round((wide - whole) * unit_ns).astype(np.int64)


def column_ns(column: pa.ChunkedArray) -> Int64s:
    """A column [n] of an Arrow table as UTC nanoseconds.

    Raises:
        TimeSpellingError: an entry is missing or cannot be read as a time.
    """
    if column.null_count:
        missing = np.flatnonzero(column.is_null().to_numpy())
        raise TimeSpellingError(int(missing[0]), "")
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        unit = pa.timestamp("ns", tz=kind.tz) if pa.types.is_timestamp(kind) else pa.timestamp("ns")
        return np.asarray(column.cast(unit).cast(pa.int64()).to_numpy(), dtype=np.int64)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return epoch_ns(np.asarray(column.to_numpy()))
    texts = column.cast(pa.string()).to_pylist()
    return np.fromiter((_text_ns(str(text), row) for row, text in enumerate(texts)), np.int64, len(texts))


def _text_ns(text: str, row: int) -> int:
    try:
        return parse_time_ns(text)
    except TimeSpellingError as error:
        raise TimeSpellingError(row, text) from error


def _parse_rfc3339_ns(text: str, row: int) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise TimeSpellingError(row, text) from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    elapsed = aware - _EPOCH
    whole_s = elapsed.days * 86_400 + elapsed.seconds
    return whole_s * NS_PER_S + _fraction_ns(text, elapsed.microseconds)


def _fraction_ns(text: str, microseconds: int) -> int:
    """Nanoseconds of the text's fraction of a second (`fromisoformat` keeps only six digits)."""
    digits = ""
    if "." in text:
        tail = text.split(".", 1)[1]
        digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    return int(digits[:9].ljust(9, "0")) if len(digits) > 6 else microseconds * 1_000
