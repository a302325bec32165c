"""The oracle: entropy-equality attention as printed, in float64, two passes, masked and quadratic.

I know nothing of states carried over: a run is read from its first pair on. I am slow and plain;
`step` and `chunk` must equal me. I am also the fully parallel form.
"""

import torch
from torch import Tensor

from recurrent_core.ops.entropy_equality.moments import Moments
from recurrent_core.ops.run import Run


def prior_weights(run: Run, *, is_past_only: bool = False) -> tuple[Tensor, Tensor]:
    """pi_ij, the weight of pair j at reading i, and W_i, their sum before it is divided out.

    pi_ij = omega_j exp(L_i - L_j) / W_i for j <= i (j < i if is_past_only), L the sum of log decays.

    Returns:
        pi: [..., time, time], rows that sum to 1, or to 0 where nothing is written yet; W: [..., time].
    """
    run = run.masked()
    total = run.log_decay.double().cumsum(-1)
    time = run.num_readings
    ones = torch.ones(time, time, dtype=torch.bool, device=total.device)
    is_seen = ones.tril(-1 if is_past_only else 0) & run.is_written.unsqueeze(-2)
    log_age = (total.unsqueeze(-1) - total.unsqueeze(-2)).masked_fill(~is_seen, -torch.inf)
    weight = log_age.exp() * run.omega.double().unsqueeze(-2)
    mass = weight.sum(-1)
    return weight / torch.where(mass > 0, mass, torch.ones_like(mass)).unsqueeze(-1), mass


def moments_along(run: Run, *, is_past_only: bool = False, is_diagonal: bool = False) -> Moments:
    """The moments at every reading, from its weights by two passes over the pairs.

    Returns:
        Moments of batch shape [..., time], float64.
    """
    pi, mass = prior_weights(run, is_past_only=is_past_only)
    run = run.masked()
    k, v = run.k.double(), run.v.double()
    key_mean, value_mean = pi @ k, pi @ v
    delta_k, delta_v = _centred(pi, k), _centred(pi, v)
    weighted = pi.unsqueeze(-1) * delta_k
    return Moments(
        mass=mass,
        nu=pi.square().sum(-1),
        key_mean=key_mean,
        value_mean=value_mean,
        key_cov=(weighted * delta_k).sum(-2) if is_diagonal else weighted.mT @ delta_k,
        cross_cov=weighted.mT @ delta_v,
    )


def affine_weights(
    u: Tensor, run: Run, rho2: Tensor | float = 2.0, *, is_past_only: bool = False, is_diagonal: bool = False
) -> Tensor:
    """w_ij = pi_ij (1 + a_i delta_ij),  a_i = 1 / sqrt(1 + x_i / rho^2): what the affine read-out sums values with.

    Args:
        u: scaled queries, [..., time, d_k].
        run: the pairs.
        rho2: cap of the slope.
        is_past_only: a reading does not see its own pair.
        is_diagonal: x_i from the diagonal of C_kk only.
    Returns:
        [..., time, time].
    """
    pi, _ = prior_weights(run, is_past_only=is_past_only)
    k, u = run.masked().k.double(), u.double()
    delta = (_centred(pi, k) @ u.unsqueeze(-1)).squeeze(-1)
    if is_diagonal:
        variance = moments_along(run, is_past_only=is_past_only, is_diagonal=True).key_cov
        x = (u.square() * variance).sum(-1, keepdim=True)
    else:
        x = (pi * delta.square()).sum(-1, keepdim=True)
    return pi * (1.0 + delta / (1.0 + x / rho2).sqrt())


def attend_affine(
    u: Tensor, run: Run, rho2: Tensor | float = 2.0, *, is_past_only: bool = False, is_diagonal: bool = False
) -> Tensor:
    """o_i = sum_j w_ij v_j, summed about vbar_i: [..., time, d_v] float64; arguments as of `affine_weights`."""
    weights = affine_weights(u, run, rho2, is_past_only=is_past_only, is_diagonal=is_diagonal)
    pi, _ = prior_weights(run, is_past_only=is_past_only)
    v = run.masked().v.double()
    return pi @ v + (weights.unsqueeze(-2) @ _centred(pi, v)).squeeze(-2)


def attend_ridge(
    q: Tensor, run: Run, r0: float = 0.03, eps: float = 1e-6, *, rho2: float | None = None, is_past_only: bool = False
) -> Tensor:
    """o_i = vbar + a C_kv' (C_kk + r I)^-1 (q - kbar) with the moments of reading i, r = r0 tr(C_kk) / d_k + eps.

    Args:
        q: queries in the keys' space, [..., time, d_k].
        run: the pairs.
        r0, eps: the ridge.
        rho2: a = 1 / sqrt(1 + z' C_kk z / rho2) if given, else 1.
        is_past_only: a reading does not see its own pair.
    Returns:
        o: [..., time, d_v] float64.
    """
    at = moments_along(run, is_past_only=is_past_only)
    eye = torch.eye(at.d_k, dtype=torch.float64, device=q.device)
    ridge = r0 * (at.key_cov * eye).sum((-2, -1)) / at.d_k + eps
    z: Tensor = torch.linalg.solve(at.key_cov + ridge[..., None, None] * eye, q.double() - at.key_mean)
    shift = (z.unsqueeze(-2) @ at.cross_cov).squeeze(-2)
    if rho2 is not None:
        x = (z * (at.key_cov @ z.unsqueeze(-1)).squeeze(-1)).sum(-1, keepdim=True)
        shift = shift / (1.0 + x / rho2).sqrt()
    return at.value_mean + shift


def _centred(pi: Tensor, pairs: Tensor) -> Tensor:
    """Every pair less its mean at every reading, [..., time, time, d]."""
    return pairs.unsqueeze(-3) - (pi @ pairs).unsqueeze(-2)
