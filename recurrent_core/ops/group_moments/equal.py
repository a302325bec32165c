"""Members of equal weight: a new pair takes the place of its member's old one, exactly, in O(d_k d_v).

I know nothing of the members' order in time. Rounding never grows old: a shadow is summed up beside
the live moments, one member an event, and takes their place when it has met every member.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurrent_core.checks import check_shape
from recurrent_core.ops.entropy_equality.moments import Moments, check_pair, select, zeros
from recurrent_core.ops.entropy_equality.step import write
from recurrent_core.ops.group_moments.pairs import Pair


@dataclass(frozen=True, slots=True)
class EqualGroup:
    """The moments of groups whose members all weigh 1; members are numbered 0 ... mass - 1 as they join.

    Attributes:
        live: [...], of all members; float64 advised.
        shadow: [...], of the members below the pointer, summed since the last swap.
        pointer: [...] int64, the member the shadow takes in next.
    """

    live: Moments
    shadow: Moments
    pointer: Tensor


def empty_group(
    batch_shape: tuple[int, ...],
    d_k: int,
    d_v: int,
    *,
    is_diagonal: bool = False,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> EqualGroup:
    """Groups without members; arguments as of `moments.zeros`."""
    moments = zeros(batch_shape, d_k, d_v, is_diagonal=is_diagonal, dtype=dtype, device=device)
    return EqualGroup(moments, moments, torch.zeros(batch_shape, dtype=torch.int64, device=device))


def join(group: EqualGroup, new: Pair) -> EqualGroup:
    """Let one more member into every group, numbered behind all others."""
    return EqualGroup(write(group.live, new.k, new.v), group.shadow, group.pointer)


def replace(group: EqualGroup, member: Tensor, old: Pair, new: Pair, due: Pair) -> EqualGroup:
    """Put a member's new pair in place of its old one, and let the shadow take in one member more.

    Args:
        group: [...], at least one member each.
        member: [...] int64, whose pair it is.
        old: the pair that member had; new: the one it has now.
        due: the pair that member `group.pointer` has now (new, if it is the same member).
    Returns:
        the groups after the event; no rounding in them is older than twice as many events as members.
    """
    check_shape("member", member, *group.pointer.shape)
    live = exchange(group.live, old, new)
    is_in_shadow = member < group.pointer
    shadow = select(is_in_shadow, exchange(group.shadow, old, new), group.shadow)
    shadow = write(shadow, due.k, due.v)
    pointer = group.pointer + 1
    is_full = pointer >= live.mass
    nothing = shadow.map(torch.zeros_like)
    return EqualGroup(
        live=select(is_full, shadow, live),
        shadow=select(is_full, nothing, shadow),
        pointer=torch.where(is_full, torch.zeros_like(pointer), pointer),
    )


def exchange(moments: Moments, old: Pair, new: Pair) -> Moments:
    """One pair of weight 1 for another: N C += D y' + x D' - D D' / N,  mean += D / N.

    D = new - old,  x = old - mean,  y = new - mean  (the mean before). Only C_kv is written out; C_kk alike.

    Args:
        moments: [...] of N = mass pairs, all of weight 1.
        old: one of them; new: what it becomes.
    """
    check_pair(moments, old.k, old.v)
    check_pair(moments, new.k, new.v)
    dtype = moments.mass.dtype
    share = 1.0 / moments.mass.clamp(min=1.0)
    share1, share2 = share.unsqueeze(-1), share[..., None, None]
    d_k, d_v = new.k.to(dtype) - old.k.to(dtype), new.v.to(dtype) - old.v.to(dtype)
    x_k = old.k.to(dtype) - moments.key_mean
    y_k, y_v = new.k.to(dtype) - moments.key_mean, new.v.to(dtype) - moments.value_mean
    if moments.is_diagonal:
        change_kk = share1 * (d_k * y_k + x_k * d_k - share1 * d_k.square())
    else:
        half = _outer(d_k, y_k) + _outer(x_k, d_k)
        change_kk = share2 * (0.5 * (half + half.mT) - share2 * _outer(d_k, d_k))
    change_kv = share2 * (_outer(d_k, y_v - share1 * d_v) + _outer(x_k, d_v))
    return Moments(
        mass=moments.mass,
        nu=moments.nu,
        key_mean=moments.key_mean + share1 * d_k,
        value_mean=moments.value_mean + share1 * d_v,
        key_cov=moments.key_cov + change_kk,
        cross_cov=moments.cross_cov + change_kv,
    )


def _outer(left: Tensor, right: Tensor) -> Tensor:
    """left right', [..., len(left), len(right)]."""
    return left.unsqueeze(-1) * right.unsqueeze(-2)
