"""The program as a user has it, against a real Kafka and a real Redis: what comes out, and how it ends."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.weights import load_model, save_model
from tests.support.kafka_server import KafkaServer
from tests.support.models import with_history
from tests.support.processes import free_port
from tests.support.program import Program, run_program
from tests.support.topics import NewRecord, committed_offsets, consume_all, create_topic, produce, topic_names
from tests.support.waiting import poll_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

BAD = {
    b'{"sensor": "a", "ts": 1': b"undecodable",
    b'{"ts": 1700000000000, "value": 1.0}': b"no_sensor",
    b'{"sensor": "", "ts": 1700000000000, "value": 1.0}': b"no_sensor",
    b'{"sensor": "a", "ts": 1700000000000, "value": NaN}': b"bad_value",
    b'{"sensor": "a", "ts": 1700000000000, "value": 1e400}': b"bad_value",
    b'{"sensor": "a", "ts": 10000000000000000000, "value": 1.0}': b"bad_time",
    b'{"sensor": "a", "ts": 1700000000000, "value": "cold"}': b"bad_value",
    b"": b"undecodable",
    b'{"sensor": "a", "ts": 1, "value": 1}{"sensor": "a", "ts": 2, "value": 2}': b"undecodable",
    b'{"sensor": "a", "ts": 1700000000000, "value": 1.0, "more": "' + b"x" * 999_000 + b'"}': b"too_large",
}


def message(sensor: str, tick: int, value: float) -> NewRecord:
    body = {"sensor": sensor, "ts": 1_700_000_000_000 + tick * 300_000, "value": value}
    return NewRecord(orjson.dumps(body), key=sensor.encode())


class Site:
    """A topic, the four-line configuration for it, and the engine as a process."""

    def __init__(self, kafka: str, redis: str, folder: Path, topic: str) -> None:
        self.kafka, self.redis, self.topic = kafka, redis, topic
        self.config = folder / "engine.yaml"
        self.log = folder / "engine.log"
        self.config.write_text(
            f"source: kafka://{kafka}/{topic}?group={topic}\n"
            f"sink: kafka://{kafka}/{topic}-forecasts\n"
            f"store: {redis}\n"
            "model: default\n"
        )

    def committed(self) -> int:
        return sum(committed_offsets(self.kafka, self.topic, self.topic).values())

    @contextmanager
    def engine(self, *more: str) -> Iterator[Program]:
        process = Program(["run", "-c", str(self.config), *more], self.log, self.log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def cold_engine(self) -> Iterator[subprocess.Popen[bytes]]:
        """The same by an interpreter of its own, as users start it: it has to load everything first."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "stream_engine.cli", "run", "-c", str(self.config)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def run_until(self, committed: int, *more: str) -> int:
        """Run until so many records are committed, then stop; the exit status."""
        with self.engine(*more) as process:
            poll_for(lambda: self.committed() >= committed or process.poll() is not None, 120, 0.2, what=self.log.name)
            process.send_signal(signal.SIGTERM)
            return process.wait(60)


@pytest.fixture
def site(kafka_servers: str, redis_url: str, new_topic: Callable[..., str], tmp_path: Path) -> Site:
    return Site(kafka_servers, redis_url, tmp_path, new_topic(3))


@pytest.mark.parametrize("client", ["librdkafka", "python"])
def test_four_lines_attach_the_engine_to_a_topic(site: Site, client: str) -> None:
    good = [message(f"s-{number}", tick, tick + number) for tick in range(6) for number in range(4)]
    good += [message("s-0", 5, 99.0), message("s-1", 2, 99.0)]  # a double and a late one
    records = [*good[:10], *(NewRecord(value) for value in BAD), *good[10:]]
    produce(site.kafka, site.topic, records)
    assert site.run_until(len(records), "--set", f"kafka.client={client}") == 0, site.log.read_text()
    assert site.committed() == len(records)

    forecasts = consume_all(site.kafka, f"{site.topic}-forecasts")
    assert len({record.partition for record in forecasts}) > 1
    bodies = [orjson.loads(record.value or b"") for record in forecasts]
    found = sorted((body["sensor"], body["origin"]) for body in bodies)
    assert found == sorted((f"s-{n}", 1_700_000_000_000 + t * 300_000) for t in range(6) for n in range(4))
    for record, body in zip(forecasts, bodies, strict=True):
        headers = {name: text.decode() for name, text in record.headers}
        assert record.key == body["sensor"].encode()
        assert headers["forecast-id"] == f"{body['sensor']}||{body['origin']}|{body['model']}"
        assert headers["source-topic"] == site.topic
        assert int(headers["source-partition"]) == record.partition, "both clients place a key alike"
        assert int(headers["source-offset"]) >= 0
        assert body["model"] == f"default@{headers['model-version']}"
        assert headers["content-type"] == "application/json"
        assert (body["cadence_ms"], body["horizon"], len(body["mean"])) == (300_000, 12, 12)
        assert body["last_reading"] == body["origin"]
        low, middle, high = (body["quantiles"][level] for level in ("0.1", "0.5", "0.9"))
        assert all(a <= b <= c for a, b, c in zip(low, middle, high, strict=True))
        assert body["scale"] > 0
        assert body["status"] in ("ok", "warming_up", "stale", "drift")

    dead = consume_all(site.kafka, f"{site.topic}.dlq")
    sent = {(record.partition, record.offset): record.value for record in consume_all(site.kafka, site.topic)}
    assert len(dead) == len(BAD)
    for record in dead:
        headers = dict(record.headers)
        place = (int(headers["source-partition"]), int(headers["source-offset"]))
        assert headers["reason"] == BAD[sent[place] or b""]
        assert headers["source-topic"] == site.topic.encode()
        assert headers["detail"]
        assert record.key is None
        assert record.value == sent[place] or int(headers["truncated"]) == len(sent[place] or b"")


def test_rules_of_attention_stream_and_the_state_of_another_one_is_refused(site: Site, tmp_path: Path) -> None:
    known = Known(("s-0", "s-1"))
    for rule in ("entropy_equality", "gla"):
        save_model(with_history(1, known, 0.1, "conv+softmax_window", rule), tmp_path / rule)
    readings = [message(f"s-{number}", tick, 50 + tick % 7 + number) for tick in range(40) for number in range(3)]
    produce(site.kafka, site.topic, readings[:60])
    ours, other = (("--set", f"model={tmp_path / rule}") for rule in ("entropy_equality", "gla"))
    assert site.run_until(60, *ours) == 0, site.log.read_text()
    produce(site.kafka, site.topic, readings[60:])
    assert site.run_until(120, *other) == 2
    assert "elinformer" in site.log.read_text()
    assert "set model back" in site.log.read_text()
    assert site.run_until(120, *ours) == 0, site.log.read_text()
    bodies = [orjson.loads(record.value or b"") for record in consume_all(site.kafka, f"{site.topic}-forecasts")]
    assert len(bodies) == 120
    model = load_model(tmp_path / "entropy_equality")
    last = {body["sensor"]: body for body in bodies if body["origin"] == 1_700_000_000_000 + 39 * 300_000}
    sensors = ("s-0", "s-1", "s-2")
    assert set(last) == set(sensors)
    assert all(body["model"] == "history@1" for body in last.values())
    assert isinstance(model, Elinformer)
    assert model.config.attention == ("conv+softmax_window", "entropy_equality")


def test_a_restart_goes_on_where_the_last_run_stopped(site: Site) -> None:
    produce(site.kafka, site.topic, [message("a", tick, float(tick)) for tick in range(20)])
    assert site.run_until(20) == 0
    produce(site.kafka, site.topic, [message("a", tick, float(tick)) for tick in range(20, 30)])
    assert site.run_until(30) == 0
    origins = [
        orjson.loads(record.value or b"")["origin"] for record in consume_all(site.kafka, f"{site.topic}-forecasts")
    ]
    assert origins == [1_700_000_000_000 + tick * 300_000 for tick in range(30)]

    shown = run_program("inspect", "--store", site.redis, "--group", site.topic, "--json")
    assert sum(row["sensors"] for row in json.loads(shown.stdout)["partitions"]) == 1
    shown = run_program("inspect", "--store", site.redis, "--group", site.topic, "--sensor", "a", "--json")
    (series,) = json.loads(shown.stdout)["series"]
    assert series["readings"] == 30
    shown = run_program("inspect", "--store", site.redis, "--group", site.topic, "--sensor", "b")
    assert shown.returncode == 2
    assert "'b' is not stored" in shown.stderr


def test_doctor_finds_nothing_to_do_on_a_sound_site_and_says_what_is_wrong(site: Site) -> None:
    produce(site.kafka, site.topic, [message("a", 1, 1.0)])
    sound = run_program("doctor", "-c", str(site.config), "--json")
    assert sound.returncode == 0, sound.stderr
    levels = {finding["check"]: finding["level"] for finding in json.loads(sound.stdout)["findings"]}
    assert {"model", "store", "source", "reading", "clock", "sink"} <= levels.keys()
    assert levels["source"] == levels["reading"] == "ok"
    produce(site.kafka, site.topic, [b"no reading"])
    produce(site.kafka, site.topic, [message("a", 1, 1.0)])
    sick = run_program("doctor", "-c", str(site.config), "--set", f"store=redis://127.0.0.1:{free_port()}/0")
    assert sick.returncode == 1
    assert "some cannot be read" in sick.stdout
    assert "failure store" in sick.stdout


def test_exactly_once_over_what_is_not_one_cluster_is_refused_with_the_way_out(site: Site, tmp_path: Path) -> None:
    asked = ["-c", str(site.config), "--set", "delivery=exactly_once", "--set", f"sink=file://{tmp_path}/out.jsonl"]
    ended = run_program("run", *asked)
    assert ended.returncode == 2
    assert "set delivery to at_least_once" in ended.stderr
    found = json.loads(run_program("doctor", *asked, "--json").stdout)["findings"]
    (sink,) = [finding for finding in found if finding["check"] == "sink"]
    assert sink["level"] == "failure"
    assert "set delivery to at_least_once" in sink["text"]


@pytest.mark.parametrize("client", ["librdkafka", "python"])
def test_exactly_once_sends_nothing_twice_over_a_kill(site: Site, client: str) -> None:
    asked = ("--set", f"kafka.client={client}", "--set", "delivery=exactly_once", "--set", "commit_interval=300ms")
    produce(site.kafka, site.topic, [message("a", tick, float(tick)) for tick in range(500)])
    with site.engine(*asked) as process:
        poll_for(lambda: site.committed() >= 500, 60, 0.2, what=site.log.name)
        produce(site.kafka, site.topic, [message("a", tick, float(tick)) for tick in range(500, 9_000)])
        poll_for(lambda: len(consume_all(site.kafka, f"{site.topic}-forecasts", "read_uncommitted")) > 600, 60, 0.05)
        process.kill()
    # should all have been committed before the kill, there is still something left to do
    produce(site.kafka, site.topic, [message("a", tick, float(tick)) for tick in range(9_000, 9_500)])
    assert site.run_until(9_500, *asked) == 0, site.log.read_text()
    origins = [
        orjson.loads(record.value or b"")["origin"] for record in consume_all(site.kafka, f"{site.topic}-forecasts")
    ]
    assert origins == [1_700_000_000_000 + tick * 300_000 for tick in range(9_500)]


def test_a_missing_topic_is_named_and_not_created(site: Site) -> None:
    source = f"source=kafka://{site.kafka}/{site.topic}x?group=g"
    ended = run_program("run", "-c", str(site.config), "--set", source)
    assert ended.returncode == 2
    assert f"{site.topic}x" in ended.stderr
    assert site.topic in ended.stderr.replace(f"{site.topic}x", ""), "the nearest topic is named"
    assert f"{site.topic}x" not in topic_names(site.kafka)


def test_an_unknown_key_is_refused_with_the_nearest_known_name(site: Site) -> None:
    site.config.write_text(site.config.read_text() + "horizn: 6\n")
    ended = run_program("run", "-c", str(site.config))
    assert ended.returncode == 2
    assert "horizn" in ended.stderr
    assert "did you mean 'horizon'" in ended.stderr


def test_an_unreachable_server_ends_with_status_1_and_its_address(site: Site) -> None:
    port = free_port()
    for key, value in (
        ("store", f"redis://127.0.0.1:{port}/0"),
        ("source", f"kafka://127.0.0.1:{port}/readings?group=g"),
    ):
        short = ["--set", "store.timeout=2s", "--set", "broker_timeout=2s"]
        ended = run_program("run", "-c", str(site.config), "--set", f"{key}={value}", *short)
        assert ended.returncode == 1, ended.stderr
        assert f"127.0.0.1:{port}" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_model_folder_of_another_layout_is_refused(site: Site, tmp_path: Path) -> None:
    ended = run_program("run", "-c", str(site.config), "--set", f"model={tmp_path / 'nowhere'}")
    assert ended.returncode == 2
    assert "nowhere" in ended.stderr
    folder = tmp_path / "model"
    save_model(load_model("default"), folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "layout_id": "elinformer.0-old"}))
    ended = run_program("run", "-c", str(site.config), "--set", f"model={folder}")
    assert ended.returncode == 2
    assert "elinformer.0-old" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_lost_broker_ends_the_engine_with_status_1(own_kafka: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    topic = create_topic(own_kafka.servers, "lost")
    site = Site(own_kafka.servers, redis_url, tmp_path, topic)
    produce(site.kafka, topic, [message("a", 1, 1.0)])
    with site.engine("--set", "broker_timeout=4s") as process:
        poll_for(lambda: site.committed() == 1, 60, 0.2)
        own_kafka.kill()
        assert process.wait(60) == 1
    assert "no Kafka broker" in site.log.read_text().splitlines()[-1]


def test_the_demo_ends_by_itself_and_beats_persistence() -> None:
    ended = run_program("demo", "--seconds", "12", "--sensors", "8", "--json")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["forecasts"] == summary["readings"] > 0
    assert ended.stderr == ""
