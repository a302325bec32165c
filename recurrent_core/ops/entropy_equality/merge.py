"""Joins the moments of two spans of time into one; associative, with the empty state as identity.

I know nothing of how each side came about: any tree or scan over spans gives what one by one would.
"""

import torch
from torch import Tensor

from recurrent_core.checks import check_broadcast, check_shape
from recurrent_core.ops.entropy_equality.moments import Moments


def single(k: Tensor, v: Tensor, omega: Tensor, *, is_diagonal: bool = False) -> Moments:
    """The moments of one pair: W = omega, nu = 1, no spread; the empty state where omega is 0.

    Args:
        k: [..., d_k]; v: [..., d_v]; of one dtype, float32 or float64.
        omega: [...], >= 0; where it is 0, k and v may be NaN.
        is_diagonal: which variant.
    """
    counts = (omega > 0).unsqueeze(-1)
    k, v = torch.where(counts, k, torch.zeros_like(k)), torch.where(counts, v, torch.zeros_like(v))
    cross_cov = torch.zeros_like(k.unsqueeze(-1) * v.unsqueeze(-2))
    key_cov = torch.zeros_like(k) if is_diagonal else torch.zeros_like(k.unsqueeze(-1) * k.unsqueeze(-2))
    return Moments(omega, (omega > 0).to(omega.dtype), k, v, key_cov, cross_cov)


def merge(earlier: Moments, later: Moments, log_decay: Tensor) -> Moments:
    """The moments of both spans, seen from the end of the later one.

    W = g W_A + W_B,  f = W_B / W,  e = 1 - f;  mean = mean_A + f d,  C = e C_A + f C_B + e f d d'

    Args:
        earlier, later: A and B, of one batch shape and variant.
        log_decay: log g, decay summed over B's span, spreads over [...]. The spans' decays add up.
    Raises:
        ShapeError: if both do not fit each other.
    """
    batch = earlier.batch_shape
    for name in ("mass", "key_mean", "value_mean", "key_cov"):
        check_shape(f"later.{name}", getattr(later, name), *getattr(earlier, name).shape)
    check_broadcast("log_decay", log_decay, *batch)
    kept = earlier.mass * log_decay.exp().to(earlier.mass.dtype)
    mass = kept + later.mass
    has_mass = mass > 0
    safe_mass = torch.where(has_mass, mass, torch.ones_like(mass))
    f = later.mass / safe_mass
    e = torch.where(has_mass, kept / safe_mass, torch.ones_like(mass))
    e1, f1, e2, f2 = e.unsqueeze(-1), f.unsqueeze(-1), e[..., None, None], f[..., None, None]
    d_k, d_v = later.key_mean - earlier.key_mean, later.value_mean - earlier.value_mean
    if earlier.is_diagonal:
        key_cov = e1 * earlier.key_cov + f1 * later.key_cov + e1 * f1 * d_k.square()
    else:
        between = d_k.unsqueeze(-1) * d_k.unsqueeze(-2)
        key_cov = e2 * earlier.key_cov + f2 * later.key_cov + e2 * f2 * between
    between = d_k.unsqueeze(-1) * d_v.unsqueeze(-2)
    return Moments(
        mass=mass,
        nu=e.square() * earlier.nu + f.square() * later.nu,
        key_mean=earlier.key_mean + f1 * d_k,
        value_mean=earlier.value_mean + f1 * d_v,
        key_cov=key_cov,
        cross_cov=e2 * earlier.cross_cov + f2 * later.cross_cov + e2 * f2 * between,
    )
