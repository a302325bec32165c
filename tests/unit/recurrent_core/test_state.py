"""The state layout: names, places, ids."""

import pytest
import torch

from recurrent_core.errors import ConfigError, ShapeError
from recurrent_core.state import StateLayout

PARTS = {"count": (), "ring": (3,), "table": (2, 2)}


def test_parts_lie_one_after_the_other() -> None:
    layout = StateLayout("toy", 1, PARTS)
    assert layout.num_floats == 8
    slab = torch.arange(16.0).reshape(2, 8)
    assert layout.view(slab, "count").tolist() == [0.0, 8.0]
    assert layout.view(slab, "ring")[1].tolist() == [9.0, 10.0, 11.0]
    assert layout.view(slab, "table")[0].tolist() == [[4.0, 5.0], [6.0, 7.0]]
    views = layout.views(slab)
    assert list(views) == list(PARTS)
    assert all(torch.equal(views[part], layout.view(slab, part)) for part in PARTS)


def test_views_share_the_slabs_memory() -> None:
    layout = StateLayout("toy", 1, PARTS)
    slab = layout.zeros(2)
    layout.view(slab, "ring")[1, 2] = 5.0
    layout.views(slab)["count"].add_(1.0)
    assert slab[1].tolist() == [1.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0]


def test_rows_are_gathered_and_scattered_by_slot() -> None:
    layout = StateLayout("toy", 1, PARTS)
    slab = torch.arange(24.0).reshape(3, 8)
    slots = torch.tensor([2, 0])
    rows = layout.gather(slab, slots)
    assert rows[:, 0].tolist() == [16.0, 0.0]
    layout.scatter(slab, slots, -rows)
    assert slab[:, 1].tolist() == [-1.0, 9.0, -17.0]


def test_the_id_follows_from_what_lies_where() -> None:
    same = StateLayout("toy", 1, dict(PARTS))
    others = [
        StateLayout("toy", 2, PARTS),
        StateLayout("other", 1, PARTS),
        StateLayout("toy", 1, {**PARTS, "ring": (4,)}),
        StateLayout("toy", 1, dict(reversed(PARTS.items()))),
    ]
    layout = StateLayout("toy", 1, PARTS)
    assert layout.layout_id == same.layout_id
    assert len({layout.layout_id, *(other.layout_id for other in others)}) == 5


def test_what_does_not_fit_is_refused() -> None:
    layout = StateLayout("toy", 1, PARTS)
    layout.check(layout.zeros(4))
    for slab in (torch.zeros(4, 7), torch.zeros(8), torch.zeros(4, 8, dtype=torch.float64)):
        with pytest.raises(ShapeError, match="slots, 8"):
            layout.check(slab)
    with pytest.raises(ConfigError, match="no part 'rings'; it has count, ring, table"):
        layout.view(layout.zeros(1), "rings")
