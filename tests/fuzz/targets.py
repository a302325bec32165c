"""What is fuzzed: for each target how its cases are drawn, and what must hold of each.

A case is one message or one stored blob. Bytes begin as good ones and are then changed: flipped, cut, grown, spliced
with others, some left as they are. Never an exception but the one that is promised; never a wrong accept: a stored blob
is read as it was written or not at all, and what is read of a message is what another parser finds in it.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from connectors.errors import StoredStateError
from stream_engine.checkpoint import Shard, decode_meta, decode_shard, encode_shard
from stream_engine.checkpoint.meta import PREFIX as META_PREFIX
from stream_engine.checkpoint.meta import Meta, encode_meta
from stream_engine.checkpoint.shards import PREFIX as SHARD_PREFIX
from stream_engine.codec import Decoder, decoder_for
from stream_engine.codec.registered import framed
from stream_engine.config import Condition, ReadingConfig
from stream_engine.records import REASONS
from stream_engine.slots import fresh_entries
from stream_engine.watermark import Progress
from tests.support.messages import HOUR_NS, NOW_MS, messages, packed
from tests.support.schemas import READING, READING_OBJECT, Schemas, avro, json_object

PER_EXAMPLE = 25
"""Cases in one example: drawing an example costs more than judging a case."""
LAYOUT = "layout-1"

Cases = list[bytes]


@dataclass(frozen=True)
class Target:
    """One thing that is fuzzed.

    Attributes:
        cases: draws the cases of one example.
        judge: judges them, raising where something does not hold; counts what became of each.
    """

    name: str
    cases: st.SearchStrategy[Any]
    judge: Callable[[Any], Counter[str]]


@st.composite
def changed(draw: st.DrawFn, goods: Cases) -> bytes:
    """One of the good ones with some of its bytes changed, now and then none."""
    good = draw(st.sampled_from(goods))
    seed = draw(st.integers(0, 2**64 - 1))
    rng = np.random.default_rng(seed)
    found = bytearray(good)
    for _ in range(int(rng.integers(0, 4))):
        _change(found, rng, goods)
    return bytes(found)


def _change(found: bytearray, rng: np.random.Generator, goods: Cases) -> None:
    """One change, in place."""
    place = int(rng.integers(0, len(found) + 1))
    kind = int(rng.integers(0, 6))
    if kind == 0 and place < len(found):
        found[place] ^= 1 << int(rng.integers(0, 8))
    elif kind == 1 and place < len(found):
        found[place] = int(rng.integers(0, 256))
    elif kind == 2:
        del found[place:]
    elif kind == 3:
        found[place:place] = rng.bytes(int(rng.integers(1, 9)))
    elif kind == 4:
        del found[place : place + int(rng.integers(1, 9))]
    else:
        other = goods[int(rng.integers(0, len(goods)))]
        start = int(rng.integers(0, len(other) + 1))
        found[place:] = other[start:]


def many(case: st.SearchStrategy[bytes]) -> st.SearchStrategy[Cases]:
    """The cases of one example."""
    return st.lists(case | st.binary(max_size=64), min_size=PER_EXAMPLE, max_size=PER_EXAMPLE)


JSON = [
    b'{"sensor": "s-17", "ts": 1700000000000, "value": 12.3}',
    b'{"sensor": 17, "ts": 1699999999999.5, "values": {"speed": 51.0, "count": 12, "gone": null}, "group": "g"}',
    b'{"value": -1e-7, "sensor": "\\u00fc\\ud83d\\ude00 \xc3\xbc", "quality": "good", "x": [1, {"a": null}]}',
    b'{"sensor": "a", "ts": null, "value": null, "value": 1}',
    b'{"sensor": "a", "value": 123456789012345678901234567890, "ts": 1e12}',
]
CSV = [b"s-17,1700000000000,12.3", b'"s ""17""",,\r\na,1.5,-3e5\n', b"a,1700000000000,\nb,1700000000000,1_0"]
PACKED = [
    packed(sensor=["a", "b"], ts=[NOW_MS, NOW_MS], value=[1.0, None]),
    packed(sensor=[1, 2], ts=[NOW_MS, None], value=[1, 2], channel=["x", "y"], quality=["good", "bad"]),
]
AVRO = [
    avro(1, READING, {"sensor": "s-17", "value": 12.3}),
    avro(1, READING, {"sensor": 17, "values": {"speed": 51.0, "count": 12, "gone": None}, "group": "g"}),
    avro(2, {"type": "array", "items": "double"}, [1.0, 2.0]),
    framed(3, b"\x02a\x02\x04"),
]
JSON_SCHEMA = [json_object(1, json.loads(one) | {"ts": NOW_MS}) for one in JSON[:2]]
JSON_SCHEMA += [json_object(2, {"sensor": "a", "value": 1, "more": {"more": [None, True]}})]


def schemas() -> Schemas:
    """A registry that knows good schemas and bad ones."""
    found = Schemas()
    found.add(READING)
    found.add({"type": "array", "items": "double"})
    found.add({"type": "record", "name": "R", "fields": [{"name": n, "type": "string"} for n in ("sensor", "value")]})
    return found


def object_schemas() -> Schemas:
    """The same for JSON Schema."""
    found = Schemas()
    found.add(READING_OBJECT, "JSON")
    found.add(True, "JSON")
    return found


def decoders(name: str, registry: Schemas | None = None) -> list[Decoder]:
    """A format's decoders, without a condition and with one."""
    condition = Condition("value > 0 or quality == 'good' or not x < 3")
    return [
        decoder_for(ReadingConfig(format=name, valid_where=where), HOUR_NS, registry) for where in (None, condition)
    ]


def judged_by(
    both: list[Decoder], check: Callable[[bytes, list[tuple[str, str, str]]], None]
) -> Callable[[Cases], Any]:
    """Judge messages: each is readings or one reject, and `check` looks at the readings, (sensor, channel, value)."""

    def judge(found: Cases) -> Counter[str]:
        records = messages(found, keys=[b"k"] * len(found))
        fates: Counter[str] = Counter()
        for decoder in both:
            batch, rejects = decoder.decode(records)
            refused = {reject.row: reject.reason for reject in rejects}
            rows = batch.rows.tolist()
            assert refused.keys() | set(rows) == set(range(len(found)))
            assert not refused.keys() & set(rows)
            assert set(refused.values()) <= set(REASONS)
            assert not np.isinf(batch.values).any()
            assert all(batch.sensors)
        fates.update(refused.get(row, "accepted") for row in range(len(found)))
        batch, _ = both[0].decode(records)
        read: dict[int, list[tuple[str, str, str]]] = {}
        for row, *reading in zip(
            batch.rows.tolist(), batch.sensors, batch.channels, batch.values.tolist(), strict=True
        ):
            read.setdefault(row, []).append((reading[0], reading[1], repr(reading[2])))
        for row, readings in read.items():
            check(found[row], readings)
        return fates

    return judge


def as_json_has_it(message: bytes, readings: list[tuple[str, str, str]]) -> None:
    """What Python's own parser finds in a message is what was read."""
    content = json.loads(message.decode())
    sensor = content.get("sensor")
    values = dict(content.get("values") or {})
    if "value" in content and (content["value"] is not None or not values):
        values = {"": content["value"], **values}
    wanted = [
        ("k" if sensor is None else str(sensor), name, repr(float("nan") if value is None else float(value)))
        for name, value in values.items()
    ]
    assert sorted(readings) == sorted(wanted)


def behind_its_schema(message: bytes, readings: list[tuple[str, str, str]]) -> None:
    """The same for a message with a frame."""
    assert message[0] == 0
    as_json_has_it(message[5:], readings)


def nothing_more(message: bytes, readings: list[tuple[str, str, str]]) -> None:
    """No other parser is at hand."""


def a_shard(num: int, floats: int = 7) -> bytes:
    """A stored shard."""
    rng = np.random.default_rng(num)
    entries = fresh_entries(num)
    entries["count"] = rng.integers(0, 2**63, num)
    rows = rng.normal(size=(num, floats)).astype(np.float32)
    return encode_shard(LAYOUT, Shard([(f"sensor-{n} ü", "" if n % 2 else "speed") for n in range(num)], entries, rows))


SHARDS = [a_shard(0), a_shard(1), a_shard(5), encode_shard("layout-0", decode_shard(LAYOUT, a_shard(3)))]
METAS = [
    encode_meta(
        Meta.of(
            Progress(watermark, [300_000_000_000] * gaps, np.arange(gaps) / 3.0),
            position=position,
            num_series=5,
            state_floats=7,
            layout_id=LAYOUT,
            model="m@1",
            saved_at_ns=1_700_000_000_000_000_000,
        )
    )
    for position, watermark, gaps in [(0, None, 0), (123_456_789, 1_700_000_000_000_000_000, 5)]
]


def judge_shards(found: Cases) -> Counter[str]:
    """A shard is read as it was written, or refused."""
    fates: Counter[str] = Counter()
    for blob in found:
        try:
            shard = decode_shard(LAYOUT, blob)
        except StoredStateError:
            fates["refused"] += 1
            continue
        assert blob in SHARDS, "a blob that nobody wrote was read"
        assert encode_shard(LAYOUT, shard) == blob
        fates["accepted"] += 1
    return fates


def judge_metas(found: Cases) -> Counter[str]:
    """A position is read as it was written, or refused."""
    fates: Counter[str] = Counter()
    for blob in found:
        try:
            meta = decode_meta(blob)
        except StoredStateError:
            fates["refused"] += 1
            continue
        assert blob in METAS, "a position that nobody wrote was read"
        assert encode_meta(meta) == blob
        fates["accepted"] += 1
    return fates


def judge_sealed_shards(found: Cases) -> Counter[str]:
    """With a checksum that is right again, a shard is refused or holds together."""
    fates: Counter[str] = Counter()
    for blob in found:
        if len(blob) < SHARD_PREFIX.size:
            continue
        magic, version, _, header_bytes = SHARD_PREFIX.unpack_from(blob)
        body = blob[SHARD_PREFIX.size :]
        try:
            shard = decode_shard(LAYOUT, SHARD_PREFIX.pack(magic, version, zlib.crc32(body), header_bytes) + body)
        except StoredStateError:
            fates["refused"] += 1
            continue
        assert len(shard.keys) == len(shard.entries) == len(shard.rows)
        assert shard.rows.ndim == 2
        fates["accepted"] += 1
    return fates


def judge_sealed_metas(found: Cases) -> Counter[str]:
    """The same for a position."""
    fates: Counter[str] = Counter()
    for blob in found:
        if len(blob) < META_PREFIX.size:
            continue
        magic, version, _ = META_PREFIX.unpack_from(blob)
        body = blob[META_PREFIX.size :]
        try:
            meta = decode_meta(META_PREFIX.pack(magic, version, zlib.crc32(body)) + body)
        except StoredStateError:
            fates["refused"] += 1
            continue
        assert meta.position >= 0
        meta.progress.common_cadence_ns(np.asarray([1, 2, 3]))
        fates["accepted"] += 1
    return fates


types = st.recursive(
    st.sampled_from(["null", "boolean", "int", "long", "float", "double", "bytes", "string", "R", "nonsense", 5, None])
    | st.sampled_from(["timestamp-millis", "date", "decimal", "uuid"]).map(
        lambda name: {"type": "bytes" if name == "decimal" else "long", "logicalType": name, "precision": 4}
    )
    | st.integers(-1, 4).map(lambda size: {"type": "fixed", "name": f"F{size}", "size": size})
    | st.just({"type": "enum", "name": "E", "symbols": ["a", "b"]}),
    lambda inner: (
        st.lists(inner, max_size=3)
        | inner.map(lambda one: {"type": "array", "items": one})
        | inner.map(lambda one: {"type": "map", "values": one})
        | inner.map(lambda one: {"type": "record", "name": "N", "fields": [{"name": "x", "type": one}]})
    ),
    max_leaves=6,
)
fields = st.lists(
    st.tuples(st.sampled_from(["sensor", "ts", "value", "values", "group", "quality"]), types), max_size=4
)
records = fields.map(
    lambda found: {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in found]}
)
payloads = st.lists(st.binary(max_size=24) | st.binary(max_size=3).map(lambda one: one * 2_000), min_size=8, max_size=8)


def judge_schemas(drawn: tuple[object, Cases]) -> Counter[str]:
    """Any schema of a registry, and any bytes behind it."""
    schema, found = drawn
    registry = Schemas()
    registry.add(schema)
    return judged_by(decoders("avro", registry), nothing_more)([framed(1, one) for one in found])


TARGETS = [
    Target("json", many(changed(JSON)), judged_by(decoders("json"), as_json_has_it)),
    Target("csv", many(changed(CSV)), judged_by(decoders("csv"), nothing_more)),
    Target("packed", many(changed(PACKED)), judged_by(decoders("packed"), nothing_more)),
    Target("avro", many(changed(AVRO)), judged_by(decoders("avro", schemas()), nothing_more)),
    Target("avro schemas", st.tuples(records | types, payloads), judge_schemas),
    Target(
        "json_schema",
        many(changed(JSON_SCHEMA)),
        judged_by(decoders("json_schema", object_schemas()), behind_its_schema),
    ),
    Target("stored shards", many(changed(SHARDS)), judge_shards),
    Target("stored positions", many(changed(METAS)), judge_metas),
    Target("shards, checksum right", many(changed(SHARDS)), judge_sealed_shards),
    Target("positions, checksum right", many(changed(METAS)), judge_sealed_metas),
]
