"""Late readings that are merged, through the program itself, killed and started again between them."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner

from stream_engine.cli.checks import check_of_store
from stream_engine.cli.inspect import inspect
from stream_engine.config import load_config
from stream_engine.errors import ConfigError
from tests.integration.test_commands import Site, message
from tests.support.topics import NewRecord, consume_all, produce
from tests.support.waiting import poll_for

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

NUM_TICKS = 60
HALF = [*range(10), *range(14, 30), 12, 10, 30, 31, 13, 11, 11]
"""Ticks of one sensor in order of arrival; the last comes twice."""
REST = [32, 34, 35, 33, *range(36, NUM_TICKS)]
MERGED = {10, 11, 12, 13, 33}
WHOLE = {*range(10), 32, *range(36, NUM_TICKS)}
"""Ticks at which nothing before them is missing."""


def messages(sensor: str, ticks: list[int]) -> list[NewRecord | bytes]:
    return [message(sensor, tick, float(7 * tick % 11)) for tick in ticks]


def forecasts(site: Site, sensor: str) -> dict[int, dict[str, object]]:
    """Tick -> what was sent there."""
    bodies = [orjson.loads(record.value or b"") for record in consume_all(site.kafka, f"{site.topic}-forecasts")]
    mine = [body for body in bodies if body["sensor"] == sensor]
    return {(body["origin"] - 1_700_000_000_000) // 300_000: body for body in mine}


def test_forecasts_after_merged_readings_are_those_after_readings_in_order(
    kafka_servers: str, redis_url: str, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    site = Site(kafka_servers, redis_url, tmp_path, new_topic(2))
    asked = ("--set", "cadence=5m", "--set", "checkpoint_interval=100ms", "--set", "late=merge")
    half = [*messages("late", HALF), *messages("in order", list(range(32)))]
    produce(site.kafka, site.topic, half)
    with site.engine(*asked) as process:
        poll_for(lambda: site.committed() == len(half), 120, 0.1, what=site.log.name)
        process.kill()
    rest = [*messages("late", REST), *messages("in order", list(range(32, NUM_TICKS)))]
    produce(site.kafka, site.topic, rest)
    assert site.run_until(len(half) + len(rest), *asked) == 0, site.log.read_text()

    found, wanted = forecasts(site, "late"), forecasts(site, "in order")
    assert set(wanted) == set(range(NUM_TICKS))
    assert set(found) == set(wanted) - MERGED, "a merged reading emits nothing"
    for tick in WHOLE:
        # JSON rounds to about 1e-3 of the scale
        assert found[tick]["mean"] == pytest.approx(wanted[tick]["mean"], abs=2e-3 * float(str(wanted[tick]["scale"])))
    app = typer.Typer()
    app.command()(inspect)
    told = CliRunner().invoke(app, ["--store", site.redis, "--group", site.topic, "--sensor", "late", "--json"])
    (series,) = orjson.loads(told.stdout)["series"]
    assert (series["readings"], series["state"]["readings"]) == (NUM_TICKS, NUM_TICKS)
    (store,) = check_of_store(load_config(site.config, {"late": "merge"}))
    assert "2 sensors stored" in store.text
    with pytest.raises(ConfigError, match=r"set model back \(and late, if it is or was merge\)"):
        list(check_of_store(load_config(site.config)))
    assert found[31]["mean"] != pytest.approx(wanted[31]["mean"], abs=1e-3), "two readings were still missing"
