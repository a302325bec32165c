"""Times of any spelling become the same nanoseconds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.file.times import TimeSpellingError, epoch_ns, parse_time_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2023-11-14T22:15:00Z", 1_700_000_100 * 10**9),
        ("2023-11-14 22:15:00", 1_700_000_100 * 10**9),
        ("2023-11-15T00:15:00+02:00", 1_700_000_100 * 10**9),
        ("2023-11-14T22:15:00.123456789Z", 1_700_000_100_123_456_789),
        ("2023-11-14", 1_699_920_000 * 10**9),
        ("1700000100", 1_700_000_100 * 10**9),
        ("1700000100.25", 1_700_000_100_250_000_000),
        ("1700000100000", 1_700_000_100 * 10**9),
        ("1700000100123456789", 1_700_000_100_123_456_789),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_one_time(text: str, time_ns: int) -> None:
    assert parse_time_ns(text) == time_ns


@pytest.mark.parametrize("text", ["", "noon", "2023-13-01", "nan", "inf"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(TimeSpellingError, match="wanted RFC 3339 or an epoch"):
        parse_time_ns(text)


@given(st.integers(10**8, 5 * 10**9), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_the_magnitude_tells_the_unit(time_s: int, per_second: int) -> None:
    assert epoch_ns(np.array([time_s * per_second])).tolist() == [time_s * 10**9]
