"""Files become parts: cut where asked, sensors numbered, irregular readings put on rows."""

from pathlib import Path

import numpy as np
import pytest

from stream_engine.backtest.history import Choice
from stream_engine.errors import ConfigError
from stream_engine.localtime import Calendar
from stream_engine.training.material import Cuts, Part, read_parts
from tests.unit.stream_engine.training.histories import HOUR_S, MONDAY_S, tide, write_long, write_wide


def read(path: Path, cuts: Cuts | None = None) -> Part:
    (part,) = read_parts([path], Choice(), cuts or Cuts(), Calendar())
    return part


def test_cuts_are_rows_or_times_and_shares_by_default(tmp_path: Path) -> None:
    path = write_wide(tmp_path / "tide.csv", *tide())
    part = read(path, Cuts("200", "240"))
    assert (part.train_end, part.valid_end) == (200, 240)
    part = read(path, Cuts("2023-11-21T00:00:00Z", "2023-11-23T00:30:00Z"))
    assert (part.train_end, part.valid_end) == (8 * 24, 10 * 24 + 1)
    part = read(path)
    assert (part.train_end, part.valid_end) == (int(0.7 * 288), int(0.85 * 288))
    assert read(path, Cuts("200")).valid_end == 288
    assert read(path, Cuts("200", "288")).valid_end == 288
    assert part.second_of_week[:3].tolist() == [0.0, HOUR_S, 2 * HOUR_S]


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        (Cuts("40", "200"), "40 rows before the end of training; wanted at least 96"),
        (Cuts("200", "120"), "--valid-end is row 120 .* before --train-end at row 200"),
        (Cuts("soon"), "--train-end: 'soon' is no time"),
        (Cuts("200", "late"), "--valid-end: 'late' is no time"),
    ],
)
def test_a_refusal_names_its_option(cuts: Cuts, message: str, tmp_path: Path) -> None:
    path = write_wide(tmp_path / "tide.csv", *tide())
    with pytest.raises(ConfigError, match=message):
        read(path, cuts)


def test_no_reading_to_learn_from_is_refused(tmp_path: Path) -> None:
    times_s, values = tide()
    values[:200] = np.nan
    with pytest.raises(ConfigError, match="no reading before the end of training"):
        read(write_wide(tmp_path / "tide.csv", times_s, values), Cuts("200"))


def test_irregular_readings_land_on_the_nearest_row(tmp_path: Path) -> None:
    times_s, values = tide()
    part = read(write_long(tmp_path / "tide.csv", times_s, values, jitter_s=HOUR_S // 4))
    regular = read(write_long(tmp_path / "regular.csv", times_s, values))
    assert abs(part.step_ns / 1e9 - HOUR_S) < 60
    assert abs(part.times_ns[0] / 1e9 - MONDAY_S) <= HOUR_S
    kept = np.isfinite(part.values).sum() / np.isfinite(regular.values).sum()
    assert kept > 0.95, "two readings on one row: a jitter of a quarter seldom brings that"


def test_a_sensor_of_two_files_keeps_its_number(tmp_path: Path) -> None:
    first = write_wide(tmp_path / "first.csv", *tide(num_sensors=2))
    second = write_wide(tmp_path / "second.csv", *tide(num_sensors=3))
    parts = read_parts([first, second], Choice(), Cuts(), Calendar())
    assert [part.numbers.tolist() for part in parts] == [[1, 2], [1, 2, 3]]
    assert [part.name for part in parts] == ["first", "second"]
