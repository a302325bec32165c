"""Packed messages: Arrow streams in and out, bad ones refused whole."""

import numpy as np
import pyarrow as pa
import pytest

from stream_engine.codec import PackedDecoder, PackedEncoder
from stream_engine.codec import packed as packed_module
from stream_engine.config import Condition, ReadingConfig
from tests.support.messages import HOUR_NS, NOW_MS, NOW_NS, forecasts, messages, packed

GOOD = packed(sensor=["a", "b", "a"], ts=[NOW_MS, NOW_MS, NOW_MS + 1], value=[1.0, None, 3.0])


def decode(values, keys=None, stamps_ns=None, **reading):
    decoder = PackedDecoder(ReadingConfig(format="packed", **reading), HOUR_NS)
    return decoder.decode(messages(values, keys, stamps_ns))


def test_rows_are_readings():
    batch, rejects = decode([GOOD, GOOD])
    assert not rejects
    assert batch.rows.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.sensors == ["a", "b", "a"] * 2
    assert batch.channels == [""] * 6
    assert batch.groups is None
    assert (batch.times_ns - NOW_NS).tolist() == [0, 0, 1_000_000] * 2
    assert batch.values[[0, 2]].tolist() == [1, 3]
    assert np.isnan(batch.values[1])


def test_channels_groups_and_dictionaries():
    value = packed(
        sensor=pa.array(["a", "a"]).dictionary_encode(), value=[1, 2], channel=["x", None], group=["g", None]
    )
    batch, _ = decode([value])
    assert (batch.sensors, batch.channels, batch.groups) == (["a", "a"], ["x", ""], ["g", ""])


def test_absent_columns_are_taken_from_the_record():
    batch, rejects = decode([packed(value=[1.0, 2.0])], keys=[b"k"])
    assert not rejects
    assert batch.sensors == ["k", "k"]
    assert (batch.times_ns == NOW_NS).all()
    assert decode([packed(value=[1.0])])[1][0].reason == "no_sensor"
    assert decode([packed(sensor=["a"], value=[1.0])], stamps_ns=[-1])[1][0].reason == "bad_time"


@pytest.mark.parametrize(
    ("times", "unit"),
    [
        (pa.array([1_700_000_000], pa.timestamp("s", "UTC")), "ms"),
        (pa.array([NOW_NS], pa.timestamp("ns")), "ms"),
        (pa.array([1_700_000_000], pa.uint32()), "s"),
        (pa.array([1.7e9]), "s"),
        (pa.array(["2023-11-14T22:13:20Z"]), "rfc3339"),
        (pa.array([None], pa.int64()), "ms"),
        (pa.array([None], pa.null()), "ms"),
    ],
)
def test_times_of_many_types(times, unit):
    batch, rejects = decode([packed(sensor=["a"], ts=times, value=[1])], time_unit=unit)
    assert not rejects
    assert batch.times_ns.tolist() == [NOW_NS]


@pytest.mark.parametrize(
    "sensors",
    [
        pa.array(["7"], pa.large_string()),
        pa.array(["7"], pa.string_view()),
        pa.array([7]),
        pa.array(["7"], pa.dictionary(pa.int8(), pa.large_string())),
    ],
)
def test_sensors_of_many_types(sensors):
    assert decode([packed(sensor=sensors, value=[1])])[0].sensors == ["7"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "undecodable"),
        (b"", "undecodable"),
        (b"ARROW1", "undecodable"),
        (b'{"sensor":"a","value":1}', "undecodable"),
        (GOOD[:-100], "undecodable"),
        (GOOD.replace(b"value", b"val\xffe"), "undecodable"),
        (GOOD.replace(b"ts\0", b"\xff\xff\0"), "undecodable"),
        (packed(sensor=["abc"], value=[1]).replace(b"abc", b"a\xffc"), "undecodable"),
        (packed(sensor=pa.array(["abc"]).dictionary_encode(), value=[1]).replace(b"abc", b"a\xffc"), "undecodable"),
        (packed(sensor=pa.array([], pa.string()), value=pa.array([], pa.float64())), "undecodable"),
        (packed(sensor=["a", None], value=[1, 2]), "no_sensor"),
        (packed(sensor=["a", ""], value=[1, 2]), "no_sensor"),
        (packed(sensor=[1.5], value=[1]), "no_sensor"),
        (packed(sensor=["a"]), "bad_value"),
        (packed(sensor=["a"], value=["x"]), "bad_value"),
        (packed(sensor=["a"], value=[True]), "bad_value"),
        (packed(sensor=["a", "b"], value=[1.0, np.inf]), "bad_value"),
        (packed(sensor=["a"], ts=[2**62], value=[1]), "bad_time"),
        (packed(sensor=["a"], ts=pa.array([2**63], pa.uint64()), value=[1]), "bad_time"),
        (packed(sensor=["a"], ts=[np.nan], value=[1]), "bad_time"),
        (packed(sensor=["a"], ts=["x"], value=[1]), "bad_time"),
        (packed(sensor=["a"], ts=[True], value=[1]), "bad_time"),
        (packed(sensor=["a", "a"], ts=[NOW_MS, NOW_MS + 3_600_001], value=[1, 2]), "future_time"),
        (packed(sensor=["a"], group=[1.5], value=[1]), "schema"),
        (packed(sensor=["a" * 1_025], value=[1]), "too_large"),
    ],
)
def test_a_bad_message_is_refused_whole(value, reason):
    batch, [reject] = decode([GOOD, value, GOOD])
    assert (reject.row, reject.reason) == (1, reason)
    assert batch.rows.tolist() == [0, 0, 0, 2, 2, 2]


def test_a_column_twice_is_refused():
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["a"]), pa.array([1.0]), pa.array([2.0])], ["sensor", "value", "value"]
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    assert decode([sink.getvalue().to_pybytes()])[1][0].reason == "schema"


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("has_dictionary", [False, True])
def test_what_could_unpack_to_any_size_is_refused(compression, has_dictionary):
    sensors = pa.array(["a"] * 1_000)
    batch = pa.record_batch(
        {"sensor": sensors.dictionary_encode() if has_dictionary else sensors, "value": np.arange(1_000)}
    )
    for wanted, options in ((0, None), (1, pa.ipc.IpcWriteOptions(compression=compression))):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)
        _, rejects = decode([sink.getvalue().to_pybytes()])
        assert [reject.reason for reject in rejects] == ["schema"] * wanted


def test_sizes_are_bounded(monkeypatch):
    assert decode([GOOD], max_bytes=100)[1][0].reason == "too_large"
    monkeypatch.setattr(packed_module, "MAX_ROWS", 2)
    assert decode([GOOD])[1][0].reason == "too_large"


def test_valid_where_reads_columns():
    value = packed(sensor=["a"] * 4, value=[1, 2, 3, 4], quality=["good", "bad", None, "good"], count=[1, 1, 1, None])
    condition = Condition("quality == 'good' and count > 0")
    batch, _ = decode([value], valid_where=condition)
    assert np.isnan(batch.values).tolist() == [False, True, True, True]
    assert batch.num_invalid == 3
    batch, _ = decode([packed(sensor=["a"], value=[1])], valid_where=condition)
    assert batch.num_invalid == 1


def test_an_empty_batch():
    batch, rejects = decode([])
    assert (len(batch), rejects) == (0, [])


def test_forecasts_packed_by_source():
    batch = forecasts(messages([b""] * 5, start=40), horizon=4)
    [record] = PackedEncoder("default@7").encode(batch)
    table = pa.ipc.open_stream(record.value).read_all()
    assert record.key == b"speeds/3"
    assert dict(record.headers)["source-offset"] == b"44"
    assert dict(record.headers)["content-type"] == b"application/vnd.apache.arrow.stream"
    assert table.schema.metadata == {b"model": b"default@7"}
    assert table["sensor"].to_pylist() == batch.sensors
    assert table["origin"].to_pylist() == [NOW_MS] * 5
    assert table["cadence_ms"].to_pylist() == [300_000.0] * 5
    assert table["source_offset"].to_pylist() == [40, 41, 42, 43, 44]
    assert table["status"].to_pylist() == ["ok"] * 5
    assert np.array(table["mean"].to_pylist()) == pytest.approx(batch.mean, abs=1e-4)
    assert np.array(table["0.9"].to_pylist()) == pytest.approx(batch.quantiles[:, 2], abs=1e-4)


def test_packed_forecasts_are_cut_to_size(monkeypatch):
    monkeypatch.setattr(packed_module, "MAX_FORECAST_BYTES", 500)
    batch = forecasts(messages([b""] * 5), horizon=4)
    records = PackedEncoder("m@1").encode(batch)
    tables = [pa.ipc.open_stream(record.value).read_all() for record in records]
    assert len(records) > 1
    assert pa.concat_tables(tables)["sensor"].to_pylist() == batch.sensors
    assert len({dict(record.headers)["forecast-id"] for record in records}) == len(records)
    assert PackedEncoder("m@1").encode(forecasts(messages([]))) == []
