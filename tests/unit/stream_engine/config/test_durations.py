"""Durations: read as people write them, printed so that they read back."""

import pytest

from stream_engine.config import Duration


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("5m", 300 * 10**9),
        ("500ms", 500 * 10**6),
        ("1h", 3600 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("0.1s", 10**8),
        ("2d", 172_800 * 10**9),
        ("1w", 604_800 * 10**9),
        ("10us", 10_000),
        ("7ns", 7),
        ("0s", 0),
        (" 5 m ", 300 * 10**9),
    ],
)
def test_text_is_read_and_printed(text, ns):
    duration = Duration.parse(text)
    assert duration.ns == ns
    assert duration.s == ns / 1e9
    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 parsecs", "5m!", "1e3s", "nan", "999999999999w"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"must be a length of time|longer than a century"):
        Duration.parse(text)


def test_a_whole_unit_prints_short():
    assert [str(Duration.parse(text)) for text in ("60s", "90m", "7d", "0s")] == ["1m", "1h30m", "1w", "0s"]
