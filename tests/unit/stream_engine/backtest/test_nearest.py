"""The nearest time is found as a plain search finds it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_engine.backtest.nearest import NONE, SeriesTimes, nearest_rows

times = st.lists(st.integers(0, 60), min_size=1, max_size=12)


def plain(candidates: list[tuple[int, int]], wanted: int, tolerance: int) -> int:
    """Number of the nearest (number, time); of equally near ones the earlier time, then the lower number."""
    near = [(abs(time - wanted), time, number) for number, time in candidates if abs(time - wanted) <= tolerance]
    return min(near)[2] if near else NONE


@given(times, st.lists(st.integers(-10, 70), min_size=1, max_size=8), st.integers(0, 9))
def test_in_one_list(found: list[int], wanted: list[int], tolerance: int) -> None:
    rows = np.unique(found)
    expected = [plain(list(enumerate(rows.tolist())), one, tolerance) for one in wanted]
    assert nearest_rows(rows, np.array(wanted), tolerance).tolist() == expected


@given(st.data())
def test_in_many_lists(data: st.DataObject) -> None:
    times_ns = np.array(data.draw(st.lists(st.integers(0, 40), max_size=20, unique=True)), np.int64)
    num = len(times_ns)
    series = np.array(data.draw(st.lists(st.integers(0, 3), min_size=num, max_size=num)), np.int64)
    is_kept = np.array(data.draw(st.lists(st.booleans(), min_size=num, max_size=num)), np.bool_)
    asked = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 45), st.integers(0, 9)), min_size=1))
    columns = [np.array(column, np.int64) for column in zip(*asked, strict=True)]
    expected = [
        plain([(n, int(times_ns[n])) for n in range(num) if is_kept[n] and series[n] == one], wanted, tolerance)
        for one, wanted, tolerance in asked
    ]
    assert SeriesTimes.of(series, times_ns, is_kept, 4).nearest(*columns).tolist() == expected


def test_of_two_entries_at_one_time_the_first_is_found() -> None:
    times = SeriesTimes.of(np.zeros(3, np.int64), np.array([5, 5, 9]), np.ones(3, np.bool_), 1)
    assert times.nearest(np.array([0]), np.array([5]), np.array([2])).tolist() == [0]
