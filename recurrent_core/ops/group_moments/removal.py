"""Takes a pair out of the moments again: for members weighed by age, and to read all others but one.

I know nothing of who keeps the pairs. Taking out nearly all the mass would leave rounding behind, so
below a guard the caller's pairs are summed afresh instead.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from recurrent_core.checks import check_shape
from recurrent_core.ops.entropy_equality.moments import Moments, check_pair, select
from recurrent_core.ops.entropy_equality.step import read_affine, write
from recurrent_core.ops.group_moments.pairs import Pair

MIN_FRACTION = {torch.float64: 1e-4, torch.float32: 1e-2}
"""The share of the mass that must remain for a pair to be taken out by subtraction."""


def remove(moments: Moments, old: Pair, omega: Tensor, rebuild: Callable[[], Moments] | None = None) -> Moments:
    """Take a pair out: the write with weight -omega, and nu <- b^2 nu - a^2.

    Args:
        moments: [...], in which the pair stands.
        old: the pair as it was written.
        omega: [...], what it weighs by now, >= 0: 1, or exp(-age / tau) if the mass decays.
        rebuild: gives the moments [...] of the pairs that remain; asked once if any group falls below
            the guard, and used for those alone. Without it they become empty, which is right
            where all members weigh 1 and the last one leaves.
    Returns:
        the moments of the others.
    """
    check_pair(moments, old.k, old.v)
    check_shape("omega", omega, *moments.batch_shape)
    mass = moments.mass - omega
    is_safe = (mass >= MIN_FRACTION[mass.dtype] * moments.mass) & (mass > 0) | (omega == 0)
    safe_mass = torch.where(is_safe & (mass > 0), mass, torch.ones_like(mass))
    a = torch.where(is_safe, omega / safe_mass, torch.zeros_like(mass))
    b = torch.where(is_safe & (mass > 0), moments.mass / safe_mass, torch.ones_like(mass))
    a1, a2, b2 = a.unsqueeze(-1), a[..., None, None], b[..., None, None]
    e_k, e_v = old.k.to(mass.dtype) - moments.key_mean, old.v.to(mass.dtype) - moments.value_mean
    if moments.is_diagonal:
        key_cov = moments.key_cov - a1 * (b.unsqueeze(-1) * e_k.square() - moments.key_cov)
    else:
        key_cov = moments.key_cov - a2 * (b2 * (e_k.unsqueeze(-1) * e_k.unsqueeze(-2)) - moments.key_cov)
    others = Moments(
        mass=mass,
        nu=b.square() * moments.nu - a.square(),
        key_mean=moments.key_mean - a1 * e_k,
        value_mean=moments.value_mean - a1 * e_v,
        key_cov=key_cov,
        cross_cov=moments.cross_cov - a2 * (b2 * (e_k.unsqueeze(-1) * e_v.unsqueeze(-2)) - moments.cross_cov),
    )
    if bool(is_safe.all()):
        return others
    afresh = others.map(torch.zeros_like) if rebuild is None else rebuild()
    return select(is_safe, others, afresh)


def replace_aged(
    moments: Moments, old: Pair, new: Pair, omega: Tensor, rebuild: Callable[[], Moments] | None = None
) -> Moments:
    """Put a member's new pair of weight 1 in place of its old one, which weighs omega by now.

    The caller has let time pass (`step.decay`) before. Arguments as of `remove`.
    """
    return write(remove(moments, old, omega, rebuild), new.k, new.v)


def read_others(
    moments: Moments,
    own: Pair,
    omega: Tensor,
    u: Tensor,
    rho2: Tensor | float = 2.0,
    rebuild: Callable[[], Moments] | None = None,
) -> Tensor:
    """The affine read-out of all members but one, in float32; 0 where there are no others.

    Args:
        moments, own, omega, rebuild: as of `remove`.
        u: scaled queries, [..., d_k].
        rho2: cap of the slope.
    Returns:
        o: [..., d_v] float32.
    """
    others = remove(moments, own, omega, rebuild)
    return read_affine(others.map(Tensor.float), u, rho2)
