"""The oracle of diagonal attention: arXiv:2105.14103, eq. 3 (AFT-simple) made causal and decayed; float64.

I know nothing of states carried over.
"""

import torch
from torch import Tensor

from recurrent_core.ops.run import Run, log_ages, log_omega


def attend(q: Tensor, run: Run) -> Tensor:
    """Y_i = sigmoid(Q_i) * sum_j w_ij exp(K_j) * V_j / sum_j w_ij exp(K_j), * channel by channel, j <= i.

    Args:
        q: [..., time, d]; run: pairs with d_k = d_v = d.
    Returns:
        [..., time, d] float64.
    """
    run = run.masked()
    decay = run.log_decay.double().unsqueeze(-1).expand(run.k.shape)
    _, ages = log_ages((decay if run.log_gate is None else decay + run.log_gate.double()).mT)
    log_w = ages + (run.k.double().mT + log_omega(run).double().unsqueeze(-2)).unsqueeze(-2)
    largest = log_w.amax(-1, keepdim=True)
    w = (log_w - torch.where(largest.isneginf(), torch.zeros_like(largest), largest).detach()).exp()
    total = w.sum(-1)
    mean = (w @ run.v.double().mT.unsqueeze(-1)).squeeze(-1) / torch.where(total > 0, total, torch.ones_like(total))
    return torch.sigmoid(q.double()) * mean.mT
