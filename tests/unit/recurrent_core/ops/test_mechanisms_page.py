"""docs/mechanisms.md says what is: every rule, its state, whether it streams; and its example runs."""

import re
from pathlib import Path

import pytest

from recurrent_core.ops.mechanism import Recurrence
from recurrent_core.ops.registry import MECHANISMS, make_mechanism

PAGE = Path(__file__).parents[4] / "docs" / "mechanisms.md"
ROW = re.compile(r"^\| \[`(\w+)`\]\(#(\w+)\) \|([^|]*)\|[^|]*\|([^|]*)\|([^|]*)\|([^|]*)\|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, ...]]:
    """The table's rows: name -> anchor, state, streaming, across, mean."""
    return {found[0]: tuple(cell.strip() for cell in found[1:]) for found in ROW.findall(PAGE.read_text())}


def test_every_rule_has_its_row_and_section() -> None:
    assert list(rows()) == list(MECHANISMS)
    assert re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE) == list(MECHANISMS)


@pytest.mark.parametrize("name", MECHANISMS)
def test_the_row_is_true(name: str) -> None:
    rule = make_mechanism(name, 16, 16)
    anchor, state, streaming, across, mean = rows()[name]
    assert anchor == name
    assert streaming == ("yes" if isinstance(rule, Recurrence) else "no")
    assert across == ("no" if rule.why_not_across else "yes")
    assert mean.startswith("yes" if rule.is_normalised else "no")
    if isinstance(rule, Recurrence):
        assert state.split()[0] == str(rule.num_floats)


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102  our own page
    assert tuple(names["outputs"].shape) == (8, 100, 16)  # type: ignore[attr-defined]
