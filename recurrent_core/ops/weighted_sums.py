"""Decayed sums of features and values, and their ratio: what every rule with a kernel's feature map keeps.

    o_i = sum_j w_ij phi(q_i)'phi(k_j) v_j / sum_j w_ij phi(q_i)'phi(k_j),   w_ij = exp(L_i - L_j + log w_j)

I know nothing of which features. They must be >= 0. The sums are kept as exp(log_scale) times numbers of order 1, so
that time touches `log_scale` alone: no gap and no weight makes them under- or overflow, and after a gap the ratio is
what it was. Nothing written reads 0.
"""

import torch
from torch import Tensor

from recurrent_core.ops.mechanism import State
from recurrent_core.ops.run import log_ages


def parts(num_features: int, d_v: int) -> dict[str, tuple[int, ...]]:
    """The state of one head: log_scale, sums of phi(k) v', sums of phi(k)."""
    return {"log_scale": (), "sums": (num_features, d_v), "mass": (num_features,)}


def fold(phi_k: Tensor, v: Tensor, log_weight: Tensor, log_decay: Tensor, state: State) -> State:
    """Let time pass and write one pair.

    Args:
        phi_k: [..., num_features]; v: [..., d_v], zeros where not written.
        log_weight: [...], -inf where not written.
        log_decay: [...].
    """
    decayed = state["log_scale"] + log_decay
    kept = decayed.masked_fill(~_has_any(state), -torch.inf)
    is_still = kept.isneginf() & log_weight.isneginf()
    scale = torch.where(is_still, decayed, torch.maximum(kept, log_weight)).detach()
    keep, add = (kept - scale).exp().unsqueeze(-1), (log_weight - scale).exp().unsqueeze(-1)
    features = phi_k * add
    return {
        "log_scale": scale,
        "sums": state["sums"] * keep.unsqueeze(-1) + features.unsqueeze(-1) * v.unsqueeze(-2),
        "mass": state["mass"] * keep + features,
    }


def read(phi_q: Tensor, state: State) -> Tensor:
    """The ratio for queries' features [..., n, num_features]: [..., n, d_v]."""
    return _ratio(phi_q @ state["sums"], (phi_q @ state["mass"].unsqueeze(-1)).squeeze(-1))


def block(
    phi_q: Tensor, phi_k: Tensor, v: Tensor, log_weight: Tensor, log_decay: Tensor, state: State
) -> tuple[Tensor, State]:
    """A short run at once: within it by products, what came before by the sums.

    Args:
        phi_q, phi_k: [..., time, num_features]; v: [..., time, d_v].
        log_weight, log_decay: [..., time].
    """
    within, before, end = weigh(phi_k, v, log_weight, log_decay, state)
    scores = (phi_q @ phi_k.mT) * within
    above = scores @ v + (phi_q @ state["sums"]) * before
    below = scores.sum(-1) + ((phi_q @ state["mass"].unsqueeze(-1)) * before).squeeze(-1)
    return _ratio(above, below), end


def weigh(
    phi_k: Tensor, v: Tensor, log_weight: Tensor, log_decay: Tensor, state: State
) -> tuple[Tensor, Tensor, State]:
    """What each reading of a short run weighs to each reader, and the state after the run; arguments as of `block`.

    Weights are taken relative to each reader's heaviest, so that none loses its digits to a later one.

    Returns:
        of the run's pairs, [..., reader, written]; of the state's sums, [..., reader, 1]; the state after the run.
    """
    since, ages = log_ages(log_decay)
    within = ages + log_weight.unsqueeze(-2)
    decayed = since + state["log_scale"].unsqueeze(-1)
    before = decayed.masked_fill(~_has_any(state).unsqueeze(-1), -torch.inf)
    heaviest = torch.maximum(within.amax(-1), before)
    scale = torch.where(heaviest.isneginf(), decayed, heaviest).detach()
    within = (within - scale.unsqueeze(-1)).exp().to(v.dtype)
    before = (before - scale).exp().to(v.dtype).unsqueeze(-1)
    features = phi_k * within[..., -1, :].unsqueeze(-1)
    keep = before[..., -1, :]
    end = {
        "log_scale": scale[..., -1].to(v.dtype),
        "sums": state["sums"] * keep.unsqueeze(-1) + features.mT @ v,
        "mass": state["mass"] * keep + features.sum(-2),
    }
    return within, before, end


def reference(phi_q: Tensor, phi_k: Tensor, v: Tensor, log_weight: Tensor, log_decay: Tensor) -> Tensor:
    """The formula above, in float64, over all pairs at once; arguments as of `block`."""
    _, ages = log_ages(log_decay)
    log_w = ages + log_weight.double().unsqueeze(-2)
    largest = log_w.amax(-1, keepdim=True)
    w = (log_w - torch.where(largest.isneginf(), torch.zeros_like(largest), largest).detach()).exp()
    scores = (phi_q.double() @ phi_k.double().mT) * w
    return _ratio(scores @ v.double(), scores.sum(-1))


def _has_any(state: State) -> Tensor:
    """Whether anything with a feature above 0 has been written, [...]."""
    return (state["mass"] > 0).any(-1)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """above / below, 0 where nothing weighs; above: [..., d], below: [...]."""
    is_there = below > 0
    safe = torch.where(is_there, below, torch.ones_like(below))
    return torch.where(is_there.unsqueeze(-1), above / safe.unsqueeze(-1), torch.zeros_like(above))
