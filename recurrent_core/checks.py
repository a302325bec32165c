"""Shape, dtype and device checks, made once at the door of an op.

I know nothing of what the tensors mean: I am handed a name to speak of and what was wanted.
"""

import torch
from torch import Tensor

from recurrent_core.errors import ShapeError


def check_shape(name: str, tensor: Tensor, *wanted: int) -> None:
    """Refuse a tensor that is not shaped [*wanted].

    Raises:
        ShapeError: naming the tensor, its shape and the wanted one.
    """
    if tensor.shape != wanted:
        raise ShapeError(f"{name} has shape {list(tensor.shape)}, wanted {list(wanted)}")


def check_broadcast(name: str, tensor: Tensor, *wanted: int) -> None:
    """Refuse a tensor that cannot be spread over [*wanted].

    Raises:
        ShapeError: naming the tensor, its shape and the wanted one.
    """
    sizes = zip(reversed(tensor.shape), reversed(wanted), strict=False)
    if tensor.ndim > len(wanted) or any(size not in (1, want) for size, want in sizes):
        raise ShapeError(f"{name} has shape {list(tensor.shape)}, wanted one that spreads over {list(wanted)}")


def check_state_dtype(name: str, tensor: Tensor) -> None:
    """Refuse a state that is not float32 or float64: half precision loses the moments.

    Raises:
        ShapeError: naming the tensor and its dtype.
    """
    if tensor.dtype not in (torch.float32, torch.float64):
        raise ShapeError(f"{name} is {tensor.dtype}, wanted torch.float32 or torch.float64; inputs may be narrower")


def check_bool(name: str, tensor: Tensor) -> None:
    """Refuse a mask that is not bool.

    Raises:
        ShapeError: naming the tensor and its dtype.
    """
    if tensor.dtype != torch.bool:
        raise ShapeError(f"{name} is {tensor.dtype}, wanted torch.bool")


def check_device(name: str, tensor: Tensor, like: Tensor) -> None:
    """Refuse a tensor that lives elsewhere than like.

    Raises:
        ShapeError: naming the tensor and both devices.
    """
    if tensor.device != like.device:
        raise ShapeError(f"{name} lives on {tensor.device}, wanted {like.device}; move it with .to()")
