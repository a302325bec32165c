"""The shipped model's training data: what is left out, and that what is generated is fit to learn from."""

import numpy as np
import pytest

from recurrent_core.weights import load_card
from stream_engine.errors import ConfigError
from stream_engine.training.default.generate import KINDS, generated, varied
from stream_engine.training.default.sets import GROUPS, SETS, left_in, trained_on


def test_a_set_is_left_out_with_its_fellows() -> None:
    assert left_in("") == list(SETS)
    left = left_in("pems08_flow_tail")
    assert not set(left) & GROUPS[0]
    assert left == left_in("0")
    assert len(left_in("0,1,2")) == len(GROUPS[3])
    with pytest.raises(ConfigError, match="there is no set 'pems09'"):
        left_in("pems09")


def test_every_set_stands_in_one_group() -> None:
    assert sorted(name for group in GROUPS for name in group) == sorted(SETS)


def test_the_shipped_card_names_the_files_it_has_learned_from() -> None:
    assert load_card()["facts"]["trained_on"] == ["generated series", *trained_on(list(SETS))]
    assert "aarhus_traffic" in trained_on(["aarhus_speed"])


def test_generated_series_are_of_many_kinds_and_the_same_for_a_seed() -> None:
    some = list(generated(40, seed=3, rows=400))
    again = list(generated(40, seed=3, rows=400))
    assert all(np.array_equal(a.values, b.values, equal_nan=True) for a, b in zip(some, again, strict=True))
    assert len({part.step_ns for part in some}) > 5
    assert any(np.isnan(part.values).any() for part in some)
    for part in some:
        assert part.values.shape == (400, 1)
        assert (np.diff(part.times_ns) > 0).all()
        assert np.isfinite(part.values).any()
        assert not np.isinf(part.values).any()
        assert ((part.second_of_week >= 0) & (part.second_of_week < 604800)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_moves(kind: object) -> None:
    assert callable(kind)
    values = kind(np.random.default_rng(0), 300.0 * np.arange(2000), 300.0)
    assert values.shape == (2000,)
    assert np.isfinite(values).all()
    assert values.std() > 0


def test_variations_keep_the_cadence_with_the_times() -> None:
    draw = np.random.default_rng(5)
    part = next(iter(generated(1, seed=1, rows=1000)))
    for _ in range(30):
        new = varied(part, draw, rows=600)
        assert len(new.values) <= 600
        assert np.allclose(np.diff(new.times_ns), new.step_ns, rtol=1e-6)
