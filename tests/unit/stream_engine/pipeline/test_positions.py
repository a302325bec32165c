"""Where a partition begins, for every combination of store, group and log."""

import pytest

from connectors.records import Bounds
from stream_engine.errors import PositionError
from stream_engine.pipeline import Begin, Choice, where_to_begin

LOG = Bounds(100, 500)


@pytest.mark.parametrize(
    ("stored", "committed", "start", "folded", "emitted"),
    [
        (None, None, "earliest", 100, 100),  # a new group, nothing stored
        (None, None, "latest", 100, 500),  # ... which asks for new readings only: history warms the state in silence
        (300, None, "earliest", 300, 300),  # state without a commit: what it has folded was never promised out
        (300, 400, "earliest", 300, 400),  # the usual restart: silent replay between the two
        (400, 400, "latest", 400, 400),  # a clean stop
        (None, 400, "earliest", 100, 400),  # the store was lost: the state is rebuilt in silence
    ],
)
def test_both_positions(stored: int | None, committed: int | None, start: str, folded: int, emitted: int) -> None:
    assert where_to_begin(stored, committed, LOG, LOG.earliest, Choice(start)) == Begin(folded, emitted)


@pytest.mark.parametrize(
    ("stored", "committed", "start", "folded", "emitted"),
    [
        (None, 400, "earliest", 250, 400),  # the store was lost: the state is rebuilt from there
        (None, 200, "earliest", 200, 200),  # ... but never later than what is still to be sent
        (None, None, "earliest", 100, 100),
        (None, None, "latest", 250, 500),
        (300, 400, "earliest", 300, 400),  # nothing was lost
        (120, 400, "earliest", 120, 400),
    ],
)
def test_a_lost_state_is_rebuilt_from_where_it_is_told(
    stored: int | None, committed: int | None, start: str, folded: int, emitted: int
) -> None:
    assert where_to_begin(stored, committed, LOG, 250, Choice(start)) == Begin(folded, emitted)


RESETS = [
    ("earliest", 100, "forecasts go on at 100 (reset is earliest)"),
    ("latest", 500, "forecasts go on at 500 (reset is latest, 400 records are skipped)"),
]


@pytest.mark.parametrize(("reset", "emitted", "told"), RESETS)
def test_a_commit_beyond_the_log_means_a_recreated_topic(reset: str, emitted: int, told: str) -> None:
    begin = where_to_begin(None, 900, LOG, 100, Choice(reset=reset))
    assert (begin.folded, begin.emitted) == (100, emitted)
    assert (
        "reading stood at 900, 400 records beyond the log's end 500: the topic was recreated or truncated"
        in begin.losses[0]
    )
    assert begin.losses[-1] == told


@pytest.mark.parametrize(("reset", "emitted", "told"), RESETS)
def test_records_removed_before_they_were_read_are_told(reset: str, emitted: int, told: str) -> None:
    begin = where_to_begin(40, 60, LOG, 100, Choice(reset=reset))
    assert (begin.folded, begin.emitted) == (100, emitted)
    assert "40 records were removed" in begin.losses[0]
    assert "stored state stands at 40" in begin.losses[1]
    assert "miss the 60 records removed" in begin.losses[1]
    assert begin.losses[-1] == told


@pytest.mark.parametrize("reset", ["earliest", "latest"])
def test_a_state_that_retention_has_overtaken_moves_no_forecast(reset: str) -> None:
    begin = where_to_begin(40, 300, LOG, 100, Choice(reset=reset))
    assert (begin.folded, begin.emitted, len(begin.losses)) == (100, 300, 1)


@pytest.mark.parametrize(("stored", "committed"), [(None, 900), (None, 60), (40, 60), (40, 300)])
def test_where_it_is_to_fail_the_sentence_says_what_to_do(stored: int | None, committed: int) -> None:
    with pytest.raises(PositionError, match=r"reset is fail: set it to earliest or latest .* start again") as caught:
        where_to_begin(stored, committed, LOG, 100, Choice(reset="fail"))
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("reset", ["earliest", "latest", "fail"])
@pytest.mark.parametrize(("stored", "committed"), [(100, 100), (500, 500), (None, 100), (None, None), (100, 500)])
def test_positions_that_the_log_holds_are_left_alone(reset: str, stored: int | None, committed: int | None) -> None:
    begin = where_to_begin(stored, committed, LOG, 100, Choice(reset=reset))
    assert begin == Begin(stored or 100, committed or 100)
