"""What a line of JSON holds, and how the disk's faults are told; the sink's promises are in `tests/contract`."""

import json
from pathlib import Path

import pytest

from connectors.errors import ConnectorConfigError, ServerUnavailableError
from connectors.file.sink import JsonLinesSink
from connectors.records import SinkRecord

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_one_line_a_record_in_order(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.jsonl"
    sink = JsonLinesSink(path)
    sink.open(1, 1.0)
    sink.write([SinkRecord(b"k", b'{"mean": [1.5]}', (("content-type", b"application/json"),), 7)])
    sink.write([SinkRecord(None, None), SinkRecord(b"\xff", b"plain"), SinkRecord(b"k", b"null")])
    sink.flush(1.0)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"key": "k", "value": {"mean": [1.5]}, "headers": {"content-type": "application/json"}, "timestamp_ns": 7},
        {"key": None, "value": None, "headers": {}},
        {"key": {"base64": "/w=="}, "value": "plain", "headers": {}},
        {"key": "k", "value": "null", "headers": {}},
    ]
    sink.close()
    sink.close()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConnectorConfigError, match="cannot be written to"):
        JsonLinesSink(tmp_path).open(1, 1.0)


def test_writing_before_open_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConnectorConfigError, match=r"call open\(\)"):
        JsonLinesSink(tmp_path / "out.jsonl").write([])


def test_a_full_disk_is_told_at_flush(tmp_path: Path) -> None:
    sink = JsonLinesSink(Path("/dev/full"))
    sink.open(1, 1.0)
    sink.write([SinkRecord(b"k", b"v")])
    with pytest.raises(ServerUnavailableError, match="No space left"):
        sink.flush(1.0)
    with pytest.raises(ServerUnavailableError, match="No space left"):
        sink.close()
