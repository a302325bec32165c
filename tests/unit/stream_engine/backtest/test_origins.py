"""Origins and the rows of their truths."""

import numpy as np
import pytest

from stream_engine.backtest.origins import grid_origins, parse_start_ns
from stream_engine.errors import ConfigError

S = 10**9


def test_on_a_grid_without_gaps_leads_are_rows() -> None:
    origins = grid_origins(np.arange(10) * 300 * S, 300 * S, 3, 4 * 300 * S)
    assert origins.rows.tolist() == [4, 5, 6]
    assert origins.target_rows.tolist() == [[5, 6, 7], [6, 7, 8], [7, 8, 9]]


def test_the_windows_of_a_published_split() -> None:
    origins = grid_origins(np.arange(10_282) * 300 * S, 300 * S, 12, 3420 * 300 * S)
    assert (len(origins), origins.rows[0], origins.rows[-1]) == (6850, 3409 + 11, 10_258 + 11)


def test_leads_that_fall_into_a_gap_have_no_truth() -> None:
    origins = grid_origins(np.array([0, 1, 2, 7, 8, 9]) * S, S, 2, None)
    assert origins.rows.tolist() == [0, 1, 2, 3]
    assert origins.target_rows.tolist() == [[1, 2], [2, -1], [-1, -1], [4, 5]]


def test_jitter_within_half_a_step_is_no_gap() -> None:
    origins = grid_origins(np.array([0, 99, 205, 301]), 100, 2, None)
    assert origins.target_rows.tolist() == [[1, 2], [2, 3]]


@pytest.mark.parametrize(
    ("text", "start_ns"),
    [
        ("0", 1_700_000_100 * S),
        ("2", 1_700_000_700 * S),
        ("2023-11-14T22:20:00Z", 1_700_000_400 * S),
        ("1700000400", 1_700_000_400 * S),
        ("1700000400000", 1_700_000_400 * S),
        ("2023-11-15", 1_700_006_400 * S),
    ],
)
def test_start_is_a_row_or_a_time(text: str, start_ns: int) -> None:
    assert parse_start_ns(text, (1_700_000_100 + 300 * np.arange(5)) * S) == start_ns


@pytest.mark.parametrize(("text", "message"), [("soon", "is no time"), ("5", "no row 5; its rows are 0 to 4")])
def test_what_is_neither_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_start_ns(text, (1_700_000_100 + 300 * np.arange(5)) * S)
