"""One reading's work on the moments: decay, write, and the read-outs, for many slots at once.

I know nothing of sequences or of what keys and values stand for. Every function is pure: moments go
in, new ones come out, arguments are left unchanged. Letters as in README.md beside me.
"""

import torch
from torch import Tensor

from recurrent_core.checks import check_bool, check_broadcast, check_shape
from recurrent_core.ops.entropy_equality.moments import Moments, check_pair
from recurrent_core.ops.entropy_equality.solve import solve_spd

MAX_LOGIT_VARIANCE = 1e30
"""x is kept below this, so that it and its square root stay finite in float32."""


def decay(moments: Moments, log_decay: Tensor) -> Moments:
    """Let time pass: W <- W exp(log_decay); means and covariances are free of scale and stay.

    Args:
        moments: [...].
        log_decay: spreads over [...], natural log, <= 0; float64 keeps long gaps exact.
    """
    check_broadcast("log_decay", log_decay, *moments.batch_shape)
    mass = moments.mass * log_decay.exp().to(moments.mass.dtype)
    return Moments(mass, moments.nu, moments.key_mean, moments.value_mean, moments.key_cov, moments.cross_cov)


def write(
    moments: Moments, k: Tensor, v: Tensor, omega: Tensor | float = 1.0, is_written: Tensor | None = None
) -> Moments:
    """Write one pair into every slot, after the decay.

    W' = W + omega,  a = omega / W',  b = W / W';   C <- C + a (b e e' - C),  mean <- mean + a e,
    nu <- b^2 nu + a^2   with e = the pair less its mean

    Args:
        moments: [...]; its dtype is the one computed in.
        k: [..., d_k]; v: [..., d_v]; any floating dtype.
        omega: weight of the pair, >= 0, spreads over [...]; 0 writes nothing.
        is_written: [...] bool; where False the slot keeps its bits, and k, v, omega may be NaN.
    Raises:
        ShapeError: if the arguments disagree.
    """
    check_pair(moments, k, v)
    old_mass = moments.mass
    omega = torch.as_tensor(omega, dtype=old_mass.dtype, device=old_mass.device)
    check_broadcast("omega", omega, *moments.batch_shape)
    k, v = k.to(old_mass.dtype), v.to(old_mass.dtype)
    if is_written is not None:
        check_bool("is_written", is_written)
        check_shape("is_written", is_written, *moments.batch_shape)
        omega = torch.where(is_written, omega, torch.zeros_like(old_mass))
        k = torch.where(is_written.unsqueeze(-1), k, moments.key_mean)
        v = torch.where(is_written.unsqueeze(-1), v, moments.value_mean)
    mass = old_mass + omega
    has_mass = mass > 0
    safe_mass = torch.where(has_mass, mass, torch.ones_like(mass))
    a = omega / safe_mass
    b = torch.where(has_mass, old_mass / safe_mass, torch.ones_like(mass))
    e_k, e_v = k - moments.key_mean, v - moments.value_mean
    if moments.is_diagonal:
        key_cov = _blend(moments.key_cov, e_k.square(), a.unsqueeze(-1), b.unsqueeze(-1))
    else:
        key_cov = _blend(moments.key_cov, _outer(e_k, e_k), a[..., None, None], b[..., None, None])
    return Moments(
        mass=mass,
        nu=b.square() * moments.nu + a.square(),
        key_mean=torch.lerp(moments.key_mean, k, a.unsqueeze(-1)),
        value_mean=torch.lerp(moments.value_mean, v, a.unsqueeze(-1)),
        key_cov=key_cov,
        cross_cov=_blend(moments.cross_cov, _outer(e_k, e_v), a[..., None, None], b[..., None, None]),
    )


def read_affine(moments: Moments, u: Tensor, rho2: Tensor | float = 2.0) -> Tensor:
    """Read with the entropy-matched slope: o = vbar + C_kv' u / sqrt(1 + x / rho^2),  x = u' C_kk u.

    Args:
        moments: [...], full or diagonal.
        u: the scaled query beta q, [..., d_k]; or many to a slot, [..., num_queries, d_k].
        rho2: cap of the slope, > 0, spreads over [...]; 2 is Shannon's entropy.
    Returns:
        o: like u with d_v last, in the moments' dtype; 0 for an empty state.
    """
    queries, is_single = _as_many(moments, u)
    if moments.is_diagonal:
        x = (queries.square() * moments.key_cov.unsqueeze(-2)).sum(-1)
    else:
        x = (_times(queries, moments.key_cov) * queries).sum(-1)
    outputs = _tilt(moments, queries, _slope(x, rho2))
    return outputs.squeeze(-2) if is_single else outputs


def read_positive(moments: Moments, u: Tensor, theta: Tensor | float = 1.0) -> Tensor:
    """Read with weights that are all >= 0: o = vbar + C_kv' u / (theta + u' kbar).

    Args:
        moments: [...] of keys of unit length (`feature_maps.unit_length`).
        u: theta times queries of unit length, [..., d_k] or [..., num_queries, d_k].
        theta: in (0, 1], spreads over [...].
    Returns:
        o: like u with d_v last, in the moments' dtype.
    """
    queries, is_single = _as_many(moments, u)
    m = (queries * moments.key_mean.unsqueeze(-2)).sum(-1)
    floor = torch.finfo(m.dtype).eps
    outputs = _tilt(moments, queries, 1.0 / (_per_slot(theta, m) + m).clamp(min=floor))
    return outputs.squeeze(-2) if is_single else outputs


def relative_ridge(moments: Moments, r0: Tensor | float = 0.03, eps: float = 1e-6) -> Tensor:
    """The ridge r = r0 tr(C_kk) / d_k + eps of each slot, [...].

    Args:
        moments: [...], full.
        r0: share of the mean key variance, spreads over [...]; keep it >= 0.01 in float32.
        eps: keeps r > 0 where the keys do not vary.
    """
    trace = moments.key_cov.diagonal(dim1=-2, dim2=-1).sum(-1)
    return r0 * trace / moments.d_k + eps


def read_ridge(
    moments: Moments,
    q: Tensor,
    ridge: Tensor | float,
    *,
    rho2: Tensor | float | None = None,
    is_key_like: bool = True,
) -> Tensor:
    """Read as a ridge regression of values on keys: o = vbar + C_kv' z,  (C_kk + r I) z = q_c.

    Args:
        moments: [...], full.
        q: [..., d_k], not scaled; or many to a slot, [..., num_queries, d_k].
        ridge: r > 0, spreads over [...]; see `relative_ridge`.
        rho2: if given, z is capped as in the affine read, a = 1 / sqrt(1 + z' C_kk z / rho2); 2 d_k suits.
        is_key_like: q lives where the keys live, so q_c = q - kbar; otherwise q_c = q.
    Returns:
        o: like q with d_v last, in the moments' dtype; 0 for an empty state.
    Raises:
        ShapeError: if the moments are diagonal or q does not fit.
    """
    check_shape("key_cov", moments.key_cov, *moments.batch_shape, moments.d_k, moments.d_k)
    queries, is_single = _as_many(moments, q)
    if is_key_like:
        queries = queries - moments.key_mean.unsqueeze(-2)
    ridge = torch.as_tensor(ridge, dtype=queries.dtype, device=queries.device).expand(moments.batch_shape)
    if rho2 is None and queries.shape[-2] > moments.d_v:
        coefficients = solve_spd(moments.key_cov, ridge, moments.cross_cov)
        outputs = moments.value_mean.unsqueeze(-2) + queries @ coefficients
    else:
        z = solve_spd(moments.key_cov, ridge, queries.mT).mT
        x = None if rho2 is None else (_times(z, moments.key_cov) * z).sum(-1)
        outputs = _tilt(moments, z, None if x is None or rho2 is None else _slope(x, rho2))
    return outputs.squeeze(-2) if is_single else outputs


def _as_many(moments: Moments, q: Tensor) -> tuple[Tensor, bool]:
    """The queries as [..., num_queries, d_k] in the state's dtype, and whether there was one to a slot."""
    is_single = q.ndim == len(moments.batch_shape) + 1
    queries = q.unsqueeze(-2) if is_single else q
    check_shape("queries", queries, *moments.batch_shape, *queries.shape[-2:-1], moments.d_k)
    return queries.to(moments.mass.dtype), is_single


def _slope(x: Tensor, rho2: Tensor | float) -> Tensor:
    """a = 1 / sqrt(1 + x / rho^2) for x of [..., num_queries]."""
    return torch.rsqrt(1.0 + x.clamp(0.0, MAX_LOGIT_VARIANCE) / _per_slot(rho2, x))


def _per_slot(value: Tensor | float, like: Tensor) -> Tensor:
    """A number per slot, ready to meet [..., num_queries]."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).unsqueeze(-1)


def _tilt(moments: Moments, queries: Tensor, slope: Tensor | None) -> Tensor:
    """vbar + a C_kv' query, [..., num_queries, d_v]; a = 1 without a slope."""
    shift = _times(queries, moments.cross_cov)
    if slope is not None:
        shift = shift * slope.unsqueeze(-1)
    return moments.value_mean.unsqueeze(-2) + shift


def _times(queries: Tensor, matrix: Tensor) -> Tensor:
    """queries @ matrix; for one query a sum of products, which is two to three times as fast on a CPU."""
    if queries.shape[-2] == 1:
        return (queries.mT * matrix).sum(-2, keepdim=True)
    return queries @ matrix


def _blend(old: Tensor, spread: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """C + a (b e e' - C), or b C + a b e e' where a >= 1/2; a + b = 1, spread is e e'.

    The first form drifts least over many small writes. After a long gap it would leave rounding of
    the old C's size in a C that is all but zero, which the ridge read-out would then divide by.
    """
    is_small = a < 0.5
    keep, pull = torch.where(is_small, torch.ones_like(b), b), is_small.to(a.dtype)
    step = (old * -pull).addcmul_(spread, b)
    return (old * keep).addcmul_(step, a)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """left right', [..., len(left), len(right)]."""
    return left.unsqueeze(-1) * right.unsqueeze(-2)
