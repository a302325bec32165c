"""The promises of `connectors.contracts.Source`, on every kind of source."""

import threading
import time
from contextlib import ExitStack

import pytest

from connectors.errors import MissingTopicError, StaleEpochError
from connectors.records import Bounds, Partition, SinkRecord
from tests.contract.cases import NUM_PARTITIONS, Can, LogCase, needs
from tests.contract.reading import Reader, bodies, numbered, opened, seek_all, until_assigned
from tests.support import leaks
from tests.support.waiting import poll_for


def test_poll_waits_its_timeout_at_most(log: LogCase):
    log.put(0, numbered(0, 3))
    with opened(log.source("g")) as source:
        seek_all(source, until_assigned(source, log.num_partitions))
        Reader(source).until(3)
        source.poll(1000, 0.2)
        began_s = time.monotonic()
        assert len(source.poll(1000, 0.2)) == 0
        assert time.monotonic() - began_s < 1.5


@needs(Can.GROWTH)
def test_poll_waits_only_for_the_first_record(log: LogCase):
    with opened(log.source("g")) as source:
        seek_all(source, until_assigned(source, NUM_PARTITIONS))
        source.poll(1000, 0.2)
        late = threading.Timer(0.3, log.put, (1, numbered(0, 3)))
        late.start()
        began_s = time.monotonic()
        polled = poll_for(lambda: source.poll(100_000, 10.0), 20.0)
        assert len(polled) >= 1
        assert time.monotonic() - began_s < 8.0, "it waited for more than the first record"
        late.join()


def test_records_come_in_log_order_none_twice_none_left_out(log: LogCase):
    for number in range(log.num_partitions):
        log.put(number, numbered(0, 500, f"p{number}-"))
    with opened(log.source("g")) as source:
        seek_all(source, until_assigned(source, log.num_partitions))
        reader = Reader(source).until(500 * log.num_partitions, max_records=37)
        for number in range(log.num_partitions):
            read = reader.read[Partition(log.topic, number)]
            assert list(read) == list(range(500))
            assert bodies(log, read) == [f"p{number}-{row}".encode() for row in range(500)]


@needs(Can.GROWTH)
def test_what_is_added_comes_after_what_was_read(log: LogCase):
    log.put(0, numbered(0, 500))
    with opened(log.source("g")) as source:
        seek_all(source, until_assigned(source, NUM_PARTITIONS))
        reader = Reader(source).until(500)
        log.put(0, numbered(500, 600))
        read = reader.until(600).read[Partition(log.topic, 0)]
        assert bodies(log, read) == [b"v%d" % row for row in range(600)]


@needs(Can.RAW_BYTES)
def test_columns_carry_keys_values_headers_and_times(log: LogCase):
    sent = [
        SinkRecord(b"k", b"v", (("a", b"1"), ("b", b"")), 1_700_000_000_123_000_000),
        SinkRecord(None, b"", (), 1_700_000_000_124_000_000),
        SinkRecord(b"\xff\x00", None, (("a", b"\x00"), ("a", b"2")), 1_700_000_000_125_000_000),
    ]
    log.put(2, sent)
    with opened(log.source("g")) as source:
        seek_all(source, until_assigned(source, NUM_PARTITIONS))
        reader = Reader(source).until(3)
    rows = []
    for batch in reader.batches:
        headers = batch.headers or [None] * len(batch)
        columns = (batch.keys, batch.values, headers, batch.timestamps_ns.tolist())
        rows += [SinkRecord(key, value, tuple(head or ()), at) for key, value, head, at in zip(*columns, strict=True)]
    assert rows == sent


def test_nothing_of_a_partition_comes_before_its_first_seek(log: LogCase):
    for number in range(log.num_partitions):
        log.put(number, numbered(0, 200))
    with opened(log.source("g")) as source:
        mine = until_assigned(source, log.num_partitions)
        for _ in range(5):
            assert not source.poll(1000, 0.1).batches
        chosen = Partition(log.topic, log.num_partitions - 1)
        assert chosen in mine
        source.seek(chosen, 150)
        reader = Reader(source).until(50)
        reader.poll(1000, 0.3)
        assert set(reader.read) == {chosen}
        assert min(reader.read[chosen]) == 150


def test_a_seek_decides_the_next_record_however_much_was_fetched_before(log: LogCase):
    log.put(0, numbered(0, 3000))
    partition = Partition(log.topic, 0)
    with opened(log.source("g")) as source:
        seek_all(source, until_assigned(source, log.num_partitions))
        for position in (0, 2500, 10, 11, 2999, 0):
            source.seek(partition, position)
            reader = Reader(source).until(1, max_records=7)
            assert min(reader.read[partition]) == position


@needs(Can.GROWTH)
def test_a_position_below_the_log_is_told_and_waits_for_the_next_seek(log: LogCase):
    log.put(0, numbered(0, 100))
    log.put(1, numbered(0, 100))
    log.remove_before(0, 40)
    below, sound = Partition(log.topic, 0), Partition(log.topic, 1)
    with opened(log.source("g")) as source:
        until_assigned(source, NUM_PARTITIONS)
        assert source.bounds([below]) == {below: Bounds(40, 100)}
        source.seek(below, 5)
        source.seek(sound, 0)
        reader = Reader(source)
        assert poll_for(lambda: reader.poll().outside, 20.0) == {below}
        assert list(reader.until(100).read) == [sound], "the others go on"
        assert not reader.poll(1000, 0.3).outside, "it is told once"
        source.seek(below, 40)
        assert list(reader.until(160).read[below]) == list(range(40, 100))


def test_a_position_beyond_the_end_is_told_and_waits_for_the_next_seek(log: LogCase):
    log.put(0, numbered(0, 10))
    partition = Partition(log.topic, 0)
    with opened(log.source("g")) as source:
        until_assigned(source, log.num_partitions)
        source.seek(partition, 5000)
        assert poll_for(lambda: source.poll(100, 0.1).outside, 20.0) == {partition}
        assert not source.poll(100, 0.2).outside
        source.seek(partition, 4)
        assert list(Reader(source).until(6).read[partition]) == list(range(4, 10))


def test_bounds_are_those_of_the_log(log: LogCase):
    last = log.num_partitions - 1
    log.put(last, numbered(0, 7))
    with opened(log.source("g")) as source:
        mine = until_assigned(source, log.num_partitions)
        assert source.num_partitions == log.num_partitions
        empty = {Partition(log.topic, number): Bounds(0, 0) for number in range(last)}
        assert source.bounds(mine) == {**empty, Partition(log.topic, last): Bounds(0, 7)}
        assert source.bounds([]) == {}


SECOND_NS = 1_000_000_000
FIRST_NS = 1_700_000_001 * SECOND_NS


def test_positions_are_found_by_the_records_own_times(log: LogCase):
    """Records a second apart."""
    last = log.num_partitions - 1
    times_ns = [FIRST_NS + row * SECOND_NS for row in range(10)]
    log.put(last, [SinkRecord(None, b"v%d" % row, (), at_ns) for row, at_ns in enumerate(times_ns)])
    partition = Partition(log.topic, last)
    with opened(log.source("g")) as source:
        mine = until_assigned(source, log.num_partitions)
        for time_ns, position in [
            (0, 0),
            (FIRST_NS, 0),
            (FIRST_NS + 1, 1),
            (FIRST_NS + 4 * SECOND_NS, 4),
            (times_ns[-1], 9),
            (times_ns[-1] + 1, 10),
        ]:
            assert source.positions_at([partition], time_ns) == {partition: position}
        assert source.newest_ns(mine) == {partition: times_ns[-1]}
        assert source.positions_at(mine - {partition}, FIRST_NS) == dict.fromkeys(mine - {partition}, 0)
        assert source.positions_at([], 0) == source.newest_ns([]) == {}


@needs(Can.GROWTH)
def test_positions_by_time_are_of_records_that_are_still_there(log: LogCase):
    times_ns = [FIRST_NS + at * SECOND_NS for at in (0, 5, 2, 3, 1)]
    log.put(0, [SinkRecord(None, b"v", (), at_ns) for at_ns in times_ns])
    log.remove_before(0, 2)
    partition = Partition(log.topic, 0)
    with opened(log.source("g")) as source:
        until_assigned(source, NUM_PARTITIONS)
        assert source.positions_at([partition], FIRST_NS + 3 * SECOND_NS) == {partition: 3}
        assert source.positions_at([partition], FIRST_NS + 4 * SECOND_NS) == {partition: 5}


def test_ends_are_heard_of_without_asking(log: LogCase):
    last = log.num_partitions - 1
    log.put(last, numbered(0, 7))
    with opened(log.source("g")) as source:
        seek_all(source, until_assigned(source, log.num_partitions))
        one = Partition(log.topic, last)
        Reader(source).until(7)
        assert source.ends([one]) == {one: 7}
        assert source.ends([]) == {}


def test_committed_is_what_was_last_committed(log: LogCase):
    log.put(0, numbered(0, 10))
    with opened(log.source("g")) as source:
        mine = until_assigned(source, log.num_partitions)
        assert source.committed(mine) == dict.fromkeys(mine)
        source.commit({})
        source.commit(dict.fromkeys(mine, 5))
        source.commit(dict.fromkeys(mine, 3))
        assert source.committed(mine) == dict.fromkeys(mine, 3)
        assert source.committed([]) == {}


@needs(Can.COMMITS, Can.PARTITIONS)
def test_committed_is_what_the_last_owner_committed(log: LogCase):
    first, second = Partition(log.topic, 0), Partition(log.topic, 1)
    with opened(log.source("g")) as source:
        mine = until_assigned(source, NUM_PARTITIONS)
        assert source.committed(mine) == dict.fromkeys(mine)
        source.commit({first: 5})
        source.commit({first: 3, second: 9})
        assert source.committed([first, second]) == {first: 3, second: 9}
    with opened(log.source("g")) as source:
        until_assigned(source, NUM_PARTITIONS)
        assert source.committed([first, second]) == {first: 3, second: 9}
    with opened(log.source("other")) as source:
        until_assigned(source, NUM_PARTITIONS)
        assert source.committed([first]) == {first: None}


def test_on_revoke_runs_in_close_on_the_thread_of_the_owner(log: LogCase):
    log.put(0, numbered(0, 10))
    gone: list[frozenset[Partition]] = []
    threads: set[int] = set()
    source = log.source("g")

    def on_revoke(partitions: frozenset[Partition]) -> None:
        gone.append(partitions)
        threads.add(threading.get_ident())
        source.commit(dict.fromkeys(partitions, 11))

    with opened(source, on_revoke):
        mine = until_assigned(source, log.num_partitions)
        seek_all(source, mine)
    assert gone == [frozenset(mine)]
    assert threads == {threading.get_ident()}


@needs(Can.COMMITS)
def test_what_is_committed_in_on_revoke_is_kept(log: LogCase):
    source = log.source("g")
    with opened(source, lambda gone: source.commit(dict.fromkeys(gone, 11))):
        mine = until_assigned(source, NUM_PARTITIONS)
    with opened(log.source("g")) as after:
        assert after.committed(until_assigned(after, NUM_PARTITIONS)) == dict.fromkeys(mine, 11)


@needs(Can.COMMITS, Can.PARTITIONS, Can.GROWTH)
def test_a_second_member_gets_partitions_only_after_the_first_has_committed_them(log: LogCase):
    for number in range(NUM_PARTITIONS):
        log.put(number, numbered(0, 100))
    gone: set[Partition] = set()
    first = log.source("g")

    def on_revoke(partitions: frozenset[Partition]) -> None:
        gone.update(partitions)
        first.commit({partition: 40 + partition.number for partition in partitions})

    with opened(first, on_revoke), ExitStack() as stack:
        mine = until_assigned(first, NUM_PARTITIONS)
        seek_all(first, mine)
        reader = Reader(first).until(100 * NUM_PARTITIONS)
        second = stack.enter_context(opened(log.source("g")))
        other = Reader(second)

        def moved() -> bool:
            reader.poll()
            other.poll()
            return bool(other.assigned)

        poll_for(moved, 30.0, every_s=0.0, what="the second member's partitions")
        assert other.assigned <= gone == reader.lost
        assert second.committed(other.assigned) == {part: 40 + part.number for part in other.assigned}
        for number in range(NUM_PARTITIONS):
            log.put(number, numbered(100, 150))
        seek_all(second, other.assigned, 100)
        kept = len(mine - gone)
        read_before = reader.num_records

        def read_on() -> bool:
            reader.poll()
            other.poll()
            return reader.num_records - read_before >= 50 * kept and other.num_records >= 50 * len(other.assigned)

        poll_for(read_on, 30.0, every_s=0.0, what="both to read on")
        reader.poll(1000, 0.2)
        assert reader.num_records - read_before == 50 * kept, "a revoked partition was handed out"
        assert other.read.keys() == other.assigned
        first.ends(other.assigned)  # of what it holds no longer: it may leave them out, and must not fail
        with pytest.raises(StaleEpochError, match="no longer ours"):
            first.commit(dict.fromkeys(other.assigned, 1))
        assert second.committed(other.assigned) == {part: 40 + part.number for part in other.assigned}


@needs(Can.COMMITS, Can.PARTITIONS)
def test_a_commit_waits_for_a_rebalance_that_is_going_on(log: LogCase):
    with opened(log.source("g")) as first:
        mine = until_assigned(first, NUM_PARTITIONS)
        seek_all(first, mine)
        ended = threading.Event()

        def join_and_leave() -> None:
            with opened(log.source("g")) as second:
                while not ended.is_set():
                    second.poll(10, 0.05)

        thread = threading.Thread(target=join_and_leave)
        thread.start()
        try:
            lost: set[Partition] = set()
            position = 0
            stop_s = time.monotonic() + 30
            while not lost and time.monotonic() < stop_s:
                polled = first.poll(10, 0.01)
                lost |= polled.lost
                position += 1
                mine -= lost
                try:
                    first.commit(dict.fromkeys(mine, position))
                except StaleEpochError:
                    lost |= first.poll(10, 0.1).lost
                    mine -= lost
            assert lost, "the second member got nothing"
            while True:
                try:
                    first.commit(dict.fromkeys(mine, 1000))
                    break
                except StaleEpochError:  # the rebalance has a second half, in which nothing is lost
                    assert time.monotonic() < stop_s
                    mine -= first.poll(10, 0.1).lost
            assert first.committed(mine) == dict.fromkeys(mine, 1000)
        finally:
            ended.set()
            thread.join()


def test_a_missing_topic_is_named_with_its_nearest_and_not_created(log: LogCase):
    log.put(0, numbered(0, 1))
    source = log.missing_source()
    with leaks.no_leaks(), pytest.raises(MissingTopicError, match=rf"{log.topic}x.*did you mean '{log.topic}'"):
        source.open(lambda gone: None, 10.0)
    source.close()
    assert f"{log.topic}x" not in log.names()


def test_nothing_is_left_after_close(log: LogCase):
    log.put(0, numbered(0, 10))
    with leaks.no_leaks():
        source = log.source("g")
        source.open(lambda gone: None, 20.0)
        seek_all(source, until_assigned(source, log.num_partitions))
        Reader(source).until(10)
        source.close()
        source.close()
