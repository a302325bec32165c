"""Codecs under any bytes: readings or rejects, never an exception; a batch is its records one by one."""

import json
import math

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.codec import JsonDecoder, JsonEncoder, decoder_for, encode_dead_letters
from stream_engine.config import Condition, ReadingConfig
from stream_engine.records import REASONS
from tests.support.messages import HOUR_NS, NOW_MS, forecasts, messages, packed

CONDITION = Condition("value > 0 or quality == 'good' or not x < 3")
DECODERS = [
    decoder_for(ReadingConfig(format=name, valid_where=condition), HOUR_NS)
    for name in ("json", "csv", "packed")
    for condition in (None, CONDITION)
]
MORE_JSON = [
    decoder_for(ReadingConfig(time_unit="rfc3339"), None),
    decoder_for(ReadingConfig(time_unit="s"), 0),
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([NOW_MS, NOW_MS / 7, "2023-11-14T22:13:20Z", "good", ""])
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
names = st.sampled_from(["sensor", "ts", "value", "values", "group", "quality", "x"])
objects = st.dictionaries(names, anything | st.dictionaries(st.text(max_size=3), scalars, max_size=3), max_size=7)
bodies = objects.map(lambda found: json.dumps(found, ensure_ascii=False).encode(errors="surrogatepass"))
good_bodies = st.builds(
    lambda sensor, ts, value: json.dumps({"sensor": sensor, "ts": ts, "value": value}).encode(),
    st.sampled_from(["a", "b", 7]),
    st.integers(NOW_MS - 10_000, NOW_MS + 10_000),
    st.floats(allow_nan=False, allow_infinity=False) | st.none(),
)
lines = st.text(st.sampled_from('a1,.\n"-e')).map(str.encode)
GOOD_PACKED = packed(sensor=["a", "b"], ts=[NOW_MS, NOW_MS], value=[1.0, 2.0])


@st.composite
def flipped(draw):
    """A packed message with some of its bytes changed."""
    found = bytearray(GOOD_PACKED)
    for _ in range(draw(st.integers(1, 6))):
        found[draw(st.integers(0, len(found) - 1))] = draw(st.integers(0, 255))
    return bytes(found[: draw(st.integers(len(found) // 2, len(found)))])


values = st.lists(st.none() | st.binary(max_size=40) | bodies | good_bodies | lines | flipped(), max_size=6)
keys = st.none() | st.binary(max_size=4)
stamps = st.sampled_from([-1, 0, NOW_MS * 1_000_000, 2**63 - 1])


def flat(batch, row=None):
    columns = zip(
        batch.rows.tolist(),
        batch.sensors,
        batch.channels,
        batch.times_ns.tolist(),
        map(repr, batch.values.tolist()),
        batch.groups or [""] * len(batch),
        strict=True,
    )
    return [(row if row is not None else reading[0], *reading[1:]) for reading in columns]


@settings(max_examples=300, deadline=None)
@given(values, st.data())
def test_any_bytes_give_readings_or_rejects_and_a_batch_is_its_records(found, data):
    count = len(found)
    record_keys = data.draw(st.lists(keys, min_size=count, max_size=count))
    record_stamps = data.draw(st.lists(stamps, min_size=count, max_size=count))
    for decoder in DECODERS + MORE_JSON:
        batch, rejects = decoder.decode(messages(found, record_keys, record_stamps))
        refused = [reject.row for reject in rejects]
        assert refused == sorted(set(refused))
        assert set(refused) | set(batch.rows.tolist()) == set(range(count))
        assert not set(refused) & set(batch.rows.tolist())
        assert (np.diff(batch.rows) >= 0).all()
        assert all(reject.reason in REASONS and reject.detail for reject in rejects)
        assert not np.isinf(batch.values).any()
        assert all(isinstance(sensor, str) and sensor for sensor in batch.sensors)
        assert batch.num_invalid <= np.isnan(batch.values).sum()
        one_by_one = [
            decoder.decode(messages([value], [record_keys[row]], [record_stamps[row]], start=row))
            for row, value in enumerate(found)
        ]
        assert flat(batch) == [reading for row, (one, _) in enumerate(one_by_one) for reading in flat(one, row)]
        assert [reject.reason for reject in rejects] == [one.reason for _, some in one_by_one for one in some]
        assert batch.num_invalid == sum(one.num_invalid for one, _ in one_by_one)
        assert len(encode_dead_letters(batch.records, rejects, 600)) == len(rejects)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
            st.integers(-(10**12), NOW_MS),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_format_reads_the_same_readings(readings):
    sensors, times, numbers = zip(*readings, strict=True)
    as_json = [json.dumps({"sensor": s, "ts": t, "value": v}).encode() for s, t, v in readings]
    as_packed = [packed(sensor=list(sensors), ts=list(times), value=pa.array(list(numbers), pa.float64()))]
    wanted = [(s, t * 1_000_000, repr(math.nan if v is None else float(v))) for s, t, v in readings]
    for name, found in (("json", as_json), ("packed", as_packed)):
        batch, rejects = decoder_for(ReadingConfig(format=name), HOUR_NS).decode(messages(found))
        assert not rejects
        assert [(sensor, time, number) for _, sensor, _, time, number, _ in flat(batch)] == wanted


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 13), st.floats(1e-6, 1e9), st.integers(0, 2**32 - 1))
def test_forecasts_are_valid_json_that_does_not_cross(count, horizon, scale, seed):
    batch = forecasts(messages([b""] * count), horizon, scale, seed)
    for record in JsonEncoder("m@1").encode(batch):
        body = json.loads(record.value)
        low, median, high = (np.array(body["quantiles"][level]) for level in ("0.1", "0.5", "0.9"))
        assert len(body["mean"]) == horizon
        assert (low <= median).all()
        assert (median <= high).all()


def test_a_forecast_can_be_read_as_a_reading():
    decoder = JsonDecoder(ReadingConfig(time="origin", value="scale"), None)
    records = JsonEncoder("m@1").encode(forecasts(messages([b""] * 3)))
    batch, rejects = decoder.decode(messages([record.value for record in records]))
    assert not rejects
    assert batch.sensors == ["s-0", "s-1", "s-2"]
