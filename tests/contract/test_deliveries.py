"""The promises of `connectors.contracts.Delivery`: sinks that are flushed, and transactions, of both clients."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from connectors.contracts import Delivery, Source
from connectors.errors import LostPartitionsError, RecordTooLargeError, StaleEpochError
from connectors.records import Partition, SinkRecord
from connectors.registry import open_sink, open_source, open_transactions
from stream_engine.pipeline import AtLeastOnce
from tests.contract.reading import OPEN_S, Reader, numbered, opened, seek_all, until_assigned
from tests.support import leaks
from tests.support.topics import committed_offsets, consume_all, create_topic
from tests.support.waiting import poll_for

pytestmark = pytest.mark.servers

NUM_PARTITIONS = 2


class Case:
    """A topic to read, two to write, and a group, under one kind of delivery by one client."""

    def __init__(self, kind: str, servers: str, topic: str) -> None:
        self.mode, self.client = kind.split("-", 1)
        self.servers, self.topic = servers, topic
        create_topic(servers, topic, NUM_PARTITIONS)

    def source(self) -> Source:
        """A new member of the group."""
        return open_source(f"kafka://{self.servers}/{self.topic}?group={self.topic}", client=self.client)

    def delivery(self, source: Source) -> Delivery:
        """What delivers with that member."""
        forecasts, dead = (f"kafka://{self.servers}/{name}" for name in (self.out, self.dead))
        if self.mode == "transactions":
            return open_transactions(source, forecasts, dead, client=self.client)
        sinks = (open_sink(url, client=self.client) for url in (forecasts, dead))
        return AtLeastOnce(source, *sinks)

    @property
    def out(self) -> str:
        """The topic of forecasts."""
        return f"{self.topic}-out"

    @property
    def dead(self) -> str:
        """The topic of dead letters."""
        return f"{self.topic}.dlq"

    def seen(self) -> tuple[list[bytes | None], list[bytes | None]]:
        """What a reader of committed records sees of forecasts and dead letters."""
        out, dead = ([record.value for record in consume_all(self.servers, name)] for name in (self.out, self.dead))
        return out, dead

    def committed(self) -> dict[int, int]:
        """The group's positions."""
        return committed_offsets(self.servers, self.topic, self.topic)


KINDS = ["sinks-python", "sinks-librdkafka", "transactions-python", "transactions-librdkafka"]


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, kafka_servers: str, new_name: Callable[[], str]) -> Case:
    return Case(request.param, kafka_servers, new_name())


@pytest.fixture(params=KINDS[2:])
def transactions(request: pytest.FixtureRequest, kafka_servers: str, new_name: Callable[[], str]) -> Case:
    return Case(request.param, kafka_servers, new_name())


@contextmanager
def delivering(case: Case) -> Iterator[tuple[Source, Delivery, list[Partition]]]:
    """A member with all partitions, and its delivery."""
    with opened(case.source()) as source:
        delivery = case.delivery(source)
        try:
            delivery.open(NUM_PARTITIONS, OPEN_S)
            mine = sorted(until_assigned(source, NUM_PARTITIONS))
            seek_all(source, mine)
            yield source, delivery, mine
        finally:
            delivery.close()


def test_records_and_positions_are_kept_once_committed(case: Case):
    with delivering(case) as (source, delivery, mine):
        for number in range(3):
            delivery.forecasts.write(numbered(number, number + 1))
            delivery.dead_letters.write(numbered(number, number + 1, "dead"))
            delivery.commit(dict.fromkeys(mine, number + 5), OPEN_S)
            assert source.committed(mine) == dict.fromkeys(mine, number + 5)
        delivery.commit({mine[0]: 99}, OPEN_S)
        assert source.committed(mine) == {mine[0]: 99, mine[1]: 7}
    out, dead = case.seen()
    assert sorted(out) == [b"v0", b"v1", b"v2"]
    assert sorted(dead) == [b"dead0", b"dead1", b"dead2"]


def test_what_is_taken_back_is_seen_by_nobody(case: Case):
    with delivering(case) as (_, delivery, mine):
        delivery.forecasts.write(numbered(0, 1))
        delivery.commit(dict.fromkeys(mine, 1), OPEN_S)
        delivery.forecasts.write(numbered(1, 500))
        delivery.dead_letters.write(numbered(1, 2))
        is_taken_back = delivery.abort()
        assert is_taken_back == (case.mode == "transactions")
        assert not delivery.abort() or is_taken_back, "once more does no harm"
        delivery.forecasts.write(numbered(500, 501))
        delivery.commit(dict.fromkeys(mine, 2), OPEN_S)
    out, dead = case.seen()
    assert case.committed() == {0: 2, 1: 2}
    if is_taken_back:
        assert (sorted(out), dead) == ([b"v0", b"v500"], [])
    else:
        assert len(out) == 501


def test_what_was_not_committed_at_the_end_is_not_seen(transactions: Case):
    with delivering(transactions) as (_, delivery, mine):
        delivery.forecasts.write(numbered(0, 1))
        delivery.commit(dict.fromkeys(mine, 1), OPEN_S)
        delivery.forecasts.write(numbered(1, 100))
    assert transactions.seen() == ([b"v0"], [])
    assert transactions.committed() == {0: 1, 1: 1}


def test_a_commit_of_partitions_that_are_not_ours_is_refused_whole(case: Case):
    with delivering(case) as (source, delivery, mine):
        delivery.commit(dict.fromkeys(mine, 3), OPEN_S)
        delivery.forecasts.write(numbered(0, 1))
        with pytest.raises(LostPartitionsError, match="no longer ours"):
            delivery.commit({mine[0]: 4, mine[0]._replace(number=7): 4}, OPEN_S)
        delivery.abort()
        assert source.committed(mine) == dict.fromkeys(mine, 3)
        delivery.commit(dict.fromkeys(mine, 5), OPEN_S)
        assert source.committed(mine) == dict.fromkeys(mine, 5)
    if case.mode == "transactions":
        assert case.seen() == ([], [])


def test_a_membership_of_an_earlier_generation_commits_nothing(transactions: Case, monkeypatch: pytest.MonkeyPatch):
    with delivering(transactions) as (source, delivery, mine), opened(transactions.source()) as second:
        delivery.commit(dict.fromkeys(mine, 3), OPEN_S)
        old = source.membership(mine)  # type: ignore[attr-defined]
        reader, other = Reader(source), Reader(second)
        poll_for(lambda: (reader.poll(), other.poll()) and other.assigned, 30.0, 0.0, what="the second member")
        (kept,) = set(mine) - reader.lost
        delivery.forecasts.write(numbered(0, 1))
        with monkeypatch.context() as patched:
            patched.setattr(source, "membership", lambda partitions: old)
            with pytest.raises(LostPartitionsError, match="not committed"):
                delivery.commit({kept: 9}, OPEN_S)
        delivery.abort()
        assert source.committed([kept]) == {kept: 3}
        delivery.commit({kept: 4}, OPEN_S)
        assert source.committed([kept]) == {kept: 4}
    assert transactions.seen() == ([], [])


def test_a_zombie_whose_name_another_has_taken_is_fenced(transactions: Case, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("connectors.kafka_settings.TransactionalId.take", lambda self: f"{transactions.topic}-name")
    with delivering(transactions) as (source, zombie, mine):
        zombie.commit(dict.fromkeys(mine, 1), OPEN_S)
        zombie.forecasts.write(numbered(0, 10))
        heir = transactions.delivery(source)
        heir.open(NUM_PARTITIONS, OPEN_S)
        heir.forecasts.write(numbered(10, 20))
        with pytest.raises(StaleEpochError, match="another process has taken our place"):
            zombie.commit(dict.fromkeys(mine, 2), OPEN_S)
        with pytest.raises(StaleEpochError):
            zombie.forecasts.write(numbered(20, 30))
        heir.commit(dict.fromkeys(mine, 3), OPEN_S)
        heir.close()
    assert sorted(transactions.seen()[0]) == sorted(record.value for record in numbered(10, 20))
    assert transactions.committed() == {0: 3, 1: 3}


def test_names_are_taken_again_once_they_are_free(transactions: Case):
    from connectors.kafka_settings import TransactionalId

    one, two, three = (TransactionalId(transactions.topic) for _ in range(3))
    first, second = one.take(), two.take()
    assert first != second
    one.release()
    assert three.take() == first
    two.release()
    three.release()


def test_a_record_too_large_for_one_topic_is_refused_by_name(transactions: Case):
    create_topic(transactions.servers, transactions.out, NUM_PARTITIONS, {"max.message.bytes": "200000"})
    with delivering(transactions) as (_, delivery, mine):
        largest = SinkRecord(b"key", b"\x00" * (delivery.forecasts.max_record_bytes - 3))
        assert delivery.dead_letters.max_record_bytes == delivery.forecasts.max_record_bytes < 200_000
        delivery.forecasts.write([largest])
        delivery.dead_letters.write([largest])
        with pytest.raises(RecordTooLargeError, match=transactions.out):
            delivery.forecasts.write([largest._replace(value=b"\x00" * 300_000)])
        delivery.commit(dict.fromkeys(mine, 1), OPEN_S)
    out, dead = transactions.seen()
    assert [len(value or b"") for value in out + dead] == [len(largest.value or b"")] * 2


def test_nothing_is_left_after_close(case: Case):
    with leaks.no_leaks(), delivering(case) as (_, delivery, _mine):
        delivery.forecasts.write(numbered(0, 1000))
        delivery.close()
        delivery.close()
