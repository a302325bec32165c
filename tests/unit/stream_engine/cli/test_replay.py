"""What `replay` sends, in which order and how fast."""

import json
import math
from pathlib import Path

import orjson
import pytest
import typer
from typer.testing import CliRunner

from connectors.file.read import read_table
from stream_engine.cli.progress import shown_progress
from stream_engine.cli.replay import Script, chosen_channel, parse_speed, play, replay
from stream_engine.clock import SystemClock
from stream_engine.codec import decoder_for
from stream_engine.config import Condition, ReadingConfig
from stream_engine.errors import ConfigError
from tests.support.messages import messages
from tests.support.scripted import ListSink

S = 10**9

app = typer.Typer()
app.command()(replay)


def script(path: Path, channel: str | None = None, mask_zeros: bool = False, limit: int | None = None) -> Script:
    events = read_table(path).as_events()
    return Script(events, chosen_channel(events, channel), mask_zeros, limit)


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    path = tmp_path / "roads.csv"
    path.write_text("unique_id,ds,speed,count\nb,200.5,51.5,3\na,100,0,0\na,300,,7\n")
    return path


def test_several_channels_go_as_values(roads: Path) -> None:
    records = list(script(roads).records(0, 3))
    assert [orjson.loads(record.value or b"") for record in records] == [
        {"sensor": "b", "ts": 200_500, "values": {"speed": 51.5, "count": 3.0}},
        {"sensor": "a", "ts": 100_000, "values": {"speed": 0.0, "count": 0.0}},
        {"sensor": "a", "ts": 300_000, "values": {"speed": None, "count": 7.0}},
    ]
    assert [(record.key, record.timestamp_ns) for record in records] == [(b"b", None), (b"a", None), (b"a", None)], (
        "stamped when sent: a topic's retention would remove history stamped with its event time"
    )


def test_a_chosen_channel_goes_as_value_with_the_others_beside_it(roads: Path) -> None:
    records = list(script(roads, "speed", mask_zeros=True).records(0, 3))
    assert [orjson.loads(record.value or b"") for record in records] == [
        {"sensor": "b", "ts": 200_500, "value": 51.5, "count": 3},
        {"sensor": "a", "ts": 100_000, "value": None, "count": 0},
        {"sensor": "a", "ts": 300_000, "value": None, "count": 7},
    ]


@pytest.mark.parametrize("channel", [None, "speed"])
def test_the_engine_reads_what_is_sent(roads: Path, channel: str | None) -> None:
    config = ReadingConfig(valid_where=Condition("count > 0") if channel else None)
    sent = messages([record.value for record in script(roads, channel).records(0, 3)])
    batch, rejects = decoder_for(config, None).decode(sent)
    assert rejects == []
    assert set(batch.channels) == ({""} if channel else {"speed", "count"})
    assert batch.times_ns.max() == 300 * S


def test_at_a_speed_readings_wait_for_their_time(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,y\na,100,1\na,110,2\na,105,3\na,130,4\n")
    sink = ListSink()
    sink.open(1, 1.0)
    with shown_progress("replay", is_shown=False) as bar:
        took_s = play(script(path), sink, 100.0, bar, SystemClock())
    assert 0.3 <= took_s < 2.0  # 30 s of history at a hundred times its pace
    assert [orjson.loads(record.value or b"")["value"] for record in sink.kept] == [1.0, 2.0, 3.0, 4.0]


def test_the_command_writes_what_it_says(roads: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    result = CliRunner().invoke(app, [str(roads), "--to", f"file://{out}", "--limit", "2", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["readings"], told["sensors"], told["data"]) == (2, 2, "roads")
    assert [json.loads(line)["key"] for line in out.read_text().splitlines()] == ["b", "a"]
    result = CliRunner().invoke(app, [str(roads), "--to", f"file://{out}"])
    assert "sent 3 readings of 2 sensors" in result.stdout


def test_speeds() -> None:
    assert parse_speed("max") == math.inf
    assert parse_speed("60") == 60.0
    for text in ("fast", "0", "-1", "nan"):
        with pytest.raises(ConfigError, match="wanted max, or a number above 0"):
            parse_speed(text)
