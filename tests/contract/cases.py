"""The implementations that the promises of `connectors.contracts` are checked on, each with what a test needs of it.

To check another one: add a case class with the same members and its name to SOURCES, SINKS or STORES.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
import redis

from connectors.contracts import Sink, Source, StateStore
from connectors.embedded.log import create_log, drop_log, find_log
from connectors.records import SinkRecord
from connectors.registry import open_sink, open_source, open_store
from tests.support import topics
from tests.support.topics import NewRecord, TopicRecord

NUM_PARTITIONS = 3

KAFKA = ("kafka-python", "librdkafka", "librdkafka-kip848")
SOURCES = (*KAFKA, "embedded")
SINKS = ("kafka-python", "librdkafka", "embedded")
STORES = ("redis", "sqlite")


def marked(names: Sequence[str]) -> list[Any]:
    """The names as parameters; those that need a server carry the mark."""
    local = ("embedded", "sqlite")
    return [pytest.param(name, marks=() if name in local else pytest.mark.servers) for name in names]


class LogCase(Protocol):
    """A log of NUM_PARTITIONS partitions under one kind of connector."""

    topic: str

    def source(self, group: str) -> Source:
        """A new source of the log."""

    def missing_source(self) -> Source:
        """A source of a log whose name has one letter too many."""

    def sink(self, topic: str) -> Sink:
        """A new sink of any log."""

    def put(self, number: int, records: Sequence[SinkRecord]) -> None:
        """Add records to one partition."""

    def remove_before(self, number: int, position: int) -> None:
        """Drop the head of a partition."""

    def records(self, topic: str) -> list[TopicRecord]:
        """What a log holds."""

    def names(self) -> set[str]:
        """The logs there are."""


class KafkaCase:
    """Logs of a real broker."""

    def __init__(self, kind: str, servers: str, topic: str) -> None:
        self.topic = topic
        self.servers = servers
        self._client = "python" if kind == "kafka-python" else "librdkafka"
        self._options: dict[str, Any] = {"group.protocol": "consumer"} if kind == "librdkafka-kip848" else {}
        topics.create_topic(servers, topic, NUM_PARTITIONS)

    def _open(self, make: Callable[..., Any], name: str) -> Any:
        return make(f"kafka://{self.servers}/{name}", client=self._client, options=self._options)

    def source(self, group: str) -> Source:
        source: Source = self._open(open_source, f"{self.topic}?group={group}")
        return source

    def missing_source(self) -> Source:
        source: Source = self._open(open_source, f"{self.topic}x?group=g")
        return source

    def sink(self, topic: str) -> Sink:
        sink: Sink = open_sink(f"kafka://{self.servers}/{topic}", client=self._client)
        return sink

    def put(self, number: int, records: Sequence[SinkRecord]) -> None:
        rows = [
            NewRecord(
                record.value,
                record.key,
                number,
                tuple(record.headers),
                None if record.timestamp_ns is None else record.timestamp_ns // 1_000_000,
            )
            for record in records
        ]
        topics.produce(self.servers, self.topic, rows)

    def remove_before(self, number: int, position: int) -> None:
        topics.delete_records(self.servers, self.topic, number, position)

    def records(self, topic: str) -> list[TopicRecord]:
        return topics.consume_all(self.servers, topic)

    def names(self) -> set[str]:
        return topics.topic_names(self.servers)


class EmbeddedCase:
    """Logs of this process."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        create_log(topic, NUM_PARTITIONS)

    def source(self, group: str) -> Source:
        return open_source(f"embedded://{self.topic}?group={group}")

    def missing_source(self) -> Source:
        return open_source(f"embedded://{self.topic}x?group=g")

    def sink(self, topic: str) -> Sink:
        return open_sink(f"embedded://{topic}")

    def put(self, number: int, records: Sequence[SinkRecord]) -> None:
        log = find_log(self.topic)
        with log.changed:
            for record in records:
                log.shelves[number].append(record, 0)
            log.changed.notify_all()

    def remove_before(self, number: int, position: int) -> None:
        find_log(self.topic).remove_before(number, position)

    def records(self, topic: str) -> list[TopicRecord]:
        return [
            TopicRecord(number, shelf.first + row, shelf.keys[row], value, tuple(shelf.headers[row] or ()), at // 10**6)
            for number, shelf in enumerate(find_log(topic).shelves)
            for row, (value, at) in enumerate(zip(shelf.values, shelf.times_ns, strict=True))
        ]

    def names(self) -> set[str]:
        from connectors.embedded import log

        return set(log._logs)

    def drop(self) -> None:
        """Forget the log."""
        drop_log(self.topic)


class StoreCase:
    """A store of one kind, whose contents can be wiped behind its back."""

    def __init__(self, url: str) -> None:
        self._url = url

    def store(self, prefix: str = "tests", group: str = "g") -> StateStore:
        """A new store of the same server or file."""
        return open_store(self._url, prefix=prefix, group=group)

    def wipe(self) -> None:
        """Empty it, as a restarted cache is."""
        if self._url.startswith("redis"):
            with redis.Redis.from_url(self._url) as client:
                client.flushdb()
            return
        with sqlite3.connect(Path(self._url.removeprefix("sqlite://"))) as database:
            database.execute("DELETE FROM owner")
            database.execute("DELETE FROM shard")
        database.close()
