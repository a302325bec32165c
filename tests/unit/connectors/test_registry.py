"""`connectors.registry`: which class a URL gives, and what is said where there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from connectors import registry
from connectors.errors import AddressError, ConnectorConfigError, MissingExtraError
from connectors.registry import choose_kafka_client, open_sink, open_source, open_store, open_transactions

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (lambda: open_source("kafka://a:1/t?group=g", client="python"), "KafkaSource"),
        (lambda: open_source("kafka://a:1/t?group=g", client="librdkafka"), "LibrdkafkaSource"),
        (lambda: open_source("kafka://a:1/t?group=g"), "LibrdkafkaSource"),
        (lambda: open_source("embedded://t?group=g"), "EmbeddedSource"),
        (lambda: open_source("file:///tmp/x.csv"), "FileSource"),
        (lambda: open_sink("kafka://a:1/t", client="kafka-python"), "KafkaSink"),
        (lambda: open_sink("kafka://a:1/t", options={"ssl.ca.location": None}), "LibrdkafkaSink"),
        (lambda: open_sink("embedded://t"), "EmbeddedSink"),
        (lambda: open_sink("file://out.jsonl"), "JsonLinesSink"),
        (lambda: open_store("redis://a:1/0", group="g"), "RedisStore"),
        (lambda: open_store("rediss://a:1/0?ssl_ca_certs=ca.pem", group="g"), "RedisStore"),
        (lambda: open_store("sqlite:///tmp/state.db", group="g"), "SqliteStore"),
        (lambda: open_store("embedded:///tmp/state.db", group="g", prefix="p"), "SqliteStore"),
    ],
)
def test_a_url_gives_its_class(made, name):
    assert type(made()).__name__ == name


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("kafak://a:1/t", r"no source of the kind kafak://; known: embedded, file, kafka; did you mean 'kafka'\?"),
        ("redis://a:1", "no source of the kind redis://"),
        ("readings", r"begins with its kind, such as kafka://"),
        ("embedded://?group=g", "not of the form"),
        ("embedded://t?group=g&partitions=0", "partitions=0"),
        ("file://", "names no file"),
    ],
)
def test_what_is_unknown_or_malformed_is_said(url, says):
    with pytest.raises(AddressError, match=says):
        open_source(url)


def test_a_store_names_the_kinds_of_stores():
    with pytest.raises(AddressError, match="known: embedded, redis, rediss, sqlite, unix"):
        open_store("memcached://a:1", group="g")


def test_a_missing_extra_names_its_install_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    assert choose_kafka_client("auto") == "python"
    with pytest.raises(MissingExtraError, match=r"pip install 'stream-engine\[librdkafka\]'"):
        choose_kafka_client("librdkafka")
    with pytest.raises(AddressError, match="wanted one of auto, python, librdkafka"):
        choose_kafka_client("java")


def test_nothing_is_imported_before_it_is_asked_for():
    libraries = "{'kafka', 'confluent_kafka', 'redis', 'pyarrow', 'sqlite3'}"
    code = f"import sys, connectors.registry; assert not {libraries} & set(sys.modules), {libraries} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("client", ["python", "librdkafka"])
def test_transactions_are_made_for_the_client_of_the_source(client: str):
    source = open_source("kafka://h/t?group=g", client=client)
    made = open_transactions(source, "kafka://h/out", "kafka://h/t.dlq", client=client)
    assert type(made).__module__ == f"connectors.{'kafka' if client == 'python' else client}.transactions"
    other = {"python": "librdkafka", "librdkafka": "python"}[client]
    with pytest.raises(TypeError, match="was not made by open_source with the client"):
        open_transactions(source, "kafka://h/out", "kafka://h/t.dlq", client=other)


@pytest.mark.parametrize(
    ("forecasts", "dead_letters", "says"),
    [
        ("embedded://out", "kafka://h/t.dlq", "in one Kafka cluster.*or set delivery to at_least_once"),
        ("kafka://h/out", "file:///t.dlq", "in one Kafka cluster.*or set delivery to at_least_once"),
        ("kafka://other/out", "kafka://h,i/t.dlq", "name no broker in common.*or set delivery to at_least_once"),
    ],
)
def test_transactions_over_what_is_not_one_cluster_are_refused(forecasts: str, dead_letters: str, says: str):
    with pytest.raises(ConnectorConfigError, match=says):
        open_transactions(open_source("kafka://h/t?group=g"), forecasts, dead_letters)
