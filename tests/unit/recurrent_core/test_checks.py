"""The checks at the door say what was found and what was wanted."""

import pytest
import torch

from recurrent_core.checks import check_bool, check_broadcast, check_device, check_shape, check_state_dtype
from recurrent_core.errors import ShapeError

X = torch.zeros(2, 3)


def test_what_fits_passes() -> None:
    check_shape("x", X, 2, 3)
    for spread in (torch.zeros(()), torch.zeros(3), torch.zeros(1, 3), torch.zeros(2, 1), X):
        check_broadcast("x", spread, 2, 3)
    check_state_dtype("x", X)
    check_state_dtype("x", X.double())
    check_bool("x", X > 0)
    check_device("x", X, X)


@pytest.mark.parametrize("spread", [torch.zeros(2), torch.zeros(4, 2, 3), torch.zeros(3, 3)])
def test_what_does_not_spread_is_refused(spread: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"wanted one that spreads over \[2, 3\]"):
        check_broadcast("x", spread, 2, 3)


def test_other_misfits_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"x has shape \[2, 3\], wanted \[3, 2\]"):
        check_shape("x", X, 3, 2)
    with pytest.raises(ShapeError, match=r"x is torch.float16, wanted torch.float32 or torch.float64"):
        check_state_dtype("x", X.half())
    with pytest.raises(ShapeError, match=r"x is torch.float32, wanted torch.bool"):
        check_bool("x", X)
    with pytest.raises(ShapeError, match="x lives on meta, wanted cpu"):
        check_device("x", X.to("meta"), X)
