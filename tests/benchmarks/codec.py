"""Readings decoded and forecasts encoded a second, on one core, beside the bare parser as the floor.

    python -m tests.benchmarks.codec

I know nothing of brokers and models. Each rate is the best of many runs over one batch, in CPU time, so that
other work on the machine disturbs it less.
"""

import gc
import time
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa

from connectors.records import RecordBatch
from stream_engine.codec import decoder_for, encoder_for
from stream_engine.config import Condition, ReadingConfig
from stream_engine.localtime import second_of_week
from tests.benchmarks.results import save
from tests.support.messages import HOUR_NS, NOW_MS, NOW_NS, forecasts, messages, packed
from tests.support.schemas import READING, READING_OBJECT, Schemas, avro, json_object

NUM_RECORDS = 10_000
NUM_SENSORS = 1_000
RUNS = 60
HORIZON = 12


def main() -> None:
    """Measure, print and keep."""
    rates = {**decoding(), **encoding(), **local_time()}
    for name, rate in rates.items():
        print(f"{name:34s} {rate:12,.0f}/s   {1e6 / rate:8.3f} us each")
    save("codec", "python -m tests.benchmarks.codec", {"per_second": rates})


def decoding() -> dict[str, float]:
    """Readings a second of each format."""
    numbers = range(NUM_RECORDS)
    plain = [b'{"sensor": "s-%06d", "ts": %d, "value": %.3f}' % (n % NUM_SENSORS, NOW_MS + n, n * 0.1) for n in numbers]
    channels = [
        b'{"sensor": "s-%06d", "ts": %d, "values": {"speed": %.3f, "count": %d}}'
        % (n % NUM_SENSORS, NOW_MS + n, n * 0.1, n)
        for n in numbers
    ]
    texts = [
        b'{"sensor": "s-%06d", "ts": "2023-11-14T22:13:%02d.%03dZ", "value": %.3f}'
        % (n % NUM_SENSORS, n % 20, n % 1000, n * 0.1)
        for n in numbers
    ]
    tenth_bad = [b"{" if n % 10 == 0 else value for n, value in enumerate(plain)]
    lines = [b"s-%06d,%d,%.3f" % (n % NUM_SENSORS, NOW_MS + n, n * 0.1) for n in numbers]
    names = [f"s-{n % NUM_SENSORS:06d}" for n in numbers]
    columns = {"ts": np.arange(NUM_RECORDS) + NOW_MS, "value": np.arange(NUM_RECORDS) * 0.1}
    as_text = [packed(sensor=names, **columns)] * 10
    as_dictionary = [packed(sensor=pa.array(names).dictionary_encode(), **columns)] * 10
    small = [packed(sensor=names[:50], ts=columns["ts"][:50], value=columns["value"][:50])] * 200
    is_good = Condition("value >= 0")
    return {
        "floor: msgspec to structs": _bare(plain),
        "json": _decoded(plain),
        "json, two channels": _decoded(channels),
        "json, valid_where": _decoded(plain, valid_where=is_good),
        "json, rfc3339 times": _decoded(texts, time_unit="rfc3339"),
        "json, a tenth undecodable": _decoded(tenth_bad),
        "csv, a line a message": _decoded(lines, format="csv"),
        "avro": _decoded([avro(1, READING, _body(n)) for n in numbers], format="avro"),
        "json_schema": _decoded(
            [json_object(2, {**_body(n), "ts": NOW_MS + n}) for n in numbers], format="json_schema"
        ),
        "packed, 10000 rows, text": _decoded(as_text, format="packed"),
        "packed, 10000 rows, dictionary": _decoded(as_dictionary, format="packed"),
        "packed, 50 rows": _decoded(small, format="packed"),
    }


def encoding() -> dict[str, float]:
    """Forecasts of 12 leads a second, keys and headers with them."""
    batch = forecasts(messages([b""] * 1_000), HORIZON)
    rates = {}
    for name in ("json", "packed", "avro", "json_schema"):
        encoder = encoder_for(name, "default@1", "forecasts", _schemas())
        encoder.open(1.0)
        rates[f"forecasts as {name}"] = _rate(lambda encoder=encoder: encoder.encode(batch), len(batch))
    return rates


def _body(number: int) -> dict[str, object]:
    time = datetime.fromtimestamp((NOW_MS + number) / 1000, UTC)
    return {"sensor": f"s-{number % NUM_SENSORS:06d}", "ts": time, "value": number * 0.1}


def _json_object(number: int) -> bytes:
    return json_object(2, {**_body(number), "ts": NOW_MS + number})


def _schemas() -> Schemas:
    """A registry in memory: schema 1 for Avro, 2 for JSON Schema."""
    schemas = Schemas()
    schemas.add(READING)
    schemas.add(READING_OBJECT, "JSON")
    return schemas


def local_time() -> dict[str, float]:
    """Instants a second, over a year."""
    times_ns = NOW_NS + np.arange(100_000) * 315_000_000_000
    zones = [ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")]
    return {
        f"local time, {zone}": _rate(lambda zone=zone: second_of_week(times_ns, zone), len(times_ns)) for zone in zones
    }


def _decoded(values: list[bytes], **reading: object) -> float:
    decoder = decoder_for(ReadingConfig(**reading), HOUR_NS, _schemas())
    records: RecordBatch = messages(values)
    return _rate(lambda: decoder.decode(records), len(decoder.decode(records)[0]))


def _bare(values: list[bytes]) -> float:
    message = msgspec.defstruct("Message", [("sensor", str), ("ts", int), ("value", float)], gc=False)
    parse = msgspec.json.Decoder(message).decode
    return _rate(lambda: [parse(value) for value in values], len(values))


def _rate(work: Callable[[], object], count: int) -> float:
    """Best of RUNS."""
    best_s = float("inf")
    for _ in range(RUNS):
        gc.collect()
        start_s = time.process_time()
        work()
        best_s = min(best_s, time.process_time() - start_s)
    return count / best_s


if __name__ == "__main__":
    main()
