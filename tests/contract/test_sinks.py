"""The promises of `connectors.contracts.Sink`, on every kind of sink."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from connectors.contracts import Sink
from connectors.errors import RecordTooLargeError
from connectors.records import SinkRecord
from tests.contract.cases import Can, LogCase, needs
from tests.support import leaks

OPEN_S = 20.0


@contextmanager
def opened(sink: Sink, num_partitions: int = 3) -> Iterator[Sink]:
    try:
        sink.open(num_partitions, OPEN_S)
        yield sink
    finally:
        sink.close()


def test_records_of_a_key_come_to_one_partition_in_the_order_written(target: LogCase, new_name: Callable[[], str]):
    topic = new_name()
    with opened(target.sink(topic)) as sink:
        for first in range(0, 3000, 500):
            sink.write([SinkRecord(b"key-%d" % (row % 17), b"%d" % row) for row in range(first, first + 500)])
        sink.flush(OPEN_S)
    rows: dict[bytes | None, list[int]] = defaultdict(list)
    places: dict[bytes | None, set[int]] = defaultdict(set)
    for record in target.records(topic):
        rows[record.key].append(int(record.value or b""))
        places[record.key].add(record.partition)
    assert sum(map(len, rows.values())) == 3000
    assert all(numbers == sorted(numbers) for numbers in rows.values())
    assert all(len(found) == 1 for found in places.values())
    assert len(set.union(*places.values())) == target.num_partitions


@needs(Can.RAW_BYTES)
def test_what_was_flushed_is_kept_byte_for_byte(target: LogCase, new_name: Callable[[], str]):
    topic = new_name()
    sent = [
        SinkRecord(b"k", b"v", (("a", b"1"), ("b", b"")), 1_700_000_000_123_000_000),
        SinkRecord(b"\xff", None, (), 1_700_000_000_124_000_000),
        SinkRecord(None, bytes(range(256)) * 40, (("a", b"\x00"), ("a", b"2")), 1_700_000_000_125_000_000),
        SinkRecord(b"", b"", (), 1_700_000_000_126_000_000),
    ]
    with opened(target.sink(topic), 1) as sink:
        sink.flush(OPEN_S)
        sink.write(sent)
        sink.flush(OPEN_S)
        kept = target.records(topic)
    assert [SinkRecord(one.key, one.value, one.headers, one.timestamp_ms * 10**6) for one in kept] == sent


def test_a_record_without_key_and_value_is_no_poison(target: LogCase, new_name: Callable[[], str]):
    topic = new_name()
    with opened(target.sink(topic), 1) as sink:
        sink.write([SinkRecord(None, None, (("reason", b"undecodable"),))])
        sink.flush(OPEN_S)
    (kept,) = target.records(topic)
    assert kept.value in (None, b"")
    assert kept.headers == (("reason", b"undecodable"),)


def test_what_was_written_before_stays(target: LogCase, new_name: Callable[[], str]):
    topic = new_name()
    for number in range(2):
        with opened(target.sink(topic)) as sink:
            sink.write([SinkRecord(b"k", b"%d" % number)])
            sink.flush(OPEN_S)
    assert [record.value for record in target.records(topic)] == [b"0", b"1"]


@needs(Can.PARTITIONS)
def test_a_missing_topic_is_made_with_the_partitions_asked_for_and_an_old_one_stays(
    target: LogCase, new_name: Callable[[], str]
):
    topic = new_name()
    for num_partitions in (5, 2):
        with opened(target.sink(topic), num_partitions) as sink:
            sink.write([SinkRecord(b"%d" % row, b"v") for row in range(200)])
            sink.flush(OPEN_S)
    assert {record.partition for record in target.records(topic)} == set(range(5))


def test_two_that_make_the_same_topic_at_once_both_succeed(target: LogCase, new_name: Callable[[], str]):
    topic = new_name()
    sinks = [target.sink(topic) for _ in range(2)]
    failed: list[Exception] = []

    def open_and_write(sink: Sink) -> None:
        try:
            with opened(sink):
                sink.write([SinkRecord(b"k", b"v")])
                sink.flush(OPEN_S)
        except Exception as error:  # noqa: BLE001 - shown below
            failed.append(error)

    threads = [threading.Thread(target=open_and_write, args=(sink,)) for sink in sinks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(target.records(topic)) == 2


def test_the_largest_record_goes_through_and_a_larger_one_is_refused_by_name(
    target: LogCase, new_name: Callable[[], str]
):
    topic = new_name()
    with opened(target.sink(topic), 1) as sink:
        assert sink.max_record_bytes > 100_000
        size = sink.max_record_bytes - len(b"key") - len("name") - len(b"text")
        largest = SinkRecord(b"key", b"\x00" * size, (("name", b"text"),))
        sink.write([largest])
        sink.flush(OPEN_S)
        with pytest.raises(RecordTooLargeError, match=topic):
            sink.write([largest._replace(value=b"\x00" * (size + 1024))])
        sink.write([SinkRecord(None, b"after")])
        sink.flush(OPEN_S)
    assert [len(record.value or b"") for record in target.records(topic)] == [size, 5]


def test_nothing_is_left_after_close_even_of_what_was_not_flushed(target: LogCase, new_name: Callable[[], str]):
    topic = new_name()
    with leaks.no_leaks():
        sink = target.sink(topic)
        sink.open(1, OPEN_S)
        sink.write([SinkRecord(b"k", b"v")] * 1000)
        sink.close()
        sink.close()
