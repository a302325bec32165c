"""The oracle of rank-augmented linear attention (arXiv:2411.07635): as printed, and our causal form; float64.

I know nothing of states carried over. The rule's second half, phi(x) times the output, channel by channel, is a
gate on the output and belongs to the layer around me.
"""

import torch
from torch import Tensor

from recurrent_core.ops import weighted_sums
from recurrent_core.ops.kernel.mechanism import Elu
from recurrent_core.ops.run import Run, log_ages, log_omega


def attend_whole(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As printed, every query over all pairs: alpha_j = N softmax_j(Q_g K_j' / sqrt(d)), Q_g the mean query;
    Y_i = kappa(Q_i) (sum_j alpha_j kappa(K_j)' V_j) / sum_j alpha_j kappa(Q_i) kappa(K_j)'.

    Args:
        q, k: [..., time, d_k]; v: [..., time, d_v].
    Returns:
        [..., time, d_v] float64.
    """
    phi_q, phi_k = Elu.feature_map(q.double()), Elu.feature_map(k.double())
    mean_query = phi_q.mean(-2, keepdim=True)
    alpha = torch.softmax((phi_k * mean_query).sum(-1) / q.shape[-1] ** 0.5, dim=-1)
    scores = (phi_q @ phi_k.mT) * alpha.unsqueeze(-2)
    return (scores @ v.double()) / scores.sum(-1, keepdim=True)


def attend(q: Tensor, run: Run) -> Tensor:
    """The causal form: Q_g is the decayed mean of the queries up to the reading that writes; the softmax's
    denominator falls out of the ratio. q: [..., time, d_k] -> [..., time, d_v] float64."""
    run = run.masked()
    phi_q, phi_k = Elu.feature_map(q.double()), Elu.feature_map(run.k.double())
    _, ages = log_ages(run.log_decay)
    mean_query = torch.softmax(ages, dim=-1) @ phi_q
    log_alpha = (phi_k * mean_query).sum(-1) / q.shape[-1] ** 0.5
    return weighted_sums.reference(phi_q, phi_k, run.v, log_omega(run) + log_alpha, run.log_decay)
