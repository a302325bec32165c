"""The members' pairs, and their moments summed afresh: the oracle, and the rebuild of last resort.

I know nothing of events or of what the moments are read for.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurrent_core.ops.entropy_equality.moments import Moments


@dataclass(frozen=True, slots=True)
class Pair:
    """One member's key and value in each group: k [..., d_k], v [..., d_v]."""

    k: Tensor
    v: Tensor


def sum_pairs(k: Tensor, v: Tensor, weight: Tensor, *, is_diagonal: bool = False) -> Moments:
    """The moments of all members by two passes, O(members).

    Args:
        k: [..., members, d_k]; v: [..., members, d_v]; where the weight is 0 they may be NaN.
        weight: [..., members], >= 0; 0 leaves the member out.
        is_diagonal: which variant.
    Returns:
        Moments [...] in k's dtype; empty where no member weighs anything.
    """
    counts = (weight > 0).unsqueeze(-1)
    k, v = torch.where(counts, k, torch.zeros_like(k)), torch.where(counts, v, torch.zeros_like(v))
    mass = weight.sum(-1)
    pi = (weight / torch.where(mass > 0, mass, torch.ones_like(mass)).unsqueeze(-1)).unsqueeze(-1)
    key_mean, value_mean = (pi * k).sum(-2), (pi * v).sum(-2)
    delta_k, delta_v = k - key_mean.unsqueeze(-2), v - value_mean.unsqueeze(-2)
    weighted = pi * delta_k
    return Moments(
        mass=mass,
        nu=pi.square().sum((-2, -1)),
        key_mean=key_mean,
        value_mean=value_mean,
        key_cov=(weighted * delta_k).sum(-2) if is_diagonal else weighted.mT @ delta_k,
        cross_cov=weighted.mT @ delta_v,
    )
