"""JSON Schema: messages are validated by the schema they name; forecasts keep the schema that is registered."""

import json

import jsonschema
import pytest

from connectors.errors import MissingExtraError
from stream_engine import codec
from stream_engine.codec import decoder_for, encoder_for
from stream_engine.codec.registered import framed
from stream_engine.config import ReadingConfig
from tests.support.messages import HOUR_NS, NOW_MS, NOW_NS, forecasts, messages
from tests.support.schemas import READING_OBJECT, Schemas, json_object


def decode(values, schemas, keys=None, **reading):
    decoder = decoder_for(ReadingConfig(format="json_schema", **reading), HOUR_NS, schemas)
    return decoder.decode(messages(values, keys))


def test_a_reading_is_read_with_its_channels():
    schemas = Schemas()
    number = schemas.add(READING_OBJECT, "JSON")
    found = [{"sensor": "a", "ts": NOW_MS, "value": 1.5}, {"ts": NOW_MS, "values": {"x": 2, "y": None}}]
    batch, rejects = decode([json_object(number, one) for one in found], schemas, keys=[None, b"k"])
    assert not rejects
    assert (batch.sensors, batch.channels) == (["a", "k", "k"], ["", "x", "y"])
    assert batch.times_ns.tolist() == [NOW_NS] * 3
    assert list(map(repr, batch.values.tolist())) == ["1.5", "2.0", "nan"]


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (b'{"sensor": "hush", "value": 1}', "schema", "'the message' does not keep the schema's rule 'required'"),
        (b'{"ts": "hush", "value": 1}', "schema", "'ts' does not keep the schema's rule 'properties/ts/type'"),
        (b'{"ts": 1, "values": {"x": "hush"}}', "schema", "'values/x' does not keep"),
        (b'{"ts": 1, "value": NaN}', "undecodable", "not JSON"),
        (b'{"ts": 1, "value": 1} {}', "undecodable", "not JSON"),
        (b'{"ts": 1, "value": 1', "undecodable", "not JSON"),
        (b"\xff", "undecodable", "not JSON"),
        (b"", "undecodable", "not JSON"),
        (b"[" * 100_000, "undecodable", "not JSON"),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, "undecodable", "nested too deeply"),
        (b"[1]", "schema", "'the message' does not keep the schema's rule 'type'"),
        (b'{"ts": 1}', "bad_value", "there is no value"),
        (b'{"ts": 1, "value": 1e999}', "undecodable", "not JSON"),
        (b'{"ts": 1, "value": 1, "group": 5}', "schema", "'group' must be text"),
    ],
)
def test_what_does_not_keep_its_schema_is_refused_without_telling_what_it_holds(payload, reason, detail):
    schemas = Schemas()
    number = schemas.add(READING_OBJECT, "JSON")
    good = json_object(number, {"sensor": "a", "ts": NOW_MS, "value": 1})
    batch, rejects = decode([good, framed(number, payload), good], schemas, keys=[b"k"] * 3)
    assert batch.rows.tolist() == [0, 2]
    assert [(one.row, one.reason) for one in rejects] == [(1, reason)], rejects
    assert detail in rejects[0].detail, rejects
    assert "hush" not in rejects[0].detail


def test_a_schema_refers_to_others_of_the_registry_and_to_nothing_else():
    schemas = Schemas()
    whole = {"type": "object", "properties": {"value": {"$ref": "value.json"}}, "required": ["value"]}
    named = schemas.add(whole, "JSON", {"value.json": {"type": "number", "minimum": 0}})
    batch, rejects = decode([json_object(named, {"sensor": "a", "value": value}) for value in (1, -1)], schemas)
    assert (batch.values.tolist(), [one.reason for one in rejects]) == ([1.0], ["schema"])
    for schema in (
        whole,
        {"$ref": "http://127.0.0.1:9/value.json"},
        {"$ref": "file:///etc/hostname"},
        {"type": "nonsense"},
        "{",
        5,
    ):
        [reject] = decode([framed(schemas.add(schema, "JSON"), b'{"value": 1}')], schemas)[1]
        assert (reject.reason, "is no JSON Schema" in reject.detail) == ("schema", True), reject.detail


def test_a_pattern_that_would_run_for_ever_ends():
    schemas = Schemas()
    number = schemas.add({"properties": {"sensor": {"pattern": "^(?=(a+)+$)"}}}, "JSON")
    [reject] = decode([json_object(number, {"sensor": "a" * 50_000 + "!", "value": 1})], schemas)[1]
    assert reject.reason == "schema"


def test_deep_messages_do_not_end_the_process():
    schemas = Schemas()
    deep = {"$ref": "#/definitions/n", "definitions": {"n": {"properties": {"a": {"$ref": "#/definitions/n"}}}}}
    number = schemas.add(deep, "JSON")
    for depth in (900, 5_000, 100_000):
        payload = b'{"value": 1, "sensor": "s", "a":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        batch, rejects = decode([framed(number, payload)], schemas)
        assert len(batch) + len(rejects) == 1


def test_forecasts_keep_their_schema():
    schemas = Schemas()
    encoder = encoder_for("json_schema", "m@1", "forecasts", schemas)
    encoder.open(1.0)
    assert schemas.known[0].kind == "JSON"
    schema = json.loads(schemas.known[0].text)
    jsonschema.Draft7Validator.check_schema(schema)
    wanted = forecasts(messages([b""] * 3))
    for found, plain in zip(encoder.encode(wanted), encoder_for("json", "m@1").encode(wanted), strict=True):
        assert found == plain._replace(value=framed(1, plain.value))
        body = json.loads(plain.value)
        jsonschema.validate(body, schema)
        assert body.keys() <= schema["properties"].keys()


def test_a_library_that_is_missing_names_its_install_line(monkeypatch):
    monkeypatch.setattr(codec, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"reading.format is avro, .* pip install 'stream-engine\[avro\]'"):
        decoder_for(ReadingConfig(format="avro"), None, Schemas())
    with pytest.raises(MissingExtraError, match=r"jsonschema-rs is not .* 'stream-engine\[json-schema\]'"):
        encoder_for("json_schema", "m@1", "forecasts", Schemas())
