"""Avro: every kind of message is read by its schema, or refused for the right reason; unsafe schemas are refused."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import fastavro
import numpy as np
import pytest

from connectors.errors import ServerUnavailableError
from stream_engine.clock import ManualClock
from stream_engine.codec import decoder_for, encoder_for
from stream_engine.codec.avro import FORECAST_SCHEMA, AvroReader
from stream_engine.codec.registered import ASK_AGAIN_S, RegisteredDecoder, framed
from stream_engine.config import Condition, ReadingConfig
from tests.support.messages import HOUR_NS, NOW_MS, NOW_NS, forecasts, messages
from tests.support.schemas import READING, Schemas, avro

NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)


def record(*fields, name="Reading"):
    return {"type": "record", "name": name, "fields": [{"name": one, "type": kind} for one, kind in fields]}


def decode(values, schemas, keys=None, max_future_ns=HOUR_NS, **reading):
    decoder = decoder_for(ReadingConfig(format="avro", **reading), max_future_ns, schemas)
    return decoder.decode(messages(values, keys))


def one(schema, content, keys=None, references=None, **reading):
    """The reason for refusing a message, or its readings as (sensor, channel, time, value)."""
    schemas = Schemas()
    written = schema if references is None else content
    number = schemas.add(schema, references=references)
    value = avro(number, schema, content) if written is schema else framed(number, content)
    batch, rejects = decode([value], schemas, keys, **reading)
    if rejects:
        assert len(batch) == 0
        return rejects[0].reason
    return list(zip(batch.sensors, batch.channels, batch.times_ns.tolist(), batch.values.tolist(), strict=True))


def test_a_reading_is_read_with_its_unions_and_its_channels():
    assert one(READING, {"sensor": "s-17", "ts": NOW, "value": 12.3}) == [("s-17", "", NOW_NS, 12.3)]
    assert one(READING, {"sensor": 17, "value": 1.0}) == [("17", "", NOW_NS, 1.0)]
    assert one(READING, {"value": 1.0}, keys=[b"k"]) == [("k", "", NOW_NS, 1.0)]
    found = one(READING, {"sensor": "a", "values": {"speed": 51.0, "count": 12, "gone": None}})
    assert [(channel, repr(value)) for _, channel, _, value in found] == [
        ("speed", "51.0"),
        ("count", "12.0"),
        ("gone", "nan"),
    ]
    nested = record(("sensor", "string"), ("values", record(("x", "float"), ("n", "int"), name="Inner")))
    assert [value for *_, value in one(nested, {"sensor": "a", "values": {"x": 0.5, "n": 3}})] == [0.5, 3.0]
    [(*_, value)] = one(READING, {"sensor": "a"})
    assert np.isnan(value)


@pytest.mark.parametrize(
    ("kind", "time"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, NOW),
        ({"type": "long", "logicalType": "timestamp-micros"}, NOW),
        (["null", {"type": "long", "logicalType": "timestamp-micros"}], NOW),
        ({"type": "long", "logicalType": "timestamp-nanos"}, NOW_NS),
        ("long", NOW_MS // 1000),
        ("double", NOW_MS / 1000),
        ({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3}, Decimal(NOW_MS) / 1000),
    ],
)
def test_the_times_logical_type_gives_its_unit_and_else_the_configuration(kind, time):
    schema = record(("sensor", "string"), ("ts", kind), ("value", "double"))
    assert one(schema, {"sensor": "a", "ts": time, "value": 1.0}, time_unit="s") == [("a", "", NOW_NS, 1.0)]


def test_schemas_of_different_units_stand_in_one_batch():
    schemas = Schemas()
    kinds = [{"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("micros", "millis")]
    written = [record(("sensor", "string"), ("ts", kind), ("value", "double")) for kind in kinds]
    numbers = [schemas.add(schema) for schema in written]
    values = [
        avro(number, schema, {"sensor": "a", "ts": NOW, "value": float(n)})
        for n in range(3)
        for number, schema in zip(numbers, written, strict=True)
    ]
    batch, rejects = decode(values, schemas)
    assert not rejects
    assert batch.times_ns.tolist() == [NOW_NS] * 6
    assert batch.values.tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    assert schemas.num_asked == 2


@pytest.mark.parametrize(
    ("schema", "content", "reason"),
    [
        (record(("sensor", "string")), {"sensor": "a"}, "bad_value"),
        (record(("sensor", "string"), ("value", "string")), {"sensor": "a", "value": "1"}, "bad_value"),
        (record(("sensor", "string"), ("value", "boolean")), {"sensor": "a", "value": True}, "bad_value"),
        (record(("sensor", "string"), ("value", "double")), {"sensor": "a", "value": np.inf}, "bad_value"),
        (record(("sensor", "bytes"), ("value", "double")), {"sensor": b"a", "value": 1.0}, "no_sensor"),
        (record(("sensor", "string"), ("value", "double")), {"sensor": "", "value": 1.0}, "no_sensor"),
        (record(("value", "double")), {"value": 1.0}, "no_sensor"),
        (record(("sensor", "string"), ("ts", "boolean"), ("value", "int")), {"ts": True, "value": 1}, "bad_time"),
        (record(("sensor", "string"), ("ts", "string"), ("value", "int")), {"ts": "noon", "value": 1}, "bad_time"),
        (record(("sensor", "string"), ("ts", "double"), ("value", "int")), {"ts": np.nan, "value": 1}, "bad_time"),
        (record(("sensor", "string"), ("group", "int"), ("value", "int")), {"group": 1, "value": 1}, "schema"),
        (READING, {"sensor": "a", "ts": datetime(2100, 1, 1, tzinfo=UTC), "value": 1.0}, "future_time"),
        (record(("sensor", "string"), ("value", "int")), {"sensor": "a" * 2000, "value": 1}, "too_large"),
        ("string", "a", "schema"),
        (["null", "double"], 1.0, "schema"),
        (record(("ts", {"type": "int", "logicalType": "date"}), ("value", "int")), {"ts": NOW, "value": 1}, "schema"),
        (
            record(("ts", {"type": "long", "logicalType": "local-timestamp-millis"}), ("value", "int")),
            {"ts": NOW, "value": 1},
            "schema",
        ),
    ],
)
def test_what_is_no_reading_is_refused(schema, content, reason):
    if isinstance(content, dict):
        content = {"sensor": "a", **content} if reason not in ("no_sensor", "bad_value") else content
    assert one(schema, content) == reason


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (None, "undecodable", "tombstone"),
        (b"", "undecodable", "is empty"),
        (b'{"sensor": "a", "value": 1}', "undecodable", "magic byte 0"),
        (b"\x00\x00\x00", "undecodable", "ends within"),
        (b"\x00\x00\x00\x00\x01", "undecodable", "not of its Avro schema"),
        (b"\x00\x00\x00\x00\x09" + b"x" * 9, "schema", "does not know the schema with id 9"),
        (avro(1, READING, {"sensor": "a", "value": 1.0})[:-1], "undecodable", "not of its Avro schema"),
        (avro(1, READING, {"sensor": "a", "value": 1.0}) + b"\x00", "undecodable", "goes on for 1 bytes"),
        (avro(1, READING, {"sensor": "a", "value": 1.0, "group": "g" * 900_000}), "too_large", "reading.max_bytes"),
    ],
)
def test_what_does_not_decode_is_refused_and_does_not_touch_its_neighbours(value, reason, detail):
    schemas = Schemas()
    good = avro(schemas.add(READING), READING, {"sensor": "a", "ts": NOW, "value": 1.0})
    batch, rejects = decode([good, value, good], schemas, keys=[None, b"k", None])
    assert batch.rows.tolist() == [0, 2]
    assert [(one.row, one.reason) for one in rejects] == [(1, reason)]
    assert detail in rejects[0].detail


def test_a_condition_reads_fields_and_channels():
    schema = record(
        ("sensor", "string"),
        ("value", "double"),
        ("quality", {"type": "enum", "name": "Q", "symbols": ["good", "bad"]}),
    )
    schemas = Schemas()
    number = schemas.add(schema)
    values = [avro(number, schema, {"sensor": "a", "value": 1.0, "quality": quality}) for quality in ("good", "bad")]
    batch, rejects = decode(values, schemas, valid_where=Condition("quality == 'good'"))
    assert not rejects
    assert (batch.num_invalid, np.isnan(batch.values).tolist()) == (1, [False, True])


def test_references_are_read():
    schemas = Schemas()
    inner, outer = record(("speed", "double"), name="Inner"), record(("sensor", "string"), ("values", "Inner"))
    number = schemas.add(outer, references={"Inner": inner})
    stream = io.BytesIO()
    names = {}
    fastavro.parse_schema(inner, names)
    fastavro.schemaless_writer(stream, fastavro.parse_schema(outer, names), {"sensor": "a", "values": {"speed": 2.0}})
    batch, rejects = decode([framed(number, stream.getvalue())], schemas)
    assert not rejects
    assert (batch.channels, batch.values.tolist()) == (["speed"], [2.0])
    lost = schemas.add(outer)
    assert [one.reason for one in decode([framed(lost, b"x")], schemas)[1]] == ["schema"]


LIST = record(("next", ["null", "List"]), name="List")


@pytest.mark.parametrize(
    ("schema", "detail"),
    [
        (LIST, "List, which holds itself"),
        (record(("a", {"type": "map", "values": LIST})), "List, which holds itself"),
        (record(("a", {"type": "array", "items": "null"})), "items take no bytes"),
        (record(("a", {"type": "array", "items": record(("x", "null"), name="E")})), "items take no bytes"),
        (record(("a", {"type": "array", "items": {"type": "fixed", "size": 0, "name": "F"}})), "items take no bytes"),
        ({**LIST, "__fastavro_parsed": True, "__named_schemas": {}}, "List, which holds itself"),
        ("{", "is no Avro schema"),
        ("[" * 100_000, "is no Avro schema"),
        ({"type": "record", "fields": []}, "is no Avro schema"),
        ({"type": "nonsense"}, "is no Avro schema"),
        (5, "is no Avro schema"),
    ],
)
def test_a_schema_by_which_a_few_bytes_could_ask_for_anything_is_refused(schema, detail):
    schemas = Schemas()
    payload = b"\x02" * 800_000  # what would end the process, were the schema of LIST read by
    [reject] = decode([framed(schemas.add(schema), payload)], schemas)[1]
    assert (reject.reason, detail in reject.detail) == ("schema", True), reject.detail


def test_another_kind_of_schema_is_refused():
    schemas = Schemas()
    [reject] = decode([framed(schemas.add({"type": "object"}, "JSON"), b"{}")], schemas)[1]
    assert reject.reason == "schema"
    assert "is of the kind JSON, not AVRO" in reject.detail


def test_a_schema_that_is_not_known_is_asked_for_again_after_a_while():
    schemas, clock = Schemas(), ManualClock()
    config = ReadingConfig(format="avro")
    decoder = RegisteredDecoder(config, None, schemas, lambda schema: AvroReader(schema, config.time), clock)
    value = avro(1, READING, {"sensor": "a", "value": 1.0})
    for _ in range(3):
        assert [one.reason for one in decoder.decode(messages([value, value]))[1]] == ["schema", "schema"]
    assert schemas.num_asked == 1
    schemas.add(READING)
    clock.advance(ASK_AGAIN_S)
    batch, rejects = decoder.decode(messages([value, value]))
    assert (len(batch), rejects, schemas.num_asked) == (2, [], 2)


def test_a_registry_that_is_away_refuses_nothing():
    schemas = Schemas()
    schemas.is_away = True
    value = avro(1, READING, {"sensor": "a", "value": 1.0})
    schemas.add(READING)
    decoder = decoder_for(ReadingConfig(format="avro"), None, schemas)
    with pytest.raises(ServerUnavailableError):
        decoder.decode(messages([b"rubbish", value]))
    schemas.is_away = False
    batch, rejects = decoder.decode(messages([b"rubbish", value]))
    assert (batch.rows.tolist(), [one.row for one in rejects]) == ([1], [0])


def test_forecasts_are_written_as_the_schema_says():
    schemas = Schemas()
    encoder = encoder_for("avro", "m@1", "forecasts", schemas)
    with pytest.raises(RuntimeError, match="open the encoder first"):
        encoder.encode(forecasts(messages([b""])))
    encoder.open(1.0)
    assert json.loads(schemas.known[0].text) == FORECAST_SCHEMA
    wanted = forecasts(messages([b""] * 3, keys=[b"k", None, None]))
    records = encoder.encode(wanted)
    plain = encoder_for("json", "m@1").encode(wanted)
    assert [record.key for record in records] == [b"k", b"s-1", b"s-2"]
    for found, as_json in zip(records, plain, strict=True):
        assert found.value[:5] == b"\x00\x00\x00\x00\x01"
        assert dict(found.headers) == {**dict(as_json.headers), "content-type": b"avro/binary"}
        body = fastavro.schemaless_reader(io.BytesIO(found.value[5:]), FORECAST_SCHEMA, None)
        told = json.loads(as_json.value)
        assert body.pop("channel") == told.pop("channel", None)
        for name in ("origin", "last_reading"):
            assert body.pop(name) == datetime.fromtimestamp(told.pop(name) / 1000, UTC)
        assert body == told
    assert encoder.encode(forecasts(messages([]))) == []
