"""The oracle of Linformer: arXiv:2006.04768, eq. 7, reading by reading in float64.

I know nothing of states: there is none.
"""

import torch
from torch import Tensor

from recurrent_core.ops.run import Run


def attend(q: Tensor, run: Run, key_projection: Tensor, value_projection: Tensor) -> Tensor:
    """head = softmax(Q (E K)' / sqrt(d_k)) F V.

    Args:
        q: [..., window, d_k]; run: the window, zeros where nothing is written.
        key_projection, value_projection: E and F, [rank, window].
    Returns:
        [..., window, d_v] float64.
    """
    run = run.masked()
    weight = run.omega.double().unsqueeze(-1)
    keys = key_projection.double() @ (run.k.double() * weight)
    values = value_projection.double() @ (run.v.double() * weight)
    outputs = []
    for t in range(run.num_readings):
        logits = (keys * q[..., t, None, :].double()).sum(-1) / q.shape[-1] ** 0.5
        outputs.append((torch.softmax(logits, dim=-1).unsqueeze(-1) * values).sum(-2))
    return torch.stack(outputs, dim=-2)
