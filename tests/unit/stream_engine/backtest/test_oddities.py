"""Odd data is named with its sensors."""

from pathlib import Path

import numpy as np
import pytest

from connectors.file.read import read_table
from stream_engine.backtest.history import Choice, arrival_history, grid_history
from stream_engine.backtest.oddities import check_readings, oddities
from stream_engine.errors import ConfigError

HOUR_S = 3_600


def long(tmp_path: Path, entries: list[tuple[str, int, object]]) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("unique_id,ds,y\n" + "".join(f"{name},{time},{value}\n" for name, time, value in entries))
    return path


def found(path: Path) -> list[str]:
    table = read_table(path)
    history = grid_history(table, Choice()) if table.is_grid else arrival_history(table, Choice())
    return oddities(history, table)


def test_nothing_odd(tmp_path: Path) -> None:
    entries = [(name, HOUR_S * n, n) for name in "ab" for n in range(9)]
    assert found(long(tmp_path, entries)) == []


def test_empty_and_constant_sensors(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    names = "a,b,c,d,e,f,g,h"
    path.write_text(f"time,{names}\n" + "".join(f"{HOUR_S * n},{n},,4,4,4,4,4,4\n" for n in range(5)))
    assert found(path) == [
        "no reading at all, so no forecast: 1 sensor: 'b'",
        "the value never changes: 6 sensors: 'c', 'd', 'e', 'f', 'g' and 1 more",
    ]


def test_doubles_and_disorder_of_long_data_on_a_grid(tmp_path: Path) -> None:
    entries = [("a", HOUR_S * n, n) for n in range(9)] + [("b", HOUR_S * n, n) for n in (0, 2, 1, 3, 4, 4, 5, 6, 7)]
    assert found(long(tmp_path, entries)) == [
        "1 reading at a time that had one before; the first counts: 1 sensor: 'b'",
        "1 reading older than one before in the file; put in order, as on every grid: 1 sensor: 'b'",
    ]


def test_doubles_and_disorder_of_wide_data(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("time,a\n" + "".join(f"{HOUR_S * n},{n}\n" for n in (0, 1, 3, 2, 2, 4)))
    assert found(path) == [
        "1 row at a time that had one before; in each cell the first reading counts",
        "2 rows older than one before in the file; put in order, as on every grid",
    ]


def test_doubles_and_late_ones_off_the_grid(tmp_path: Path) -> None:
    times = [0, 3_601, 7_300, 7_300, 5_000, 11_000]
    entries = [("a", time, n) for n, time in enumerate(times)] + [("b", 100 + 3_500 * n, n) for n in range(9)]
    assert found(long(tmp_path, entries)) == [
        "1 reading at a time that had one before; the first counts: 1 sensor: 'a'",
        "1 reading older than one before in the file; dropped, as live: 1 sensor: 'a'",
    ]


def test_without_any_reading_it_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zeros.npz"
    np.savez(path, values=np.zeros((5, 2)), timestamps=HOUR_S * np.arange(5), sensor_ids=np.array(["a", "b"]))
    table = read_table(path)
    check_readings(grid_history(table, Choice()), path)
    with pytest.raises(ConfigError, match=r"no reading that counts in 10 cells; look at --channel, --mask-zeros"):
        check_readings(grid_history(table, Choice(mask_zeros=True)), path)
