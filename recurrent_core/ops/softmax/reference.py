"""The oracle of oracles: softmax attention (arXiv:1706.03762, eq. 1), causal, with decayed prior weights; float64.

I know nothing of states carried over.
"""

import torch
from torch import Tensor

from recurrent_core.ops.run import Run, log_ages, log_omega


def weights(q: Tensor, run: Run) -> Tensor:
    """p_ij = w_ij exp(q_i'k_j / sqrt(d_k)) / sum_j ...,  w_ij = omega_j exp(L_i - L_j).

    Rows have the sum 1, or 0 before any pair.

    Args:
        q: [..., time, d_k]; run: the pairs.
    Returns:
        [..., time, time] float64.
    """
    run = run.masked()
    _, ages = log_ages(run.log_decay)
    logits = q.double() @ run.k.double().mT / q.shape[-1] ** 0.5 + ages + log_omega(run).double().unsqueeze(-2)
    return softmax_or_zero(logits)


def attend(q: Tensor, run: Run) -> Tensor:
    """sum_j p_ij v_j, [..., time, d_v] float64."""
    return weights(q, run) @ run.masked().v.double()


def softmax_or_zero(logits: Tensor) -> Tensor:
    """Softmax over the last axis, 0 in rows that are -inf throughout."""
    is_empty = logits.isneginf().all(-1, keepdim=True)
    return torch.softmax(logits.masked_fill(is_empty, 0.0), dim=-1).masked_fill(is_empty, 0.0)
