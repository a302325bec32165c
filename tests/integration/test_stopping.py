"""How the program is stopped while servers hang: at once at the start, at once by a second signal."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.test_commands import Site, message
from tests.support.kafka_server import KafkaServer
from tests.support.topics import consume_all, create_topic, produce, topic_names
from tests.support.waiting import poll_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def connections(server: str) -> int:
    """How many connections to a loopback port are open, by the kernel's own table."""
    port = f":{int(server.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(port) and row[3] == "01" for row in rows)


@pytest.mark.parametrize("what", ["store", "python", "librdkafka"])
def test_a_stop_does_not_wait_for_a_server_that_is_away_at_the_start(
    mute: str, what: str, redis_url: str, tmp_path: Path
) -> None:
    site = Site(mute, f"redis://{mute}/0" if what == "store" else redis_url, tmp_path, "readings")
    with site.engine("--set", f"kafka.client={'auto' if what == 'store' else what}") as process:
        poll_for(lambda: connections(mute), 60, 0.05, what="the first connection")
        time.sleep(0.3)  # into the client's wait, which shows no sign
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert process.wait(30) == 0, site.log.read_text()
        assert time.monotonic() - began_s < 5
    assert "stopped before the servers were reached" in site.log.read_text()
    assert "Traceback" not in site.log.read_text()


@pytest.mark.parametrize("client", ["python", "librdkafka"])
def test_a_second_signal_stops_at_once(
    own_kafka: KafkaServer, redis_url: str, tmp_path: Path, new_name: Callable[[], str], client: str
) -> None:
    topic = create_topic(own_kafka.servers, new_name())
    site = Site(own_kafka.servers, redis_url, tmp_path, topic)
    produce(site.kafka, topic, [message("a", 1, 1.0)])
    with site.engine(
        "--set", "commit_interval=1h", "--set", "checkpoint_interval=1h", "--set", f"kafka.client={client}"
    ) as process:
        poll_for(lambda: f"{topic}-forecasts" in topic_names(site.kafka), 60, 0.2)
        poll_for(lambda: consume_all(site.kafka, f"{topic}-forecasts"), 60, 0.2)
        own_kafka.pause()
        process.send_signal(signal.SIGTERM)
        poll_for(lambda: "SIGTERM: finishing" in site.log.read_text(), 10)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert process.wait(30) == 128 + signal.SIGTERM, site.log.read_text()
        assert time.monotonic() - began_s < 3
    assert "second signal" in site.log.read_text().splitlines()[-1]
