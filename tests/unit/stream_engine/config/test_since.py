"""Where in a log to begin: read as people write it, printed so that it reads back."""

import pytest
import yaml

from stream_engine.config import Since, load_config

URLS = {"source": "embedded://a", "sink": "embedded://b", "store": "embedded://c"}


@pytest.mark.parametrize(
    ("text", "at_ns", "back_s", "shown"),
    [
        ("earliest", None, None, "earliest"),
        ("7d", None, 604_800, "1w"),
        ("1h30m", None, 5_400, "1h30m"),
        ("1970-01-01T00:00:00Z", 0, None, "1970-01-01T00:00:00Z"),
        ("2026-11-01T02:00:00.25+02:00", 1_793_491_200_250_000_000, None, "2026-11-01T00:00:00.250000Z"),
    ],
)
def test_text_is_read_and_printed(text: str, at_ns: int | None, back_s: float | None, shown: str) -> None:
    since = Since.parse(text)
    assert since.at_ns == at_ns
    assert (since.back and since.back.s) == back_s
    assert str(since) == shown
    assert Since.parse(shown) == since


@pytest.mark.parametrize("text", ["", "latest", "7", "2026-11-01T00:00:00", "2026-11-01", "1969-12-31T23:59:59Z", "0s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be (earliest, an RFC 3339 time with its offset|longer than 0s)"):
        Since.parse(text)


def test_a_time_that_yaml_reads_as_one_is_taken() -> None:
    moment = yaml.safe_load("2026-11-01T02:00:00+02:00")
    config = load_config(None, {**URLS, "rebuild_from": moment}, {})
    assert config.rebuild_from == Since.parse("2026-11-01T00:00:00Z")
