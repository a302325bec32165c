"""A Redis that hangs: the engine serves from memory, hardly slower, and saves again when it is back."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_commands import Site, message
from tests.support.program import run_program
from tests.support.redis_server import RedisServer
from tests.support.topics import consume_all, produce
from tests.support.waiting import poll_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

AWAY_S = 8.0
LONGEST_S = 3.0
"""Longest way of a reading: one question of half a second, and what a busy machine adds."""


def stored_position(site: Site) -> int:
    shown = run_program("inspect", "--store", site.redis, "--group", site.topic, "--json")
    return sum(row["position"] for row in json.loads(shown.stdout)["partitions"])


def test_forecasts_flow_while_the_store_hangs_and_state_is_saved_once_it_is_back(
    kafka_servers: str, own_redis: RedisServer, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    site = Site(kafka_servers, own_redis.url, tmp_path, new_topic(1))
    produce(site.kafka, site.topic, [message("a", 0, 1.0)])
    with site.engine("--set", "checkpoint_interval=500ms") as process:
        poll_for(lambda: site.committed() == 1 and stored_position(site) == 1, 60, 0.2, what=site.log.name)
        own_redis.pause()
        ends_s, sent = time.monotonic() + AWAY_S, 1
        while time.monotonic() < ends_s:
            produce(site.kafka, site.topic, [message("a", sent, 1.0)])
            sent += 1
            time.sleep(0.05)
        poll_for(lambda: site.committed() == sent, 30, 0.2)
        own_redis.resume()
        poll_for(lambda: stored_position(site) == sent, 90, 0.5, what="the state of all readings")
        poll_for(lambda: "the store answers again" in site.log.read_text(), 30, 0.2, what=site.log.name)
        assert process.poll() is None
    came_ms = {record.offset: record.timestamp_ms for record in consume_all(site.kafka, site.topic)}
    delays_s = [
        (record.timestamp_ms - came_ms[int(dict(record.headers)["source-offset"])]) / 1000
        for record in consume_all(site.kafka, f"{site.topic}-forecasts")
    ]
    assert len(delays_s) == sent
    print(f"longest way of {sent} readings: {max(delays_s[1:]):.2f} s, median {sorted(delays_s)[sent // 2]:.3f} s")
    assert max(delays_s[1:]) < LONGEST_S, sorted(delays_s)[-10:]
    log = site.log.read_text()
    assert 2 <= log.count("serving from memory") <= 8, "it asks now and then, and less often with time"
    assert log.count("the store answers again") == 1
