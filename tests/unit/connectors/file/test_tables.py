"""Every form of a table file reads as the same table, and a bad file gives one clear sentence."""

import sys
from pathlib import Path

import numpy as np
import pytest

from connectors.errors import ConnectorConfigError
from connectors.file.read import read_table
from connectors.file.tables import TableError
from tests.unit.connectors.file.forms import FORMS, IDS, STEP_S, TIMES_S, VALUES

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_as_the_same_grid(form: str, tmp_path: Path) -> None:
    table = read_table(FORMS[form](tmp_path))
    assert table.is_grid
    grid = table.as_grid()
    assert grid.ids == IDS
    assert grid.step_ns == STEP_S * 10**9
    np.testing.assert_array_equal(grid.times_ns, TIMES_S * 10**9)
    np.testing.assert_array_equal(grid.floats(table.channel(None)), VALUES)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_reads_as_the_same_entries(form: str, tmp_path: Path) -> None:
    events = read_table(FORMS[form](tmp_path)).as_events()
    rows, series = np.nonzero(~np.isnan(VALUES))
    np.testing.assert_array_equal(events.times_ns, TIMES_S[rows] * 10**9)
    assert [events.ids[n] for n in events.series] == [IDS[n] for n in series]
    np.testing.assert_array_equal(events.floats(events.channel(None)), VALUES[rows, series])


def test_long_data_off_any_common_step_is_no_grid(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,y\na,100,1\na,200,2\nb,133,3\nb,233,4\n")
    table = read_table(path)
    assert not table.is_grid
    assert table.step_ns == 100 * 10**9
    with pytest.raises(TableError, match="no grid"):
        table.as_grid()


def test_long_data_has_a_row_for_every_step_between_its_ends(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,y\na,100,1\na,200,2\na,500,3\na,600,4\n")
    assert read_table(path).as_grid().floats("y")[:, 0].tolist() == pytest.approx(
        [1, 2, np.nan, np.nan, 3, 4], nan_ok=True
    )


def test_hardly_any_rows_filled_is_no_grid(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,y\na,100,1\na,101,2\na,102,2\na,100000,3\n")
    assert not read_table(path).is_grid


def test_entries_keep_their_order_of_arrival_and_the_first_of_a_double_stands(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,y\na,200,1\na,100,2\na,200,3\na,300,4\n")
    table = read_table(path)
    assert table.as_events().floats("y").tolist() == [1, 2, 3, 4]
    assert table.as_grid().floats("y")[:, 0].tolist() == [2, 1, 4]


def test_repeated_and_unsorted_rows_of_wide_data_become_one_row_each(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("t,a,b\n200,1,\n100,2,3\n200,4,5\n300,6,7\n")
    grid = read_table(path).as_grid()
    assert (grid.times_ns // 10**9).tolist() == [100, 200, 300]
    assert grid.floats("value").tolist() == [[2, 3], [1, 5], [6, 7]]


def test_channels_are_chosen_by_name_and_text_is_kept_for_conditions(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,speed,count,quality\na,100,1.5,2,good\na,200,2.5,0,bad\n")
    table = read_table(path)
    assert table.channels == ("speed", "count")
    assert table.channel("count") == "count"
    assert table.as_grid().columns["quality"][:, 0].tolist() == ["good", "bad"]
    with pytest.raises(TableError, match=r"'speed', 'count'.*--channel"):
        table.channel(None)
    with pytest.raises(TableError, match="no channel 'flow'"):
        table.channel("flow")


def test_a_time_index_saved_by_pandas_stands_for_the_first_column(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"a": [1.0, 2.0]}, index=pandas.to_datetime([100, 200], unit="s", utc=True).rename("when"))
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.ids == ("a",)
    assert (table.times_ns // 10**9).tolist() == [100, 200]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "unique_id,y\na,1\n", "no column 'ds'"),
        ("t.csv", "unique_id,ds,y\na,yesterday,1\n", "row 0 has the time 'yesterday'; wanted RFC 3339"),
        ("t.csv", "unique_id,ds,y\na,,1\n", "row 0 has the time ''"),
        ("t.csv", "unique_id,ds,quality\na,100,good\n", "no column of numbers.*row 0 of 'quality' holds 'good'"),
        ("t.csv", "time,a,b\n100,1,x\n200,2,y\n", "column 'b' is not all numbers: row 0 of 'b' holds 'x'"),
        ("t.csv", "name,a\nfoo,1\n", "row 0 has the time 'foo'"),
        ("t.csv", "time,a\n", "0 rows"),
        ("t.csv", "a,b\n1,2\n1,2,3\n", "cannot be read as CSV"),
        ("t.csv", "time,a,a\n1,2,3\n", "'a' twice"),
        ("t.csv", "", "cannot be read as CSV"),
        ("t.parquet", "not parquet", "cannot be read as Parquet"),
        ("t.npz", "not npz", "cannot be read as NPZ"),
        ("t.csv", "time,a\n1000-01-01,1\n", "a column that cannot be read"),
        ("t.xlsx", "", "ends in none of .csv"),
    ],
)
def test_a_bad_file_gives_one_clear_sentence(name: str, content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConnectorConfigError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"values": np.ones((2, 2)), "sensor_ids": np.array(["a", "b"])}, "no array 'timestamps'"),
        ({"values": np.ones((2, 2)), "timestamps": np.arange(2), "sensor_ids": np.array(["a"])}, "wanted \\(2, 1\\)"),
        ({"values": np.array([["x"]]), "timestamps": np.arange(1), "sensor_ids": np.array(["a"])}, "wanted numbers"),
        ({"sensor": np.array([3]), "time_ms": np.array([1]), "v": np.ones(1), "sensor_ids": np.array(["a"])}, "beyond"),
        ({"sensor": np.array([0]), "time_ms": np.array([1]), "sensor_ids": np.array(["a"])}, "field of numbers"),
        ({"values": np.array([None]), "timestamps": np.arange(1), "sensor_ids": np.array(["a"])}, "as NPZ"),
    ],
)
def test_a_bad_npz_names_the_array(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / "t.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is not a file"):
        read_table(tmp_path / "none.csv")


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize(
    ("name", "stem", "channel"),
    [
        ("metr_la_tail65", "metr_la_tail65", None),
        ("pems08_flow_tail", "pems08_flow_tail", None),
        ("birmingham_parking", "birmingham_parking", None),
        ("aarhus_parking", "aarhus_parking", None),
        ("nab_machine_temperature_system_failure", "nab_machine_temperature_system_failure", None),
        ("aarhus_count", "aarhus_traffic", "count"),
    ],
)
def test_the_development_data_reads_as_its_own_loader_reads_it(name: str, stem: str, channel: str | None) -> None:
    sys.path.insert(0, str(DATA))
    try:
        from load import load
    finally:
        sys.path.remove(str(DATA))
    values, times_s, ids = load(name)
    grid = read_table(DATA / f"{stem}.npz").as_grid()
    is_first = np.r_[True, np.diff(times_s) > 0] if stem.startswith("nab") else np.ones(len(times_s), bool)
    assert grid.ids == tuple(ids)
    np.testing.assert_array_equal(grid.times_ns // 10**9, times_s[is_first])
    np.testing.assert_array_equal(grid.floats(grid.channel(channel)).astype(np.float32), values[is_first])
