"""The file source hands every entry out once, in order, from any position."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.file.source import FileSource, Layout
from connectors.file.tables import TableError
from connectors.records import Partition
from tests.unit.connectors.file.forms import FORMS, IDS, TIMES_S, VALUES


def unpack(value: bytes | None) -> list[dict[str, object]]:
    assert value is not None
    return pa.ipc.open_stream(value).read_all().to_pylist()


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
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 12))
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


def test_positions_are_kept_and_revoked(tmp_path: Path) -> None:
    source, partition = FileSource(FORMS["long CSV"](tmp_path)), Partition("t.csv", 0)
    revoked: list[frozenset[Partition]] = []
    source.open(revoked.append, 1.0)
    source.poll(1, 0.0)
    assert source.committed([partition]) == {partition: None}
    source.commit({partition: 3})
    assert source.committed([partition]) == {partition: 3}
    source.close()
    assert revoked == [{partition}]
    with pytest.raises(TableError, match="not open"):
        source.poll(1, 0.0)


def test_columns_are_chosen_and_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,speed,count\na,100,1.5,2\na,200,,0\n")
    layout = Layout(id_column="name", time_column="when", channels={"speed": "value", "count": "count"})
    source = FileSource(path, layout)
    source.open(lambda _: None, 1.0)
    source.poll(1, 0.0)
    source.seek(Partition("t.csv", 0), 0)
    batch = source.poll(1, 0.0).batches[0]
    assert unpack(batch.values[0]) == [
        {"name": "a", "when": 100 * 10**9, "value": 1.5, "count": 2},
        {"name": "a", "when": 200 * 10**9, "value": None, "count": 0},
    ]
    assert batch.timestamps_ns.tolist() == [200 * 10**9]
    source.close()


def test_an_unknown_column_is_named(tmp_path: Path) -> None:
    source = FileSource(FORMS["long CSV"](tmp_path), Layout(channels={"speed": "value"}))
    source.open(lambda _: None, 1.0)
    source.poll(1, 0.0)
    source.seek(Partition("t.csv", 0), 0)
    with pytest.raises(TableError, match="no column 'speed'; it has y"):
        source.poll(1, 0.0)
    source.close()
