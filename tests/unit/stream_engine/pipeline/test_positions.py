"""Where a partition begins, for every combination of store, group and log."""

import pytest

from connectors.records import Bounds
from stream_engine.pipeline import Begin, where_to_begin

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
    assert where_to_begin(stored, committed, LOG, LOG.earliest, start) == Begin(folded, emitted)


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
    assert where_to_begin(stored, committed, LOG, 250, start) == Begin(folded, emitted)


def test_a_commit_beyond_the_log_means_a_recreated_topic() -> None:
    begin = where_to_begin(None, 900, LOG, 100, "earliest")
    assert (begin.folded, begin.emitted) == (100, 100)
    assert "recreated" in begin.warnings[0]


def test_records_removed_before_they_were_read_are_told() -> None:
    begin = where_to_begin(40, 60, LOG, 100, "earliest")
    assert (begin.folded, begin.emitted) == (100, 100)
    assert "40 records were removed" in begin.warnings[0]
    assert "stored state stands at 40" in begin.warnings[1]
