"""The oracle of the gated delta rule: arXiv:2412.06464, eq. 10, reading by reading in float64.

I know nothing of states carried over.
"""

import torch
from torch import Tensor

from recurrent_core.feature_maps import unit_length
from recurrent_core.ops.run import Run


def attend(q: Tensor, run: Run) -> Tensor:
    """S_t = alpha_t S_{t-1} (I - beta_t k_t k_t') + beta_t v_t k_t' (here transposed),  o_t = S_t q_t / sqrt(d_k).

    Args:
        q: [..., time, d_k]; run: the pairs, beta = omega in [0, 1]. Keys and queries are taken at unit length.
    Returns:
        [..., time, d_v] float64.
    """
    run = run.masked()
    q, k, v, beta = unit_length(q.double()), unit_length(run.k.double()), run.v.double(), run.omega.double()
    memory = k.new_zeros(*k.shape[:-2], k.shape[-1], v.shape[-1])
    outputs = []
    for t in range(run.num_readings):
        memory = run.log_decay[..., t, None, None].double().exp() * memory
        key, strength = k[..., t, :, None], beta[..., t, None, None]
        said = (key * memory).sum(-2, keepdim=True)
        memory = memory + strength * key * (v[..., t, None, :] - said)
        outputs.append((q[..., t, :, None] * memory).sum(-2) / k.shape[-1] ** 0.5)
    return torch.stack(outputs, dim=-2)
