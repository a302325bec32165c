"""What both Kafka connectors do when servers, topics and members go wrong, on real brokers."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from connectors.contracts import Sink, Source
from connectors.errors import AddressError, ConnectorConfigError, ServerUnavailableError, StaleEpochError
from connectors.kafka_settings import KafkaSettings
from connectors.librdkafka import producer
from connectors.records import Partition, SinkRecord
from connectors.registry import open_sink, open_source
from tests.contract.reading import Reader, opened, seek_all, until_assigned
from tests.support import leaks
from tests.support.kafka_server import KafkaServer
from tests.support.processes import free_port
from tests.support.topics import (
    NewRecord,
    committed_offsets,
    consume_all,
    create_topic,
    delete_topic,
    produce,
    topic_names,
)
from tests.support.waiting import poll_for

pytestmark = pytest.mark.servers

CLIENTS = ["python", "librdkafka"]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return request.param


def source_of(servers: str, topic: str, client: str, broker_timeout_s: float = 60.0, **options: object) -> Source:
    url = f"kafka://{servers}/{topic}?group=g-{topic}"
    return open_source(url, client=client, broker_timeout_s=broker_timeout_s, options=options)


def sink_of(servers: str, topic: str, client: str, broker_timeout_s: float = 60.0, **options: object) -> Sink:
    url = f"kafka://{servers}/{topic}"
    return open_sink(url, client=client, broker_timeout_s=broker_timeout_s, options=options)


def test_no_server_at_all_is_said_within_the_timeout_with_its_address(client: str):
    servers = f"127.0.0.1:{free_port()}"
    for part in (source_of(servers, "t", client), sink_of(servers, "t", client)):
        began_s = time.monotonic()
        with leaks.no_leaks(), pytest.raises(ServerUnavailableError, match=f"no Kafka broker answered at {servers}"):
            part.open(lambda gone: None, 1.5) if isinstance(part, Source) else part.open(1, 1.5)
        assert time.monotonic() - began_s < 8
        part.close()


def test_a_server_that_takes_connections_and_says_nothing_is_unavailable(own_kafka: KafkaServer, client: str):
    own_kafka.pause()
    source = source_of(own_kafka.servers, "t", client)
    began_s = time.monotonic()
    with leaks.no_leaks(), pytest.raises(ServerUnavailableError, match=own_kafka.servers):
        source.open(lambda gone: None, 2.0)
    assert time.monotonic() - began_s < 10
    own_kafka.resume()


def test_an_unknown_option_is_named(kafka_servers: str, new_topic: Callable[..., str], client: str):
    source = source_of(kafka_servers, new_topic(), client, **{"session.timeouts.ms": 1})
    with pytest.raises(AddressError, match=r"session.timeouts.ms|session_timeouts_ms"):
        source.open(lambda gone: None, 10.0)
    source.close()


def test_wrong_credentials_are_refused_and_not_waited_for(
    kafka_servers: str, new_topic: Callable[..., str], client: str
):
    """The broker speaks no SASL: the handshake fails at once or the brokers stay silent, but never for ever."""
    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    options |= {"sasl.username": "u", "sasl.password": "hush-hush"}
    source = source_of(kafka_servers, new_topic(), client, **options)
    assert "hush-hush" not in repr(source._settings)  # type: ignore[attr-defined]
    with leaks.no_leaks(), pytest.raises((ConnectorConfigError, ServerUnavailableError)) as caught:
        source.open(lambda gone: None, 3.0)
    assert "hush-hush" not in str(caught.value)
    source.close()


def test_reading_and_writing_go_on_after_the_broker_was_killed_and_came_back(
    own_kafka: KafkaServer, new_name: Callable[[], str], client: str
):
    topic = create_topic(own_kafka.servers, new_name(), 2)
    with opened(source_of(own_kafka.servers, topic, client)) as source:
        sink = sink_of(own_kafka.servers, topic, client)
        sink.open(2, 20.0)
        seek_all(source, until_assigned(source, 2))
        sink.write([SinkRecord(b"%d" % row, b"before") for row in range(100)])
        sink.flush(20.0)
        reader = Reader(source).until(100)
        source.commit(reader.next)
        own_kafka.kill()
        sink.write([SinkRecord(b"%d" % row, b"while it is away") for row in range(100)])
        with pytest.raises(ServerUnavailableError, match="are not acknowledged"):
            sink.flush(0.5)
        assert len(reader.poll(1000, 0.2)) == 0
        own_kafka.start()
        sink.flush(30.0)
        poll_for(lambda: went_on(reader) and reader.num_records >= 200, 40.0, what="the records written meanwhile")
        assert reader.num_records == 200
        sink.close()


def went_on(reader: Reader) -> bool:
    """Poll; where the group had to be joined anew, go on from where we stood."""
    for partition in reader.poll().assigned:
        reader.source.seek(partition, reader.next.get(partition, 0))
    return True


def test_a_source_gives_up_once_no_broker_has_answered_for_the_broker_timeout(
    own_kafka: KafkaServer, new_name: Callable[[], str], client: str
):
    topic = create_topic(own_kafka.servers, new_name(), 1)
    with opened(source_of(own_kafka.servers, topic, client, broker_timeout_s=4.0)) as source:
        mine = until_assigned(source, 1)
        seek_all(source, mine)
        stop_s = time.monotonic() + 6
        while time.monotonic() < stop_s:
            source.poll(10, 0.2)  # a quiet topic is no dead broker
        own_kafka.kill()
        began_s = time.monotonic()
        with pytest.raises(ServerUnavailableError, match="has answered for 4 s"):
            poll_for(lambda: source.poll(10, 0.2).at_end, 30.0, every_s=0.0)
        assert 2.0 < time.monotonic() - began_s < 15.0
    own_kafka.start()


def test_a_sink_says_that_records_are_lost_and_goes_on_saying_so(
    own_kafka: KafkaServer, new_name: Callable[[], str], client: str
):
    topic = create_topic(own_kafka.servers, new_name(), 1)
    sink = sink_of(own_kafka.servers, topic, client, broker_timeout_s=3.0)
    sink.open(1, 20.0)
    sink.write([SinkRecord(None, b"first")])
    sink.flush(20.0)
    own_kafka.kill()
    sink.write([SinkRecord(None, b"x")] * 10)
    with pytest.raises(ServerUnavailableError, match="could not be delivered"):
        poll_for(lambda: flushed(sink), 30.0, every_s=0.0)
    for again in (lambda: sink.flush(1.0), lambda: sink.write([SinkRecord(None, b"y")])):
        with pytest.raises(ServerUnavailableError, match="could not be delivered"):
            again()
    sink.close()
    own_kafka.start()
    assert [record.value for record in consume_all(own_kafka.servers, topic)] == [b"first"]


def flushed(sink: Sink) -> bool:
    """Whether a short flush succeeds; a loss passes as an exception."""
    try:
        sink.flush(0.5)
    except ServerUnavailableError as error:
        if "are not acknowledged" not in str(error):
            raise
        return False
    return True


def test_a_write_into_a_full_buffer_waits_no_longer_than_its_deadline(
    own_kafka: KafkaServer, new_name: Callable[[], str], client: str
):
    topic = create_topic(own_kafka.servers, new_name(), 1)
    options = {"queue.buffering.max.kbytes": 1024} if client == "librdkafka" else {}
    sink = sink_of(own_kafka.servers, topic, client, broker_timeout_s=2.0, **options)
    sink.open(1, 20.0)
    own_kafka.kill()
    began_s = time.monotonic()
    with pytest.raises(ServerUnavailableError):
        poll_for(lambda: sink.write([SinkRecord(b"k", b"x" * 500_000)] * 10), 30.0)
    assert time.monotonic() - began_s < 30
    sink.close()
    own_kafka.start()


def test_what_a_consumer_never_sees_is_counted_as_read(kafka_servers: str, new_topic: Callable[..., str], client: str):
    """Transaction markers end the log: the position must come to its very end all the same."""
    topic = new_topic(1)
    partition = Partition(topic, 0)
    in_transactions(kafka_servers, topic, [("commit", 10), ("abort", 5), ("commit", 1), ("abort", 3)])
    with opened(source_of(kafka_servers, topic, client)) as source:
        seek_all(source, until_assigned(source, 1))
        latest = source.bounds([partition])[partition].latest
        assert latest == 10 + 1 + 5 + 1 + 1 + 1 + 3 + 1
        reader = Reader(source).until(11)
        poll_for(lambda: went_on(reader) and reader.next[partition] == latest, 15.0, what="the end of the log")
        assert reader.num_records == 11
        source.commit(reader.next)
        assert committed_offsets(kafka_servers, f"g-{topic}", topic) == {0: latest}


def in_transactions(servers: str, topic: str, plan: list[tuple[str, int]]) -> None:
    """Write transactions of some records each, committed or aborted."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": servers, "transactional.id": f"tx-{topic}"})
    producer.init_transactions(20)
    for end, num_records in plan:
        producer.begin_transaction()
        for row in range(num_records):
            producer.produce(topic, b"%d" % row)
        producer.flush(20)
        producer.commit_transaction(20) if end == "commit" else producer.abort_transaction(20)


def test_both_clients_put_a_key_into_the_same_partition(kafka_servers: str, new_topic: Callable[..., str]):
    keys = [b"s-%d" % row for row in range(300)] + [b"", b"\xff\x00\x80", "schlüssel".encode(), b"x" * 1000]
    places: list[dict[bytes | None, int]] = []
    for client in CLIENTS:
        topic = new_topic(7)
        sink = sink_of(kafka_servers, topic, client)
        sink.open(7, 20.0)
        sink.write([SinkRecord(key, b"v") for key in keys])
        sink.flush(20.0)
        sink.close()
        places.append({record.key: record.partition for record in consume_all(kafka_servers, topic)})
    assert places[0] == places[1]
    assert set(places[0].values()) == set(range(7))


def test_members_of_both_clients_share_a_group(kafka_servers: str, new_topic: Callable[..., str]):
    topic = new_topic(4)
    produce(kafka_servers, topic, [NewRecord(b"v", None, row % 4) for row in range(400)])
    revoked: set[Partition] = set()
    with opened(source_of(kafka_servers, topic, "python"), revoked.update) as first:
        seek_all(first, until_assigned(first, 4))
        one = Reader(first).until(400)
        with opened(source_of(kafka_servers, topic, "librdkafka")) as second:
            two = Reader(second)
            poll_for(lambda: went_on(one) and went_on(two) and len(two.assigned) == 2, 40.0, every_s=0.0)
            assert two.assigned == revoked
            one.assigned.clear()
        poll_for(lambda: went_on(one) and one.assigned == revoked, 40.0, every_s=0.0, what="what was given back")


MEMBER = """
import sys
from connectors.registry import open_source
url, client = sys.argv[1:]
source = open_source(url, client=client, options={"session.timeout.ms": 2000, "heartbeat.interval.ms": 300})
source.open(lambda gone: print("revoked", flush=True), 20)
for _ in range(3000):
    polled = source.poll(100, 0.05)
    for partition in sorted(polled.lost):
        print("lost", partition.number, flush=True)
        try:
            source.commit({partition: 77})
            print("committed", flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
    for partition in sorted(polled.assigned):
        source.seek(partition, 0)
        print("assigned", partition.number, flush=True)
"""


def test_a_member_frozen_past_its_session_loses_its_partitions_and_is_told(
    kafka_servers: str, new_topic: Callable[..., str], client: str
):
    topic = new_topic(1)
    url = f"kafka://{kafka_servers}/{topic}?group=g-{topic}"
    command = [sys.executable, "-c", MEMBER, url, client]
    zombie = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    lines: list[str] = []
    assert zombie.stdout is not None
    stream = zombie.stdout
    listener = threading.Thread(target=lambda: [lines.append(line.strip()) for line in stream])
    listener.start()
    try:
        poll_for(lambda: "assigned 0" in lines, 30.0, what="the first member's partition")
        zombie.send_signal(signal.SIGSTOP)
        with opened(source_of(kafka_servers, topic, client)) as heir:
            (partition,) = until_assigned(heir, 1)
            heir.seek(partition, 0)
            heir.commit({partition: 5})
            zombie.send_signal(signal.SIGCONT)
            reader = Reader(heir)
            poll_for(lambda: went_on(reader) and "lost 0" in lines and len(lines) >= 3, 30.0, what="the loss")
            assert lines[:3] == ["assigned 0", "lost 0", "LostPartitionsError"]
            assert heir.committed([partition]) == {partition: 5}
    finally:
        zombie.kill()
        zombie.wait()
        listener.join()
        stream.close()


def test_a_member_that_hears_while_it_joins_anew_that_it_was_put_out_has_lost_its_partitions(
    kafka_servers: str, new_topic: Callable[..., str]
):
    """Others may have had them since: to go on with them, or to commit them when they are asked back, sends twice."""
    asked_back: list[frozenset[Partition]] = []
    options = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}
    source = source_of(kafka_servers, new_topic(2), "python", **options)
    with opened(source, asked_back.append):
        mine = until_assigned(source, 2)
        coordinator = source._consumer._coordinator  # type: ignore[attr-defined]
        known = coordinator._generation
        coordinator._generation = type(known)(known.generation_id, "of a member put out", known.protocol)
        coordinator.request_rejoin()
        reader = Reader(source)
        poll_for(
            lambda: went_on(reader) and reader.lost == reader.assigned == mine, 15.0, what="the loss and the return"
        )
        assert not asked_back


def test_heartbeats_go_on_while_the_engine_computes(kafka_servers: str, new_topic: Callable[..., str], client: str):
    topic = new_topic(1)
    options = {"session.timeout.ms": 2000, "heartbeat.interval.ms": 300}
    with opened(source_of(kafka_servers, topic, client, **options)) as source:
        mine = until_assigned(source, 1)
        seek_all(source, mine)
        busy_until_s = time.monotonic() + 4.0
        while time.monotonic() < busy_until_s:
            sum(range(10_000))
        source.commit(dict.fromkeys(mine, 3))
        polled = source.poll(10, 0.5)
        assert not polled.lost
        assert source.committed(mine) == dict.fromkeys(mine, 3)


def test_a_topic_deleted_under_the_reader_is_not_made_again_by_asking(
    kafka_servers: str, new_topic: Callable[..., str], client: str
):
    """The broker would make it: auto.create.topics.enable is true by default."""
    topic = new_topic(1)
    produce(kafka_servers, topic, [b"v"])
    with opened(source_of(kafka_servers, topic, client, **{"topic.metadata.refresh.interval.ms": 300})) as source:
        seek_all(source, until_assigned(source, 1))
        reader = Reader(source).until(1)
        delete_topic(kafka_servers, topic)
        poll_for(lambda: reader.poll().lost, 20.0, every_s=0.0, what="the loss of its partition")
        stop_s = time.monotonic() + 2.0
        while time.monotonic() < stop_s:
            reader.poll(1000, 0.2)
            assert topic not in topic_names(kafka_servers)


def test_an_error_in_the_revoke_callback_reaches_the_engine(
    kafka_servers: str, new_topic: Callable[..., str], client: str
):
    def fail(gone: frozenset[Partition]) -> None:
        raise StaleEpochError("the engine says no")

    source = source_of(kafka_servers, new_topic(1), client)
    with leaks.no_leaks():
        source.open(fail, 20.0)
        until_assigned(source, 1)
        with pytest.raises(StaleEpochError, match="the engine says no"):
            source.close()
        source.close()


def test_a_client_of_librdkafka_that_does_not_end_is_left_to_itself(monkeypatch: pytest.MonkeyPatch):
    """Seen in chaos once records of a transaction had timed out; a process that never ends is never started again."""
    monkeypatch.setattr(producer, "END_TIMEOUT_S", 0.2)
    ended = threading.Event()
    endless = producer.LibrdkafkaProducer(KafkaSettings.from_url("kafka://127.0.0.1:1/t"))
    endless._producer = SimpleNamespace(purge=lambda: None, flush=lambda _timeout_s: 0, close=ended.wait)
    began_s = time.monotonic()
    with leaks.no_leaks():
        endless.close()
        assert time.monotonic() - began_s < 5
        ended.set()


def test_a_static_member_comes_back_to_its_partitions_without_a_rebalance(
    kafka_servers: str, new_topic: Callable[..., str], client: str
):
    """`group.instance.id`: a worker that restarts within the session timeout moves nobody's partitions."""
    topic, revoked = new_topic(4), set[Partition]()

    def member(name: str) -> Source:
        return source_of(kafka_servers, topic, client, **{"group.instance.id": name, "session.timeout.ms": 20_000})

    with opened(member("worker-1"), revoked.update) as stays:
        seek_all(stays, until_assigned(stays, 4))
        reader = Reader(stays)
        with opened(member("worker-2")) as goes:
            other = Reader(goes)
            poll_for(lambda: went_on(reader) and went_on(other) and len(other.assigned) == 2, 40.0, every_s=0.0)
            seek_all(goes, other.assigned)
        held, before = set(other.assigned), set(revoked)
        reader.assigned.clear()
        reader.lost.clear()
        with opened(member("worker-2")) as back:
            again = Reader(back)
            poll_for(lambda: went_on(reader) and went_on(again) and again.assigned == held, 15.0, every_s=0.0)
        assert not reader.assigned, "nobody has been given anything"
        assert revoked == before
        assert not reader.lost
