"""Names in a forecast's id; dead letters: untouched where they fit, cut where they would not."""

from dataclasses import replace

import pytest

from stream_engine.codec import decoder_for, encode_dead_letters, encoder_for
from stream_engine.codec.envelope import HEADER_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES, ForecastEnvelope
from stream_engine.config import ReadingConfig
from stream_engine.records import Reject
from tests.support.messages import NOW_NS, forecasts, messages


def size(record):
    headers = sum(len(name) + len(value) + HEADER_OVERHEAD_BYTES for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + RECORD_OVERHEAD_BYTES


def test_a_forecast_id_tells_names_with_its_own_sign_apart():
    names = [("a|b", "c"), ("a", "b|c"), ("a%7Cb", "c"), ("a", "c"), ("ü", "")]
    sensors, channels = (list(column) for column in zip(*names, strict=True))
    batch = replace(forecasts(messages([b""] * len(names))), sensors=sensors, channels=channels)
    records = ForecastEnvelope("m@1", "application/json").wrap(batch, [b""] * len(names))
    tail = f"|{NOW_NS // 10**6}|m@1"
    assert [dict(record.headers)["forecast-id"].decode().removesuffix(tail) for record in records] == [
        "a%7Cb|c",
        "a|b%7Cc",
        "a%257Cb|c",
        "a|c",
        "ü|",
    ]


def test_key_value_and_own_headers_are_untouched():
    own = (("trace", b"1"), ("reason", b"mine"))
    source = messages([b"a", b"bad"], keys=[None, b"\xff"], headers=[None, own], start=7)
    [record] = encode_dead_letters(source, [Reject(1, "bad_value", "why ü")], 1_000_000)
    assert (record.key, record.value) == (b"\xff", b"bad")
    assert record.headers == (
        ("trace", b"1"),
        ("reason", b"bad_value"),
        ("detail", "why ü".encode()),
        ("source-topic", b"speeds"),
        ("source-partition", b"3"),
        ("source-offset", b"8"),
    )


def test_a_tombstone_stays_one():
    [record] = encode_dead_letters(messages([None]), [Reject(0, "undecodable", "")], 1_000)
    assert (record.key, record.value) == (None, None)


def test_text_that_is_no_utf8_does_not_break_a_header():
    [record] = encode_dead_letters(messages([b""]), [Reject(0, "undecodable", "x\udcff")], 1_000)
    assert dict(record.headers)["detail"] == b"x?"


@pytest.mark.parametrize("limit", [400, 1_000, 5_000])
def test_what_is_too_large_is_cut(limit):
    source = messages([b"v" * 100_000], keys=[b"key"], headers=[(("own", b"1"),)])
    [record] = encode_dead_letters(source, [Reject(0, "too_large", "why")], limit)
    assert size(record) == limit
    assert dict(record.headers)["truncated"] == b"100000"
    assert record.key == b"key"
    assert record.value == b"v" * len(record.value)


def test_even_a_key_or_headers_that_are_too_large_do_not_stop_it():
    source = messages([b"v" * 10, b"v"], keys=[b"k" * 10_000, None], headers=[None, (("own", b"x" * 10_000),)])
    rejects = [Reject(row, "too_large", "why") for row in (0, 1)]
    first, second = encode_dead_letters(source, rejects, 1_000)
    assert size(first) <= 1_000
    assert size(second) <= 1_000
    assert set(first.key) == {ord("k")}
    assert "own" not in dict(second.headers)


@pytest.mark.parametrize("name", ["json", "csv", "packed"])
def test_every_format_has_a_decoder(name):
    batch, rejects = decoder_for(ReadingConfig(format=name), None).decode(messages([b"\xff"]))
    assert (len(batch), len(rejects)) == (0, 1)


@pytest.mark.parametrize("name", ["json", "packed"])
def test_every_format_has_an_encoder(name):
    assert type(encoder_for(name, "m@1")).__name__.lower() == f"{name}encoder"
