"""The forecast file holds every scored cell under Nixtla's names, or is not there."""

from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from stream_engine.backtest import forecast_file
from stream_engine.backtest.forecast_file import ForecastFile
from stream_engine.backtest.scores import Judged
from stream_engine.errors import ConfigError


def judged(origin_ns: int) -> Judged:
    median = np.array([[5.0, 6.0], [np.nan, np.nan], [7.0, 8.0]])
    return Judged(
        series=np.array([1, 0, 0]),
        origins_ns=np.full(3, origin_ns),
        targets_ns=np.array([[10, 20]] * 3) + origin_ns,
        truths=np.array([[1.0, np.nan], [2.0, 3.0], [4.5, 5.5]]),
        mean=median,
        quantiles=np.stack([median - 1, median, median + 2], axis=1),
        baselines={},
    )


def test_every_scored_cell_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_file, "_ROWS_PER_GROUP", 4)
    with ForecastFile(tmp_path / "deep" / "f.parquet", "best", ("a", "b")) as file:
        for origin_ns in (100, 200, 300):
            file.write(judged(origin_ns))
    table = pyarrow.parquet.read_table(tmp_path / "deep" / "f.parquet")
    assert table.column_names == ["unique_id", "ds", "cutoff", "y", "best", "best-lo-80", "best-hi-80"]
    assert pyarrow.parquet.ParquetFile(tmp_path / "deep" / "f.parquet").num_row_groups == 2
    rows = [list(row) for row in zip(*(table.column(n).cast(t).to_pylist() for n, t in CASTS.items()), strict=True)]
    assert rows[:3] == [
        ["b", 110, 100, 1.0, 5.0, 4.0, 7.0],
        ["a", 110, 100, 4.5, 7.0, 6.0, 9.0],
        ["a", 120, 100, 5.5, 8.0, 7.0, 10.0],
    ]
    assert len(rows) == 9


CASTS = {"unique_id": "string", "ds": "int64", "cutoff": "int64"} | dict.fromkeys(
    ["y", "best", "best-lo-80", "best-hi-80"], "float64"
)


def test_after_a_fault_there_is_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with ForecastFile(tmp_path / "f.parquet", "best", ("a", "b")) as file:
            file.write(judged(100))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="cannot be written to"):
        ForecastFile(tmp_path / "taken" / "f.parquet", "best", ("a",))
