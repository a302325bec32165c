"""The list that the test run prints of the rules of attention."""

from tests.support.promises import LIST, told


def test_a_row_for_each_rule_and_a_promise_kept_only_where_every_case_was() -> None:
    here = f"tests/parity/{LIST}::test_"
    kept = [
        f"{here}cut_anywhere[1-elu]",
        f"{here}cut_anywhere[20-elu]",
        f"{here}gradcheck[gla]",
        "tests/other::test_x[elu]",
    ]
    lines = told(kept, [f"{here}cut_anywhere[39-elu]"])
    assert lines[:2] == ["  1  cut anywhere", "  2  gradcheck"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[3:-1]}
    assert rows["elu"] == ["BROKEN", "."]
    assert rows["gla"] == [".", "+"]
    assert rows["softmax"] == [".", "."]


def test_nothing_is_told_where_nothing_was_looked_at() -> None:
    assert told(["tests/other::test_x[elu]"], []) == []
