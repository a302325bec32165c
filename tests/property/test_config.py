"""Configuration under any text: a tree or one clear sentence; conditions agree with three-valued logic by hand."""

import tempfile
from pathlib import Path

import numpy as np
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_engine.config import Condition, Config, Duration, load_config, print_config
from stream_engine.config.tree import Section
from stream_engine.errors import ConfigError

WHOLE = {"source": "kafka://h:1/t?group=g", "sink": "kafka://h:1/o", "store": "redis://h:1/0"}


def paths(section: type[Section] = Config, prefix: str = "") -> list[str]:
    """Every key, sections among them, dotted."""
    found = []
    for name, field in section.model_fields.items():
        found.append(f"{prefix}{name}")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += paths(field.annotation, f"{prefix}{name}.")
    return found


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["5m", "a == 1", "UTC"])
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3)
)


def load(path=None, overrides=None, environment=None):
    """The configuration, or None where it is refused; any other exception fails the test."""
    try:
        return load_config(path, overrides, environment or {})
    except ConfigError:
        return None


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="replace")))
def test_any_file(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.yaml"
        path.write_bytes(yaml.safe_dump(WHOLE).encode() + content)
        assert isinstance(load(path), Config | None), "a tree or a refusal, never another exception"


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(st.sampled_from(paths()), anything, max_size=4))
def test_any_values_and_what_loads_prints_and_loads(values):
    config = load(None, {**WHOLE, **values})
    if config is None:
        return
    shown = print_config(config)
    again = load(None, yaml.safe_load(shown))
    assert again is not None
    assert print_config(again) == shown


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=12).map(lambda name: f"STREAM_ENGINE__{name}"), st.text(max_size=12), max_size=3)
)
def test_any_environment(environment):
    assert isinstance(load(None, WHOLE, environment), Config | None), "a tree or a refusal, never another exception"


@given(st.integers(0, 2**62))
def test_durations_print_as_they_read(ns):
    assert Duration.parse(str(Duration(ns))).ns == ns


@given(st.text(max_size=30))
def test_any_condition_compiles_or_is_refused(text):
    try:
        condition = Condition(text)
    except ValueError:
        return
    column = np.array([1.0, None, "a", True], dtype=object)
    assert condition.evaluate(dict.fromkeys(condition.fields, column)).shape == (4,)


FIELDS = ("a", "b", "c")
literals = st.integers(-2, 2) | st.floats(-2, 2) | st.sampled_from(["x", "y"])
cells = st.none() | literals | st.booleans() | st.just(float("nan"))
comparisons = st.tuples(st.just("compare"), st.sampled_from(FIELDS), st.sampled_from(["==", "!=", "<", ">="]), literals)
trees = st.recursive(
    comparisons,
    lambda inner: st.tuples(st.just("not"), inner) | st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    max_leaves=6,
)


def written(tree):
    """The condition as text."""
    match tree:
        case ("compare", name, sign, literal):
            return f"{name} {sign} {literal!r}"
        case ("not", part):
            return f"not ({written(part)})"
        case (word, left, right):
            return f"({written(left)}) {word} ({written(right)})"


def truth(tree, row):
    """True, False or None (unknown) for one row of cells."""
    match tree:
        case ("compare", name, sign, literal):
            cell = row[name]
            is_number = isinstance(cell, int | float) and not isinstance(cell, bool) and cell == cell
            if not (isinstance(cell, str) if isinstance(literal, str) else is_number):
                return None
            return {"==": cell == literal, "!=": cell != literal, "<": cell < literal, ">=": cell >= literal}[sign]
        case ("not", part):
            found = truth(part, row)
            return None if found is None else not found
        case (word, left, right):
            found = [truth(left, row), truth(right, row)]
            decisive = word == "or"
            if decisive in found:
                return decisive
            return None if None in found else not decisive


@settings(deadline=None)
@given(trees, st.lists(st.fixed_dictionaries(dict.fromkeys(FIELDS, cells)), min_size=1, max_size=5))
def test_conditions_follow_three_valued_logic(tree, rows):
    columns = {}
    for name in FIELDS:
        columns[name] = np.empty(len(rows), dtype=object)
        columns[name][:] = [row[name] for row in rows]
    found = Condition(written(tree)).evaluate(columns)
    assert found.tolist() == [truth(tree, row) is True for row in rows]
