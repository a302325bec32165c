"""The oracle of attention to bounded memory: arXiv:2110.02488, eq. 4 and 5, with decayed weights; float64.

I know nothing of states carried over.
"""

import torch
from torch import Tensor

from recurrent_core.feature_maps import unit_length
from recurrent_core.ops.run import Run, log_ages


def attend(q: Tensor, run: Run, control: Tensor) -> Tensor:
    """K~ = sum_j phi_j k_j', V~ = sum_j phi_j v_j', o = V~' softmax(K~ q / sqrt(d_k)), where
    phi_sj = w_ij exp(c_s'k_j / |k_j|) / sum_j' ... over the pairs up to the reader.

    Args:
        q: [..., time, d_k]; run: the pairs.
        control: c, [num_slots, d_k].
    Returns:
        [..., time, d_v] float64.
    """
    run = run.masked()
    _, ages = log_ages(run.log_decay)
    k, v = run.k.double(), run.v.double()
    let_in = (unit_length(k) @ control.double().T).exp() * run.omega.double().unsqueeze(-1)
    outputs = []
    for t in range(run.num_readings):
        weight = ages[..., t, :, None].masked_fill(~run.is_written.unsqueeze(-1), -torch.inf)
        newest = weight.amax(-2, keepdim=True)
        newest = torch.where(newest.isneginf(), torch.zeros_like(newest), newest)
        phi = (weight - newest).exp() * let_in
        mass = phi.sum(-2).unsqueeze(-1)
        phi = phi.mT / torch.where(mass > 0, mass, torch.ones_like(mass))
        logits = (phi @ k @ q[..., t, :, None].double()) / q.shape[-1] ** 0.5
        outputs.append((torch.softmax(logits, dim=-2) * (phi @ v)).sum(-2))
    return torch.stack(outputs, dim=-2)
