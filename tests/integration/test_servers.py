"""The servers of the tests: they start, serve, come back after a kill and leave nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.kafka_server import KafkaServer
from tests.support.topics import NewRecord, consume_all, produce
from tests.support.waiting import poll_for

pytestmark = pytest.mark.servers
ROOT = Path(__file__).resolve().parents[2]


def test_what_is_produced_is_consumed_in_order(kafka_servers, new_topic):
    topic = new_topic(2)
    produce(kafka_servers, topic, [NewRecord(b"%d" % i, b"key", headers=(("h", b"x"),)) for i in range(100)])
    records = consume_all(kafka_servers, topic)
    assert [record.value for record in records] == [b"%d" % i for i in range(100)]
    assert len({record.partition for record in records}) == 1
    assert records[0].headers == (("h", b"x"),)


def test_a_killed_broker_comes_back_with_its_records(own_kafka: KafkaServer, new_name):
    topic = new_name()
    produce(own_kafka.servers, topic, [b"before"])
    own_kafka.kill()
    assert not own_kafka.is_running
    own_kafka.start()
    assert [record.value for record in consume_all(own_kafka.servers, topic)] == [b"before"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_servers_end_with_their_owner_however_it_ends(end):
    code = (
        "import time; from tests.support.redis_server import RedisServer; "
        "server = RedisServer().start(); print(server._process.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert owner.stdout is not None
    with owner, owner.stdout:
        server_pid = int(owner.stdout.readline())
        os.kill(server_pid, 0)
        owner.send_signal(end)
    poll_for(lambda: not _is_alive(server_pid), what="the orphan's end")


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
