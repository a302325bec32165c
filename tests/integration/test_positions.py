"""What becomes of a position that the topic no longer holds, on a real Kafka with both clients."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from connectors.records import Partition
from connectors.registry import open_source
from stream_engine.config import load_config
from stream_engine.errors import PositionError
from stream_engine.worker import Worker, assemble
from tests.support.engine import CountingModel, message
from tests.support.kafka_server import KafkaServer
from tests.support.topics import (
    NewRecord,
    add_partitions,
    committed_offsets,
    consume_all,
    create_topic,
    delete_records,
    delete_topic,
    produce,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

Step = tuple[Callable[[], bool], Callable[[], object]]


class Place:
    """A topic of one partition and an engine over it in this process, with a model that counts."""

    def __init__(self, kafka: str, client: str, folder: Path, topic: str) -> None:
        self.kafka, self.client, self.topic = kafka, client, topic
        self.source = f"kafka://{kafka}/{topic}?group={topic}"
        self.options: dict[str, object] = {"topic.metadata.refresh.interval.ms": 1000}
        self._settings: dict[str, object] = {
            "source": self.source,
            "sink": f"kafka://{kafka}/{topic}-forecasts",
            "store": f"sqlite://{folder / 'state.db'}",
            "kafka": {"client": client, "options": self.options},
            "checkpoint_interval": "1s",
        }
        self.worker: Worker | None = None
        create_topic(kafka, topic)

    def put(self, first: int, end: int, number: int = 0) -> None:
        """A reading of sensor a for each of these minutes; a batch for each ten, so that a log can be cut between."""
        for start in range(first, end, 10):
            minutes = range(start, min(end, start + 10))
            produce(self.kafka, self.topic, [NewRecord(message("a", minute, 1.0), None, number) for minute in minutes])

    def run(self, *steps: Step, **more: object) -> None:
        """Run the engine; as each condition comes true its action is done, after the last the engine stops."""
        self.worker = worker = assemble(load_config(None, {**self._settings, **more}, {}), model=CountingModel())
        left = list(steps)

        def after_turn(_num_records: int) -> None:
            if left and left[0][0]():
                left.pop(0)[1]()
            if not left:
                worker.stop()

        worker.run(after_turn)

    def count(self, number: int = 0) -> int:
        """Readings folded into the states of a partition, as the running engine has them."""
        assert self.worker is not None
        ledger, partition = self.worker._parts.ledger, Partition(self.topic, number)
        if partition not in ledger.partitions:
            return 0
        return sum(int(ledger.entries[handle]["count"]) for handle in ledger.handles(partition))

    def counts(self, num: int) -> Callable[[], bool]:
        return lambda: self.count() == num

    def is_settled(self, num: int) -> Callable[[], bool]:
        """Whether so many readings are folded, and their position is committed and saved."""
        return lambda: (
            self.count() == num
            and committed_offsets(self.kafka, self.topic, self.topic) == {0: num}
            and self.worker is not None
            and self.worker.pipeline._held[Partition(self.topic, 0)].saved == num
        )

    def resets(self) -> float | None:
        assert self.worker is not None
        return self.worker._parts.metrics.registry.get_sample_value("stream_engine_position_resets_total")

    def sent(self) -> list[int]:
        """The minutes of all forecasts."""
        bodies = [orjson.loads(record.value or b"") for record in consume_all(self.kafka, f"{self.topic}-forecasts")]
        return [body["origin"] // 60_000 for body in bodies]


def nothing() -> None:
    """The action after which there is only the stop."""


@pytest.fixture(params=["python", "librdkafka"])
def client(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def place(kafka_servers: str, client: str, tmp_path: Path, new_name: Callable[[], str]) -> Place:
    return Place(kafka_servers, client, tmp_path, new_name())


@pytest.mark.parametrize(
    ("reset", "sent"), [("earliest", [*range(30), *range(50, 61)]), ("latest", [*range(30), 60]), ("fail", None)]
)
def test_records_removed_before_they_were_read(
    place: Place, reset: str, sent: list[int] | None, caplog: pytest.LogCaptureFixture
) -> None:
    place.put(0, 30)
    place.run((place.counts(30), nothing))
    place.put(30, 60)
    delete_records(place.kafka, place.topic, 0, 50)
    if sent is None:
        with pytest.raises(
            PositionError, match=r"20 records were removed before they were read.* reset is fail: set it"
        ):
            place.run(reset=reset)
        assert committed_offsets(place.kafka, place.topic, place.topic) == {0: 30}
        return
    with caplog.at_level(logging.WARNING):
        place.run((place.counts(40), lambda: place.put(60, 61)), (place.counts(41), nothing), reset=reset)
    assert "20 records were removed before they were read" in caplog.text
    assert place.resets() == 1
    assert place.sent() == sent
    assert committed_offsets(place.kafka, place.topic, place.topic) == {0: 61}


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_partitions_added_while_the_engine_runs(place: Place, protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where new groups start at the end: what came before the new partition was noticed is not left out."""
    if protocol == "consumer":
        if place.client == "python":
            pytest.skip("kafka-python does not speak this protocol")
        place.options["group.protocol"] = "consumer"
    place.put(0, 10)

    def grow() -> None:
        add_partitions(place.kafka, place.topic, 2)
        place.put(0, 5, 1)

    with caplog.at_level(logging.WARNING):
        place.run(
            (place.counts(10), lambda: place.put(10, 12)),
            (place.counts(12), grow),
            (lambda: place.count(1) == 5, lambda: place.put(12, 14)),
            (place.counts(14), nothing),
            source={"url": place.source, "start": "latest"},
        )
    assert f"{place.topic}/1 was added to the topic, which had 1 partitions" in caplog.text
    assert sorted(place.sent()) == sorted([*range(10, 14), *range(5)])
    assert committed_offsets(place.kafka, place.topic, place.topic) == {0: 14, 1: 5}


def recreate(place: Place) -> None:
    delete_topic(place.kafka, place.topic)
    create_topic(place.kafka, place.topic)
    place.put(100, 110)


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_a_topic_recreated_while_the_engine_is_away(place: Place, reset: str, caplog: pytest.LogCaptureFixture) -> None:
    place.put(0, 30)
    place.run((place.counts(30), nothing))
    recreate(place)
    with caplog.at_level(logging.WARNING):
        place.run((place.counts(10), lambda: place.put(110, 111)), (place.counts(11), nothing), reset=reset)
    assert "reading stood at 30 of a topic that has been deleted and made anew" in caplog.text
    assert place.resets() == 1
    assert place.sent()[30:] == [*(range(100, 110) if reset == "earliest" else ()), 110]


@pytest.mark.parametrize("reset", ["earliest", "latest", "fail"])
def test_a_topic_recreated_while_the_engine_is_away_and_grown_past_the_old_position(
    place: Place, reset: str, caplog: pytest.LogCaptureFixture
) -> None:
    place.put(0, 10)
    place.run((place.counts(10), nothing))
    recreate(place)
    place.put(110, 130)
    if reset == "fail":
        with pytest.raises(PositionError, match="reading stood at 10 of a topic that has been deleted and made anew"):
            place.run(reset=reset)
        return
    with caplog.at_level(logging.WARNING):
        place.run((place.counts(30), lambda: place.put(130, 131)), (place.counts(31), nothing), reset=reset)
    assert "reading stood at 10 of a topic that has been deleted and made anew" in caplog.text
    assert place.resets() == 1
    assert place.sent()[10:] == [*(range(100, 130) if reset == "earliest" else ()), 130]


def test_both_clients_tell_the_same_id_of_a_topic_and_another_once_it_is_made_anew(place: Place) -> None:
    def told() -> set[str]:
        found = set()
        for name in ("python", "librdkafka"):
            source = open_source(place.source, client=name)
            source.open(lambda _: None, 20.0)
            found.add(source.log_id())
            source.close()
        return found

    (before,) = told()
    recreate(place)
    (after,) = told()
    assert before
    assert after not in ("", before)


def test_a_topic_recreated_under_the_running_engine(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.put(0, 30)
    with caplog.at_level(logging.WARNING):
        place.run(
            (place.is_settled(30), lambda: recreate(place)),
            (place.counts(10), lambda: place.put(110, 111)),
            (place.counts(11), nothing),
        )
    assert re.search("was recreated or truncated|has been deleted and made anew", caplog.text)
    assert place.resets() == 1
    assert place.sent()[30:] == list(range(100, 111))


def test_a_log_cut_short_under_the_running_engine(
    own_kafka: KafkaServer, client: str, tmp_path: Path, new_name: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    """As after an election of a replica that lacks the last records: they are gone, and others come in their place."""
    place = Place(own_kafka.servers, client, tmp_path, new_name())
    place.put(0, 40)

    def cut() -> None:
        own_kafka.kill()
        own_kafka.cut_log(place.topic, 0, 0.5)
        own_kafka.start()

    with caplog.at_level(logging.WARNING):
        place.run(
            (place.is_settled(40), cut), (place.counts(20), lambda: place.put(20, 50)), (place.counts(50), nothing)
        )
    assert (
        "reading stood at 40, 20 records beyond the log's end 20: the topic was recreated or truncated" in caplog.text
    )
    assert place.resets() == 1
    assert place.sent()[40:] == list(range(50))
