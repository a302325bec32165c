"""The state of entropy-equality attention: first and second moments of keys and values.

I know nothing of how the moments are written or read, and nothing of slots' order or sensors.
The moments are normalised (weighted means, not sums), so that the passing of time touches the mass
alone. Two variants differ in `key_cov` only: the full matrix, or its diagonal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from recurrent_core.checks import check_device, check_shape, check_state_dtype


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted moments of the pairs (k_j, v_j) written so far; an empty state is all zeros.

    `...` is any batch of slots, heads or positions. All of one dtype, float32 or float64.

    Attributes:
        mass: W, [...], decayed mass >= 0.
        nu: sum of squared prior weights, [...]; 1/nu is the effective count, 0 means empty.
        key_mean: [..., d_k].
        value_mean: [..., d_v].
        key_cov: C_kk, [..., d_k, d_k] symmetric; or its diagonal, [..., d_k].
        cross_cov: C_kv, [..., d_k, d_v].
    """

    mass: Tensor
    nu: Tensor
    key_mean: Tensor
    value_mean: Tensor
    key_cov: Tensor
    cross_cov: Tensor

    @property
    def batch_shape(self) -> torch.Size:
        """The leading shape `...`."""
        return self.mass.shape

    @property
    def d_k(self) -> int:
        """Size of a key."""
        return self.key_mean.shape[-1]

    @property
    def d_v(self) -> int:
        """Size of a value."""
        return self.value_mean.shape[-1]

    @property
    def is_diagonal(self) -> bool:
        """Whether key_cov holds the diagonal only."""
        return self.key_cov.ndim == self.key_mean.ndim

    def map(self, change: Callable[[Tensor], Tensor]) -> "Moments":
        """The moments with every field changed alike, as by `.to()` or an index into the batch."""
        return Moments(
            mass=change(self.mass),
            nu=change(self.nu),
            key_mean=change(self.key_mean),
            value_mean=change(self.value_mean),
            key_cov=change(self.key_cov),
            cross_cov=change(self.cross_cov),
        )


def num_floats(d_k: int, d_v: int, *, is_diagonal: bool = False) -> int:
    """Floats of one packed state: 2 + d_k + d_v + d_k d_v, and d_k or d_k (d_k + 1) / 2 for C_kk."""
    return 2 + d_k + d_v + d_k * d_v + (d_k if is_diagonal else d_k * (d_k + 1) // 2)


def zeros(
    batch_shape: tuple[int, ...],
    d_k: int,
    d_v: int,
    *,
    is_diagonal: bool = False,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Moments:
    """The empty state.

    Args:
        batch_shape: the leading shape `...`.
        d_k, d_v: sizes of a key and a value.
        is_diagonal: keep only the diagonal of C_kk (enough for the affine read-out).
        dtype: float32 or float64.
        device: where the state lives.
    """

    def field(*shape: int) -> Tensor:
        return torch.zeros((*batch_shape, *shape), dtype=dtype, device=device)

    key_cov = field(d_k) if is_diagonal else field(d_k, d_k)
    empty = Moments(field(), field(), field(d_k), field(d_v), key_cov, field(d_k, d_v))
    check_state_dtype("the state", empty.mass)
    return empty


def pack(moments: Moments) -> Tensor:
    """Lay the moments out in rows: mass, nu, key_mean, value_mean, C_kk, C_kv.

    Of a full C_kk the upper triangle is kept, row by row.

    Returns:
        [..., num_floats], a new float32 tensor.
    """
    key_cov = moments.key_cov
    if not moments.is_diagonal:
        places, _ = _triangle(moments.d_k, key_cov.device)
        key_cov = key_cov.flatten(-2).index_select(-1, places)
    fields = (
        moments.mass.unsqueeze(-1),
        moments.nu.unsqueeze(-1),
        moments.key_mean,
        moments.value_mean,
        key_cov,
        moments.cross_cov.flatten(-2),
    )
    return torch.cat([field.float() for field in fields], dim=-1)


def unpack(rows: Tensor, d_k: int, d_v: int, *, is_diagonal: bool = False) -> Moments:
    """Read the moments out of the rows that `pack` laid out.

    Args:
        rows: [..., num_floats] float32; left unchanged. Some fields of the answer are views of it.
        d_k, d_v, is_diagonal: as packed.
    Raises:
        ShapeError: if a row has another number of floats.
    """
    batch = rows.shape[:-1]
    check_shape("rows", rows, *batch, num_floats(d_k, d_v, is_diagonal=is_diagonal))
    num_cov = d_k if is_diagonal else d_k * (d_k + 1) // 2
    sizes = [1, 1, d_k, d_v, num_cov, d_k * d_v]
    mass, nu, key_mean, value_mean, key_cov, cross_cov = torch.split_with_sizes(rows, sizes, dim=-1)
    if not is_diagonal:
        _, places = _triangle(d_k, rows.device)
        key_cov = key_cov.index_select(-1, places).reshape(*batch, d_k, d_k)
    return Moments(
        mass=mass.squeeze(-1),
        nu=nu.squeeze(-1),
        key_mean=key_mean,
        value_mean=value_mean,
        key_cov=key_cov,
        cross_cov=cross_cov.reshape(*batch, d_k, d_v),
    )


def select(condition: Tensor, chosen: Moments, other: Moments) -> Moments:
    """The chosen moments where the condition [...] holds, else the other ones."""

    def pick(left: Tensor, right: Tensor) -> Tensor:
        return torch.where(condition.reshape(condition.shape + (1,) * (left.ndim - condition.ndim)), left, right)

    return Moments(
        mass=pick(chosen.mass, other.mass),
        nu=pick(chosen.nu, other.nu),
        key_mean=pick(chosen.key_mean, other.key_mean),
        value_mean=pick(chosen.value_mean, other.value_mean),
        key_cov=pick(chosen.key_cov, other.key_cov),
        cross_cov=pick(chosen.cross_cov, other.cross_cov),
    )


def check_pair(moments: Moments, k: Tensor, v: Tensor) -> None:
    """Refuse a pair that does not fit the state.

    Raises:
        ShapeError: if k is not [..., d_k], v is not [..., d_v], or one lives on another device.
    """
    check_shape("k", k, *moments.batch_shape, moments.d_k)
    check_shape("v", v, *moments.batch_shape, moments.d_v)
    check_device("k", k, moments.mass)
    check_device("v", v, moments.mass)


@cache
def _triangle(d_k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Places of the upper triangle in the flat matrix, and of each of the matrix's cells in the triangle."""
    row, column = torch.triu_indices(d_k, d_k).unbind()
    place = torch.empty(d_k, d_k, dtype=torch.int64)
    place[row, column] = place[column, row] = torch.arange(len(row))
    return (row * d_k + column).to(device), place.flatten().to(device)
