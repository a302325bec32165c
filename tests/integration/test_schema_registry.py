"""The program beside a schema registry and a real Kafka: confluent-kafka's own serializers write what is read, and read
what is written; what is refused, and what becomes of a registry that is away."""

import json
import re
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.integration.test_commands import Site
from tests.support.program import run_program
from tests.support.registry_server import Registered, RegistryServer, running
from tests.support.schemas import READING, READING_OBJECT
from tests.support.secure_servers import Certificate
from tests.support.topics import NewRecord, committed_offsets, consume_all, produce
from tests.support.waiting import poll_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

USER = ("engine", "hush @:/%")
START_MS = 1_700_000_000_000
STEP_MS = 300_000
SENSORS, TICKS = 4, 6
READING_TEXT = json.dumps({**READING, "namespace": "tests"})


class RegisteredSite(Site):
    """A site whose messages have schemas; the registry wants TLS and a password, which a file holds."""

    def __init__(self, kafka: str, redis: str, folder: Path, topic: str, server: RegistryServer, ca: str) -> None:
        super().__init__(kafka, redis, folder, topic)
        self.server, self.ca = server, ca
        secret = folder / "registry.secret"
        secret.write_text(USER[1] + "\n")
        self.sections = (
            f"registry: {{url: 'https://engine:${{file:{secret}}}@{server.address}', ca_file: {ca}, timeout: 20s}}\n"
        )

    def write(self, reading: str, sink: str) -> None:
        url = f"kafka://{self.kafka}/{self.topic}"
        self.config.write_text(
            f"source: {url}?group={self.topic}\n"
            f"sink: {{url: '{url}-forecasts', format: {sink}}}\n"
            f"store: {self.redis}\n"
            f"reading: {{format: {reading}}}\n" + self.sections
        )

    def client(self) -> SchemaRegistryClient:
        return SchemaRegistryClient(
            {"url": self.server.url, "basic.auth.user.info": ":".join(USER), "ssl.ca.location": self.ca}
        )

    def value(self) -> SerializationContext:
        return SerializationContext(self.topic, MessageField.VALUE)


@pytest.fixture
def site(kafka_servers: str, redis_url: str, new_topic: Callable[..., str], tmp_path: Path) -> Iterator[RegisteredSite]:
    own = Certificate.made_in(tmp_path, "registry")
    with running(USER, (str(own.certificate), str(own.key))) as server:
        yield RegisteredSite(kafka_servers, redis_url, tmp_path, new_topic(2), server, str(own.certificate))


def readings() -> Iterator[tuple[str, int, float]]:
    for tick in range(TICKS):
        for number in range(SENSORS):
            yield f"s-{number}", START_MS + tick * STEP_MS, float(tick + number)


def as_avro(sensor: str, time_ms: int, value: float) -> dict[str, Any]:
    return {"sensor": sensor, "ts": datetime.fromtimestamp(time_ms / 1000, UTC), "value": value}


def consumed(site: RegisteredSite, deserializer: Any, count: int) -> list[dict[str, Any]]:
    """What an ordinary consumer with confluent's own deserializer makes of the forecasts."""
    topic = f"{site.topic}-forecasts"
    settings = {"bootstrap.servers": site.kafka, "group.id": f"{site.topic}-reader", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    found: list[dict[str, Any]] = []

    def step() -> bool:
        for message in consumer.consume(1000, timeout=0.2):
            assert message.error() is None
            body = deserializer(message.value(), SerializationContext(topic, MessageField.VALUE))
            assert message.key() == body["sensor"].encode()
            found.append(body)
        return len(found) >= count

    try:
        consumer.subscribe([topic])
        poll_for(step, 60, 0.0, what=f"{count} forecasts")
    finally:
        consumer.close()
    return found


def says_no_secret(text: str) -> str:
    assert "hush" not in text
    return text


def test_confluents_avro_is_read_and_our_avro_is_read_by_confluents(site: RegisteredSite) -> None:
    site.write("avro", "avro")
    client = site.client()
    serialize = AvroSerializer(client, READING_TEXT)
    good = [NewRecord(serialize(as_avro(*one), site.value()), key=one[0].encode()) for one in readings()]
    channels = {"sensor": "c", "ts": datetime.fromtimestamp(START_MS / 1000, UTC), "values": {"speed": 1.0, "n": 2}}
    good.append(NewRecord(serialize(channels, site.value())))
    bad = {
        b'{"sensor": "a", "value": 1}': b"undecodable",
        good[0].value[:-3]: b"undecodable",
        b"\x00\x00\x00\xff\xff" + good[0].value[5:]: b"schema",
        serialize(as_avro("", START_MS, 1.0), site.value()): b"no_sensor",
    }
    records = [*good[:5], *(NewRecord(value) for value in bad), *good[5:]]
    produce(site.kafka, site.topic, records)
    assert site.run_until(len(records), "-v") == 0, site.log.read_text()
    says_no_secret(site.log.read_text())

    found = consumed(site, AvroDeserializer(client), len(good) + 1)
    wanted = sorted((sensor, datetime.fromtimestamp(time_ms / 1000, UTC)) for sensor, time_ms, _ in readings())
    assert sorted((body["sensor"], body["origin"]) for body in found if body["sensor"] != "c") == wanted
    assert {body["channel"] for body in found if body["sensor"] == "c"} == {"speed", "n"}
    for body in found:
        assert (len(body["mean"]), body["horizon"], body["model"].partition("@")[0]) == (12, 12, "default")
        low, middle, high = (body["quantiles"][level] for level in ("0.1", "0.5", "0.9"))
        assert all(a <= b <= c for a, b, c in zip(low, middle, high, strict=True))
    assert client.get_latest_version(f"{site.topic}-forecasts-value").version == 1
    dead = {record.value: dict(record.headers)["reason"] for record in consume_all(site.kafka, f"{site.topic}.dlq")}
    assert dead == bad


def test_confluents_json_schema_is_read_and_ours_is_read_by_confluents(site: RegisteredSite) -> None:
    site.write("json_schema", "json_schema")
    client = site.client()
    text = json.dumps({**READING_OBJECT, "title": "Reading"})
    serialize = JSONSerializer(text, client, lambda body, context: body)
    good = [
        NewRecord(serialize({"sensor": sensor, "ts": time_ms, "value": value}, site.value()), key=sensor.encode())
        for sensor, time_ms, value in readings()
    ]
    broken = good[0].value[:5] + b'{"sensor": 5, "ts": 1, "value": 1}'
    produce(site.kafka, site.topic, [*good, NewRecord(broken)])
    assert site.run_until(len(good) + 1) == 0, site.log.read_text()
    forecast_text = client.get_latest_version(f"{site.topic}-forecasts-value").schema.schema_str
    deserialize = JSONDeserializer(forecast_text, lambda body, context: body, client)
    found = consumed(site, deserialize, len(good))
    assert sorted((body["sensor"], body["origin"]) for body in found) == sorted(one[:2] for one in readings())
    (dead,) = consume_all(site.kafka, f"{site.topic}.dlq")
    assert (dead.value, dict(dead.headers)["reason"]) == (broken, b"schema")


def test_schemas_that_refer_to_others_are_read(site: RegisteredSite) -> None:
    site.write("avro", "json")
    client = site.client()
    value = {"type": "record", "name": "Value", "namespace": "tests", "fields": [{"name": "speed", "type": "double"}]}
    client.register_schema("tests.Value", Schema(json.dumps(value), "AVRO"))
    outer = {
        "type": "record",
        "name": "Outer",
        "namespace": "tests",
        "fields": [{"name": "sensor", "type": "string"}, {"name": "values", "type": "tests.Value"}],
    }
    schema = Schema(json.dumps(outer), "AVRO", [SchemaReference("tests.Value", "tests.Value", 1)])
    serialize = AvroSerializer(client, schema)
    produce(site.kafka, site.topic, [serialize({"sensor": "a", "values": {"speed": 3.0}}, site.value())])
    assert site.run_until(1) == 0, site.log.read_text()
    (record,) = consume_all(site.kafka, f"{site.topic}-forecasts")
    assert (json.loads(record.value or b"")["channel"], site.committed()) == ("speed", 1)


def test_a_registry_that_is_away_costs_no_reading_and_dead_letters_none(site: RegisteredSite) -> None:
    site.write("avro", "json")
    other = json.dumps({**READING, "name": "Other"})
    first, second = (AvroSerializer(site.client(), text) for text in (READING_TEXT, other))
    site.server.registry.compatibility[f"{site.topic}-value"] = "NONE"
    found = list(readings())
    values = [(first if n < 10 else second)(as_avro(*one), site.value()) for n, one in enumerate(found)]
    records = [NewRecord(value, key=one[0].encode()) for value, one in zip(values, found, strict=True)]
    produce(site.kafka, site.topic, records[:10])
    with site.engine() as process:
        poll_for(lambda: site.committed() == 10, 60, 0.2)
        site.server.stop()
        produce(site.kafka, site.topic, records[10:])
        back = threading.Timer(3.0, site.server.start)  # while the engine waits for it
        back.start()
        poll_for(lambda: site.committed() == len(records), 60, 0.2, what=site.log.read_text())
        back.join()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    third = AvroSerializer(site.client(), json.dumps({**READING, "name": "Third"}))
    late = [third(as_avro("z", START_MS + n * STEP_MS, 1.0), site.value()) for n in range(3)]
    with site.engine("--set", "registry.timeout=2s") as process:
        poll_for(lambda: "running; model" in site.log.read_text().split("stopped after")[-1], 60, 0.2)
        site.server.stop()
        produce(site.kafka, site.topic, late)
        assert process.wait(60) == 1
    last = says_no_secret(site.log.read_text()).splitlines()[-1]
    assert f"no schema registry answered at {site.server.url}" in last, last
    assert sum(committed_offsets(site.kafka, site.topic, site.topic).values()) == len(records)
    site.server.start()
    assert site.run_until(len(records) + 3) == 0, site.log.read_text()
    assert len(consume_all(site.kafka, f"{site.topic}-forecasts")) == len(records) + 3
    assert consume_all(site.kafka, f"{site.topic}.dlq") == []


def test_what_the_registry_refuses_ends_with_status_2_and_one_sentence(site: RegisteredSite) -> None:
    site.write("json", "avro")
    subject = f"{site.topic}-forecasts-value"
    site.server.registry.register(subject, Registered("AVRO", READING_TEXT))

    def refused(sentence: str, *more: str) -> None:
        ended = run_program("run", "-c", str(site.config), *more)
        assert ended.returncode == 2, ended.stderr
        assert re.search(sentence, says_no_secret(ended.stderr)), ended.stderr
        assert "Traceback" not in ended.stderr

    refused(rf"does not take the schema of forecasts under the subject '{subject}' .*error 409")
    found = run_program("doctor", "-c", str(site.config), "--json")
    assert found.returncode == 1
    told = {one["text"]: one["level"] for one in json.loads(says_no_secret(found.stdout))["findings"]}
    assert next(level for text, level in told.items() if "not compatible" in text) == "failure"
    refused("certificate verify failed", "--set", "registry.ca_file=null")
    refused(r"refused us \(status 401\)", "--set", f"registry.url=https://engine:hush-wrong@{site.server.address}")

    site.server.registry.subjects.clear()
    site.sections = (
        f"registry: {{url: 'https://engine:hush%20%40%3A%2F%25@{site.server.address}', ca_file: {site.ca}}}\n"
    )
    site.write("avro", "avro")
    shown = run_program("run", "-c", str(site.config), "--print-config")
    assert "https://engine:********@" in says_no_secret(shown.stdout)
    text = AvroSerializer(site.client(), READING_TEXT)
    produce(site.kafka, site.topic, [text(as_avro("a", START_MS, 1.0), site.value())])
    sound = run_program("doctor", "-c", str(site.config), "--json")
    assert sound.returncode == 0, sound.stdout
    texts = [one["text"] for one in json.loads(says_no_secret(sound.stdout))["findings"] if one["check"] == "registry"]
    assert texts == [f"reachable at {site.server.url}", f"the subject '{subject}' is made when the engine runs"]
    assert site.run_until(1) == 0
    sound = run_program("doctor", "-c", str(site.config))
    assert f"the subject '{subject}' takes the schema of forecasts" in sound.stdout
    site.server.stop()
    away = run_program("doctor", "-c", str(site.config), "--set", "registry.timeout=1s")
    assert away.returncode == 1
    assert "failure registry" in away.stdout
