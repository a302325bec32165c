"""How entries are packed, from any position in any cut; the source's promises are in `tests/contract`."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.errors import AddressError
from connectors.file.read import read_table
from connectors.file.source import FileSource, Layout
from connectors.file.tables import TableError
from connectors.records import Partition
from connectors.registry import open_source
from stream_engine.codec import decoder_for
from stream_engine.config import ReadingConfig
from tests.unit.connectors.file.forms import FORMS, IDS, TIMES_S, VALUES

pytestmark = pytest.mark.usefixtures("arrow_has_read", "no_leaks")


@pytest.fixture(scope="module")
def arrow_has_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Arrow keeps a thread for reading files from its first one on, for the length of the process."""
    read_table(FORMS["long CSV"](tmp_path_factory.mktemp("first")))


def unpack(value: bytes | None) -> list[dict[str, Any]]:
    assert value is not None
    table = pa.ipc.open_stream(value).read_all()
    times = [name for name in table.column_names if pa.types.is_timestamp(table.schema.field(name).type)]
    for name in times:
        table = table.set_column(table.column_names.index(name), name, table.column(name).cast(pa.int64()))
    return table.to_pylist()


def entries() -> list[tuple[str, int, float]]:
    rows, series = np.nonzero(~np.isnan(VALUES))
    return [
        (IDS[n], int(TIMES_S[r]) * 10**9, float(VALUES[r, n]))
        for r, n in zip(rows.tolist(), series.tolist(), strict=True)
    ]


def drain(source: FileSource, max_records: int) -> list[tuple[int, tuple[str, int, float]]]:
    found = []
    while True:
        polled = source.poll(max_records, 0.0)
        for batch in polled.batches:
            assert len(batch) <= max_records
            for offset, value in zip(batch.offsets.tolist(), batch.values, strict=True):
                for number, row in enumerate(unpack(value)):
                    found.append((offset + number, (row["sensor"], row["ts"], row["value"])))
            assert batch.next_position == found[-1][0] + 1
        if polled.at_end:
            return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 10))
def test_every_entry_comes_once_from_any_position(tmp_path: Path, size: int, max_records: int, start: int) -> None:
    path = FORMS["NPZ events by slot"](tmp_path)
    source = FileSource(path, Layout(entries_per_record=size))
    source.open(lambda _: None, 1.0)
    partition = Partition("t.npz", 0)
    assert source.num_partitions == 1
    assert source.poll(10, 0.0).assigned == {partition}
    assert len(source.poll(10, 0.0)) == 0
    assert source.bounds([partition])[partition] == (0, len(entries()))
    source.seek(partition, start)
    assert drain(source, max_records) == list(enumerate(entries()))[start:]
    source.close()
    source.close()


def test_reading_before_open_says_so(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="not open"):
        FileSource(FORMS["long CSV"](tmp_path)).poll(1, 0.0)


def first_record(path: Path, layout: Layout) -> list[dict[str, object]]:
    source = FileSource(path, layout)
    source.open(lambda _: None, 1.0)
    source.poll(1, 0.0)
    source.seek(Partition(path.name, 0), 0)
    batch = source.poll(1, 0.0).batches[0]
    source.close()
    assert batch.timestamps_ns.tolist() == [200 * 10**9]
    rows = unpack(batch.values[0])
    return [{name: value for name, value in row.items() if name not in ("ts", "when")} for row in rows]


def test_a_channel_is_chosen_and_the_other_columns_stand_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,speed,count,quality\na,100,1.5,2,good\na,200,,0,bad\n")
    layout = Layout(id_column="name", time_column="when", value_column="number", channel="speed")
    assert first_record(path, layout) == [
        {"name": "a", "number": 1.5, "speed": 1.5, "count": 2, "quality": "good"},
        {"name": "a", "number": None, "speed": None, "count": 0, "quality": "bad"},
    ]


def test_several_channels_become_a_row_each(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,speed,count\na,100,1.5,2\na,200,,0\n")
    assert [(row["sensor"], row["channel"], row["value"]) for row in first_record(path, Layout())] == [
        ("a", "speed", 1.5),
        ("a", "count", 2.0),
        ("a", "speed", None),
        ("a", "count", 0.0),
    ]


def test_a_url_chooses_the_channel(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,speed,count\na,200,1.5,2\n")
    source = open_source(f"file://{path}?channel=count")
    source.open(lambda _: None, 1.0)
    source.poll(1, 0.0)
    source.seek(Partition("t.csv", 0), 0)
    assert unpack(source.poll(1, 0.0).batches[0].values[0])[0]["value"] == 2.0
    source.close()
    with pytest.raises(AddressError, match="known: channel=name"):
        open_source(f"file://{path}?chanel=count")


def test_what_is_packed_is_what_the_engine_reads(tmp_path: Path) -> None:
    source = FileSource(FORMS["long CSV"](tmp_path))
    source.open(lambda _: None, 1.0)
    source.poll(1, 0.0)
    source.seek(Partition("t.csv", 0), 0)
    batch, rejects = decoder_for(ReadingConfig(format="packed"), None).decode(source.poll(1, 0.0).batches[0])
    source.close()
    assert rejects == []
    read = list(zip(batch.sensors, batch.times_ns.tolist(), batch.values.tolist(), strict=True))
    assert read == entries()


def test_an_unknown_channel_is_named(tmp_path: Path) -> None:
    source = FileSource(FORMS["long CSV"](tmp_path), Layout(channel="speed"))
    source.open(lambda _: None, 1.0)
    source.poll(1, 0.0)
    source.seek(Partition("t.csv", 0), 0)
    with pytest.raises(TableError, match="no channel 'speed'; it has 'y'"):
        source.poll(1, 0.0)
    source.close()
