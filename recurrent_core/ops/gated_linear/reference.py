"""The oracle of gated linear attention: arXiv:2312.06635, eq. 3, reading by reading in float64.

I know nothing of states carried over.
"""

import torch
from torch import Tensor

from recurrent_core.ops.run import Run


def attend(q: Tensor, run: Run) -> Tensor:
    """S_t = Diag(alpha_t) S_{t-1} + omega_t k_t v_t',  o_t = S_t' q_t / sqrt(d_k);  alpha = exp(log_decay + log_gate).

    Args:
        q: [..., time, d_k]; run: the pairs.
    Returns:
        [..., time, d_v] float64.
    """
    run = run.masked()
    q, k, v = q.double(), run.k.double() * run.omega.double().unsqueeze(-1), run.v.double()
    log_alpha = run.log_decay.double().unsqueeze(-1).expand(k.shape)
    log_alpha = log_alpha if run.log_gate is None else log_alpha + run.log_gate.double()
    memory = k.new_zeros(*k.shape[:-2], k.shape[-1], v.shape[-1])
    outputs = []
    for t in range(run.num_readings):
        memory = log_alpha[..., t, :, None].exp() * memory + k[..., t, :, None] * v[..., t, None, :]
        outputs.append((q[..., t, :, None] * memory).sum(-2) / k.shape[-1] ** 0.5)
    return torch.stack(outputs, dim=-2)
