"""`replay` against a real broker: the topic is made, and every reading arrives once, in its sensor's order."""

import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from connectors.file.read import read_table
from connectors.registry import open_sink
from stream_engine.cli.progress import shown_progress
from stream_engine.cli.replay import Script, play
from stream_engine.clock import SystemClock
from tests.support.topics import consume_all

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("client", ["python", "librdkafka"])
def test_history_to_a_missing_topic(
    client: str, kafka_servers: str, new_name: Callable[[], str], tmp_path: Path
) -> None:
    path, topic = tmp_path / "t.csv", new_name()
    rows = [(f"s-{number}", 1_700_000_100 + 300 * row) for row in range(50) for number in range(20)]
    path.write_text("unique_id,ds,y\n" + "".join(f"{sensor},{time},1.5\n" for sensor, time in rows))
    events = read_table(path).as_events()
    sink = open_sink(f"kafka://{kafka_servers}/{topic}", client=client)
    sink.open(3, 30.0)
    with shown_progress("replay", is_shown=False) as bar:
        play(Script(events, "y", False, None), sink, float("inf"), bar, SystemClock())
    sink.close()
    records = consume_all(kafka_servers, topic)
    assert {record.partition for record in records} == {0, 1, 2}
    found: dict[str, list[int]] = {}
    for record in sorted(records, key=lambda one: (one.partition, one.offset)):
        body = orjson.loads(record.value or b"")
        assert record.key == body["sensor"].encode()
        assert abs(record.timestamp_ms / 1000 - time.time()) < 600, "stamped when sent"
        found.setdefault(body["sensor"], []).append(body["ts"] // 1_000)
    assert found == {f"s-{n}": [time for sensor, time in rows if sensor == f"s-{n}"] for n in range(20)}
