"""The implementations that the promises of `connectors.contracts` are checked on, each with what a test needs of it.

To check another one: add a case class with the same members and its name to SOURCES, SINKS or STORES. There is one
list of promises; what a kind of log cannot have by its nature stands in LACKING, with the reason, and a test that
needs it says so (`@needs(Can.…)`) and is skipped there.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pytest
import redis

from connectors.contracts import Sink, Source, StateStore
from connectors.embedded.log import create_log, drop_log, find_log
from connectors.file.read import read_table
from connectors.file.sink import JsonLinesSink
from connectors.file.source import FileSource, Layout
from connectors.records import SinkRecord
from connectors.registry import open_sink, open_source, open_store
from tests.support import topics
from tests.support.topics import NewRecord, TopicRecord

NUM_PARTITIONS = 3

KAFKA = ("kafka-python", "librdkafka", "librdkafka-kip848")
SOURCES = (*KAFKA, "embedded", "file")
SINKS = ("kafka-python", "librdkafka", "embedded", "file")
STORES = ("redis", "sqlite")


class Can(Enum):
    """What a log may be able to do; a promise that rests on it is checked only where it is so."""

    PARTITIONS = "several partitions"
    RAW_BYTES = "records of any bytes, with keys, headers and times"
    COMMITS = "positions kept for a group, whose members share the partitions"
    GROWTH = "records added and removed while it is read"


LACKING: Mapping[str, Mapping[Can, str]] = {
    "file": {
        Can.PARTITIONS: "a file is one partition",
        Can.RAW_BYTES: "a file is a table to read, lines of JSON text to write",
        Can.COMMITS: "a file has no place for positions: the store keeps them with the state",
        Can.GROWTH: "a file is read as it stands when it is opened",
    }
}


def needs(*abilities: Can) -> pytest.MarkDecorator:
    """The mark of a promise that only logs with these abilities can keep."""
    return pytest.mark.needs(*abilities)


def skip_what_it_cannot(kind: str, request: pytest.FixtureRequest) -> None:
    """Skip the asking test where its promise rests on what this kind of log has not, with the reason."""
    mark = request.node.get_closest_marker("needs")
    for ability in mark.args if mark is not None else ():
        if ability in LACKING.get(kind, {}):
            pytest.skip(f"needs {ability.value}; {LACKING[kind][ability]}")


def marked(names: Sequence[str]) -> list[Any]:
    """The names as parameters; those that need a server carry the mark."""
    local = ("embedded", "file", "sqlite")
    return [pytest.param(name, marks=() if name in local else pytest.mark.servers) for name in names]


class LogCase(Protocol):
    """A log under one kind of connector, with as many partitions as it can have, at most NUM_PARTITIONS."""

    topic: str
    num_partitions: int

    def source(self, group: str) -> Source:
        """A new source of the log."""

    def missing_source(self) -> Source:
        """A source of a log whose name has one letter too many."""

    def sink(self, topic: str) -> Sink:
        """A new sink of any log."""

    def put(self, number: int, records: Sequence[SinkRecord]) -> None:
        """Add records to one partition."""

    def body(self, value: bytes | None) -> bytes | None:
        """The value put, of a value read."""

    def remove_before(self, number: int, position: int) -> None:
        """Drop the head of a partition."""

    def records(self, topic: str) -> list[TopicRecord]:
        """What a log holds."""

    def names(self) -> set[str]:
        """The logs there are."""


class _PlainCase:
    """What logs of raw bytes share."""

    num_partitions = NUM_PARTITIONS

    def body(self, value: bytes | None) -> bytes | None:
        return value


class KafkaCase(_PlainCase):
    """Logs of a real broker."""

    def __init__(self, kind: str, servers: str, topic: str) -> None:
        self.topic = topic
        self.servers = servers
        self._client = "python" if kind == "kafka-python" else "librdkafka"
        self._options: dict[str, Any] = {"group.protocol": "consumer"} if kind == "librdkafka-kip848" else {}
        topics.create_topic(servers, topic, NUM_PARTITIONS, {"retention.ms": "-1"})  # tests write old stamps

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


class EmbeddedCase(_PlainCase):
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


class FileCase:
    """A table to read, whose series are named by the values put, and files of JSON lines to write, in one folder."""

    num_partitions = 1
    max_record_bytes = 200_000

    def __init__(self, folder: Path, name: str) -> None:
        self.topic = f"{name}.csv"
        self._folder = folder
        warm = folder / "warm.csv"
        warm.write_text("unique_id,ds,y\na,0,1\n")
        read_table(warm)  # Arrow keeps a thread for reading from its first file on, for the length of the process
        warm.unlink()

    def source(self, group: str) -> Source:
        return FileSource(self._folder / self.topic, Layout(entries_per_record=1))

    def missing_source(self) -> Source:
        return FileSource(self._folder / f"{self.topic}x")

    def sink(self, topic: str) -> Sink:
        return JsonLinesSink(self._folder / topic, self.max_record_bytes)

    def put(self, number: int, records: Sequence[SinkRecord]) -> None:
        path = self._folder / self.topic
        lines = path.read_text().splitlines() if path.exists() else ["unique_id,ds,y"]
        first = len(lines)
        lines += [f"{(one.value or b'').decode()},{1_700_000_000 + first + row},1" for row, one in enumerate(records)]
        path.write_text("\n".join(lines) + "\n")

    def body(self, value: bytes | None) -> bytes | None:
        (row,) = pa.ipc.open_stream(value).read_all().select(["sensor"]).to_pylist()
        return str(row["sensor"]).encode()

    def remove_before(self, number: int, position: int) -> None:
        raise NotImplementedError(LACKING["file"][Can.GROWTH])

    def records(self, topic: str) -> list[TopicRecord]:
        lines = map(orjson.loads, (self._folder / topic).read_bytes().splitlines())
        return [
            TopicRecord(0, row, _bytes(line["key"]), _bytes(line["value"]), _headers(line))
            for row, line in enumerate(lines)
        ]

    def names(self) -> set[str]:
        return {path.name for path in self._folder.iterdir()}


def _bytes(text: object) -> bytes | None:
    """What a line of JSON holds, as the bytes that were written."""
    if text is None:
        return None
    return text.encode() if isinstance(text, str) else orjson.dumps(text)


def _headers(line: Mapping[str, Any]) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, text.encode()) for name, text in line["headers"].items())


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
