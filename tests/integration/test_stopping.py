"""How the program is stopped while servers hang: at once at the start, at once by a second signal."""

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
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


def hears(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has a handler for SIGTERM, by the kernel's own table."""
    (line,) = [one for one in Path(f"/proc/{process.pid}/status").read_text().splitlines() if one.startswith("SigCgt")]
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", ["loading", "compiling"])
def test_a_stop_before_there_is_anything_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, number: signal.Signals
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no machine code is kept here"))
    site = Site("127.0.0.1:1", "redis://127.0.0.1:1/0", tmp_path, "readings")
    with site.cold_engine() as process:
        if phase == "loading":
            poll_for(lambda: hears(process), 30)
        else:
            poll_for(lambda: "compiling the model's loops" in site.log.read_text(), 60)
            time.sleep(3.0)  # into the compilation, which shows no sign
        process.send_signal(number)
        began_s = time.monotonic()
        assert process.wait(60) == 0, site.log.read_text()
        assert time.monotonic() - began_s < 2
    assert site.log.read_text().splitlines()[-1] == "stream-engine: stopped before the servers were reached"


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize("client", ["python", "librdkafka"])
def test_a_second_signal_stops_at_once_and_all_is_consistent(
    own_kafka: KafkaServer, redis_url: str, tmp_path: Path, new_name: Callable[[], str], client: str, delivery: str
) -> None:
    topic = create_topic(own_kafka.servers, new_name())
    site = Site(own_kafka.servers, redis_url, tmp_path, topic)
    produce(site.kafka, topic, [message("a", 1, 1.0)])
    asked = ("--set", f"kafka.client={client}", "--set", f"delivery={delivery}")
    with site.engine(*asked, "--set", "commit_interval=1h", "--set", "checkpoint_interval=1h") as process:
        poll_for(lambda: f"{topic}-forecasts" in topic_names(site.kafka), 60, 0.2)
        poll_for(lambda: consume_all(site.kafka, f"{topic}-forecasts", "read_uncommitted"), 60, 0.2)
        own_kafka.pause()
        process.send_signal(signal.SIGTERM)
        poll_for(lambda: "SIGTERM: finishing" in site.log.read_text(), 10)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        began_s = time.monotonic()
        assert process.wait(30) == 128 + signal.SIGTERM, site.log.read_text()
        assert time.monotonic() - began_s < 3
    assert "second signal" in site.log.read_text().splitlines()[-1]
    own_kafka.resume()
    produce(site.kafka, topic, [message("a", 2, 2.0)])
    assert site.run_until(2, *asked) == 0, site.log.read_text()
    records = consume_all(site.kafka, f"{topic}-forecasts")
    minutes = [(orjson.loads(one.value or b"")["origin"] - 1_700_000_000_000) // 300_000 for one in records]
    if delivery == "at_least_once" and len(minutes) == 3:  # else the broker, awake again, has taken the last commit
        minutes.remove(1)
    assert minutes == [1, 2]
