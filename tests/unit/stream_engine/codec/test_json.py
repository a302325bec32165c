"""JSON: every kind of message is read, or refused for the right reason; forecasts read as they were meant."""

import json

import numpy as np
import pytest

from stream_engine.codec import JsonDecoder, JsonEncoder
from stream_engine.config import Condition, ReadingConfig
from tests.support.messages import HOUR_NS, NOW_MS, NOW_NS, forecasts, messages


def decode(values, max_future_ns=HOUR_NS, keys=None, stamps_ns=None, **reading):
    decoder = JsonDecoder(ReadingConfig(**reading), max_future_ns)
    return decoder.decode(messages(values, keys, stamps_ns))


def one(value, **settings):
    """The reason for refusing a message, or its readings as (sensor, channel, time, value)."""
    batch, rejects = decode([value], **settings)
    if rejects:
        assert len(batch) == 0
        return rejects[0].reason
    times = batch.times_ns.tolist()
    return list(zip(batch.sensors, batch.channels, times, batch.values.tolist(), strict=True))


def test_a_reading_is_read():
    assert one(b'{"sensor": "s-17", "ts": 1700000000000, "value": 12.3}') == [("s-17", "", NOW_NS, 12.3)]


def test_absent_fields_are_taken_from_the_record():
    assert one(b'{"value": 1}', keys=[b"s-\xc3\xbc"]) == [("s-ü", "", NOW_NS, 1.0)]
    assert one(b'{"sensor": null, "ts": null, "value": 1}', keys=[b"k"]) == [("k", "", NOW_NS, 1.0)]


def test_null_is_a_slot_without_a_reading():
    [(sensor, channel, time, value)] = one(b'{"sensor": "a", "value": null}')
    assert (sensor, channel, time) == ("a", "", NOW_NS)
    assert np.isnan(value)


def test_values_give_one_reading_a_channel():
    found = one(b'{"sensor": "a", "values": {"speed": 51.0, "count": null}}')
    assert [(channel, np.isnan(value)) for _, channel, _, value in found] == [("speed", False), ("count", True)]


def test_value_beside_values_is_the_channel_without_a_name():
    found = one(b'{"sensor": "a", "value": 1, "values": {"x": 2}}')
    assert [(channel, value) for _, channel, _, value in found] == [("", 1.0), ("x", 2.0)]
    found = one(b'{"sensor": "a", "value": null, "values": {"x": 2}}')  # as serializers write unused fields
    assert [(channel, value) for _, channel, _, value in found] == [("x", 2.0)]
    assert [value for *_, value in one(b'{"sensor": "a", "value": 3, "values": null}')] == [3.0]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "undecodable"),
        (b'{"sensor": "a", "value": 1, "not read": "\xff"}', "undecodable"),
        (b'{"sensor": "a", "value": 1, "\xff": 2}', "undecodable"),
        (b"", "undecodable"),
        (b"not JSON", "undecodable"),
        (b'{"sensor":"a","value":1} {"sensor":"a","value":2}', "undecodable"),
        (b'{"sensor":"a","value":1}\n{"sensor":"a","value":2}', "undecodable"),
        (b"[1]", "undecodable"),
        (b"null", "undecodable"),
        (b'"text"', "undecodable"),
        (b"3", "undecodable"),
        (b'{"sensor":"a","value":1', "undecodable"),
        (b'{"sensor":"\xff","value":1}', "undecodable"),
        (b'{"sensor":"\\ud800","value":1}', "undecodable"),
        (b'{"sensor":"a","ts":1,"value":NaN}', "bad_value"),
        (b'{"sensor":"a","ts":1,"value":-Infinity}', "bad_value"),
        (b'{"sensor":"a","ts":1,"values":{"x":1.0,"y":NaN}}', "bad_value"),
        (b'{"sensor":"a","ts":NaN,"value":1}', "bad_time"),
        (b'{"sensor":"NaN","ts":1,"value":1', "undecodable"),
        (b'{"sensor":"a","ts":1,"value":1,"other":NaN}', "undecodable"),
        (b"[NaN]", "undecodable"),
        (b'{"sensor":"a","value":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "undecodable"),
        (b"[" * 100_000, "undecodable"),
        (b'\xef\xbb\xbf{"sensor":"a","value":1}', "undecodable"),
        (b'{"sensor":"a"}', "bad_value"),
        (b'{"sensor":"a","values":{}}', "bad_value"),
        (b'{"sensor":"a","value":"12.3"}', "bad_value"),
        (b'{"sensor":"a","value":true}', "bad_value"),
        (b'{"sensor":"a","value":1e400}', "bad_value"),
        (b'{"sensor":"a","value":-1e400}', "bad_value"),
        (b'{"sensor":"a","value":1' + b"0" * 400 + b"}", "bad_value"),
        (b'{"sensor":"a","value":{}}', "bad_value"),
        (b'{"sensor":"a","value":[1]}', "bad_value"),
        (b'{"sensor":"a","values":{"x":1,"y":"q"}}', "bad_value"),
        (b'{"sensor":"a","values":{"x":1,"y":true}}', "bad_value"),
        (b'{"sensor":"a","values":[1]}', "bad_value"),
        (b'{"sensor":"a","ts":"2024-05-01T00:00:00Z","value":1}', "bad_time"),
        (b'{"sensor":"a","ts":true,"value":1}', "bad_time"),
        (b'{"sensor":"a","ts":{},"value":1}', "bad_time"),
        (b'{"sensor":"a","ts":10000000000000000000,"value":1}', "bad_time"),
        (b'{"sensor":"a","ts":-10000000000000000000,"value":1}', "bad_time"),
        (b'{"sensor":"a","ts":1e300,"value":1}', "bad_time"),
        (b'{"sensor":"a","ts":1' + b"0" * 5000 + b',"value":1}', "bad_time"),
        (b'{"value":1}', "no_sensor"),
        (b'{"sensor":"","value":1}', "no_sensor"),
        (b'{"sensor":1.5,"value":1}', "no_sensor"),
        (b'{"sensor":true,"value":1}', "no_sensor"),
        (b'{"sensor":{},"value":1}', "no_sensor"),
        (b'{"sensor":1' + b"0" * 30 + b',"value":1}', "no_sensor"),
        (b'{"sensor":1' + b"0" * 5000 + b',"value":1}', "no_sensor"),
        (b'{"sensor":"a","group":1,"value":1}', "schema"),
        (b'{"sensor":"' + b"a" * 1_025 + b'","value":1}', "too_large"),
        (b'{"sensor":"a","values":{"' + b"a" * 1_025 + b'":1}}', "too_large"),
        (b'{"sensor":"a","group":"' + b"a" * 1_025 + b'","value":1}', "too_large"),
        (b'{"sensor":"a","value":1}'.ljust(1_000_000), "too_large"),
        (b'{"sensor":"a","ts":1700003600001,"value":1}', "future_time"),
    ],
)
def test_a_bad_record_is_refused_for_its_reason(value, reason):
    assert one(value) == reason


def test_a_bad_record_does_not_touch_its_neighbours():
    good = b'{"sensor":"a","value":%d}'
    batch, rejects = decode([good % 1, b"{", good % 2, b'{"sensor":"","value":1}', good % 3])
    assert batch.rows.tolist() == [0, 2, 4]
    assert batch.values.tolist() == [1, 2, 3]
    assert [(reject.row, reject.reason) for reject in rejects] == [(1, "undecodable"), (3, "no_sensor")]


def test_a_sensor_may_be_a_whole_number():
    assert one(b'{"sensor":17,"value":1}') == [("17", "", NOW_NS, 1.0)]


def test_a_key_that_is_no_text_cannot_stand_for_the_sensor():
    assert one(b'{"value":1}', keys=[b"\xff\xfe"]) == "no_sensor"
    assert one(b'{"value":1}', keys=[b""]) == "no_sensor"


@pytest.mark.parametrize(
    ("unit", "text", "time_ns"),
    [
        ("s", b"1700000000", NOW_NS),
        ("s", b"1700000000.5", NOW_NS + 500_000_000),
        ("s", b"1700000000.1", NOW_NS + 100_000_000),
        ("ms", b"1.7e12", NOW_NS),
        ("us", b"1700000000000001", NOW_NS + 1_000),
        ("ns", b"1700000000000000001", NOW_NS + 1),
        ("ms", b"-1", -1_000_000),
        ("rfc3339", b'"2023-11-14T22:13:20Z"', NOW_NS),
        ("rfc3339", b'"2023-11-14t23:13:20.123456789+01:00"', NOW_NS + 123_456_789),
        ("rfc3339", b'"2023-11-14 22:13:20.5-00:00"', NOW_NS + 500_000_000),
    ],
)
def test_times_in_every_unit(unit, text, time_ns):
    assert one(b'{"sensor":"a","ts":%s,"value":1}' % text, time_unit=unit) == [("a", "", time_ns, 1.0)]


@pytest.mark.parametrize("text", [b"1700000000", b'"2023-11-14"', b'"2023-11-14T22:13:20"', b'"2023-02-30T00:00:00Z"'])
def test_times_that_are_no_rfc3339(text):
    assert one(b'{"sensor":"a","ts":%s,"value":1}' % text, time_unit="rfc3339") == "bad_time"


def test_whole_and_fractional_times_in_one_batch():
    values = [b'{"sensor":"a","ts":1699999999999,"value":1}', b'{"sensor":"a","ts":1699999999999.5,"value":1}']
    batch, _ = decode(values)
    assert (NOW_NS - batch.times_ns).tolist() == [1_000_000, 500_000]


def test_without_any_time_a_record_is_refused():
    assert one(b'{"sensor":"a","value":1}', stamps_ns=[-1]) == "bad_time"


def test_the_future_begins_after_max_future_and_needs_a_record_timestamp():
    late = b'{"sensor":"a","ts":1800000000000,"value":1}'
    assert one(late) == "future_time"
    assert one(late, stamps_ns=[-1]) == [("a", "", 1_800_000_000_000_000_000, 1.0)]
    assert one(late, max_future_ns=None) == [("a", "", 1_800_000_000_000_000_000, 1.0)]
    assert one(b'{"sensor":"a","ts":1700003600000,"value":1}') != "future_time"


def test_groups_are_kept():
    batch, _ = decode([b'{"sensor":"a","group":"g","value":1}', b'{"sensor":"b","value":1}'])
    assert batch.groups == ["g", ""]
    assert decode([b'{"sensor":"b","value":1}'])[0].groups is None


def test_fields_may_have_any_name():
    value = b'{"id of it":"a","t.s":1700000000000,"%":2}'
    batch, _ = decode([value], sensor="id of it", time="t.s", value="%")
    assert (batch.sensors, batch.times_ns.tolist(), batch.values.tolist()) == (["a"], [NOW_NS], [2.0])


def test_valid_where_blanks_and_counts():
    values = [
        b'{"sensor":"a","value":1,"quality":"good"}',
        b'{"sensor":"a","value":2,"quality":"bad"}',
        b'{"sensor":"a","value":3}',
        b'{"sensor":"a","value":4,"quality":7}',
        b'{"sensor":"a","value":null,"quality":"bad"}',
    ]
    batch, rejects = decode(values, valid_where=Condition("quality == 'good'"))
    assert not rejects
    assert np.isnan(batch.values).tolist() == [False, True, True, True, True]
    assert batch.num_invalid == 3  # null was no reading before


def test_valid_where_reads_channels_of_values():
    values = [b'{"sensor":"a","values":{"speed":5,"count":0}}', b'{"sensor":"a","values":{"speed":5,"count":2}}']
    batch, _ = decode(values, valid_where=Condition("count > 0"))
    assert np.isnan(batch.values).tolist() == [True, True, False, False]
    assert batch.num_invalid == 2


def test_valid_where_on_a_number_too_large_for_a_double():
    assert one(b'{"sensor":"a","value":1,"q":1e400}', valid_where=Condition("q > 1")) == "bad_value"
    [(*_, value)] = one(b'{"sensor":"a","value":1,"q":1%s}' % (b"0" * 400), valid_where=Condition("q > 1"))
    assert np.isnan(value)


def test_an_empty_batch():
    batch, rejects = decode([])
    assert (len(batch), rejects) == (0, [])


def test_details_are_short():
    _, [reject] = decode([b'{"' + b"x" * 10_000 + b'":tru}'])
    assert len(reject.detail) < 400


def test_a_forecast_says_what_it_is():
    source = messages([b""] * 2, keys=[b"key", None], start=100)
    first, second = JsonEncoder("default@7").encode(forecasts(source))
    body = json.loads(second.value)
    assert list(body) == [
        "sensor",
        "channel",
        "origin",
        "last_reading",
        "cadence_ms",
        "horizon",
        "model",
        "mean",
        "quantiles",
        "scale",
        "status",
    ]
    assert "channel" not in json.loads(first.value)
    assert (body["sensor"], body["channel"], body["origin"]) == ("s-1", "speed", NOW_MS)
    assert (body["last_reading"], body["cadence_ms"]) == (NOW_MS - 3_600_000, 300_000)
    assert (body["horizon"], body["model"], body["status"]) == (3, "default@7", "ok")
    assert list(body["quantiles"]) == ["0.1", "0.5", "0.9"]
    assert (first.key, second.key) == (b"key", b"s-1")
    assert dict(second.headers) == {
        "forecast-id": b"s-1|speed|%d|default@7" % NOW_MS,
        "source-topic": b"speeds",
        "source-partition": b"3",
        "source-offset": b"101",
        "model-version": b"7",
        "content-type": b"application/json",
    }


def test_forecast_numbers_are_short_and_near():
    batch = forecasts(messages([b""] * 50), horizon=12, scale=3.0)
    records = JsonEncoder("m@1").encode(batch)
    for index, record in enumerate(records):
        body = json.loads(record.value)
        assert body["mean"] == pytest.approx(batch.mean[index], abs=3e-5)
        for level, row in zip(("0.1", "0.5", "0.9"), batch.quantiles[index], strict=True):
            assert body["quantiles"][level] == pytest.approx(row, abs=3e-5)
        assert max(len(str(number)) for number in body["mean"]) <= len("-100.12345")


def test_names_are_escaped():
    source = messages([b""])
    batch = forecasts(source)
    batch.sensors[0] = 'a"],[1]],[["\\\n%s ü'
    [record] = JsonEncoder('m"%@1').encode(batch)
    body = json.loads(record.value)
    assert (body["sensor"], body["model"]) == (batch.sensors[0], 'm"%@1')


def test_numbers_that_are_not_finite_become_null():
    batch = forecasts(messages([b""]))
    batch.mean[0, 1] = np.nan
    batch.quantiles[0, 2, 0] = np.inf
    body = json.loads(JsonEncoder("m@1").encode(batch)[0].value)
    assert body["mean"][1] is None
    assert body["quantiles"]["0.9"][0] is None


def test_a_cadence_below_a_millisecond_keeps_its_fraction():
    batch = forecasts(messages([b""]))
    batch.cadences_ns[0] = 250_000
    assert json.loads(JsonEncoder("m@1").encode(batch)[0].value)["cadence_ms"] == 0.25


def test_the_trace_is_passed_on():
    trace = ("traceparent", b"00-aa-bb-01")
    source = messages([b"", b""], headers=[(("x", b"1"), trace), None])
    first, second = JsonEncoder("m@1").encode(forecasts(source))
    assert first.headers[-1] == trace
    assert "traceparent" not in dict(second.headers)
    assert "x" not in dict(first.headers)


def test_no_forecasts_give_no_records():
    assert JsonEncoder("m@1").encode(forecasts(messages([]))) == []
