"""The oracle of Longformer's pattern (arXiv:2004.05150, sec. 3.1), causal: a mask on softmax's weights; float64.

I know nothing of rings or states carried over.
"""

import torch
from torch import Tensor

from recurrent_core.ops.run import Run, log_ages, log_omega
from recurrent_core.ops.softmax.reference import softmax_or_zero


def attend(q: Tensor, run: Run, window: int, dilation: int, num_global: int) -> Tensor:
    """Softmax attention to the pairs 0, dilation, ..., (window - 1) dilation writes back, and to the first num_global.

    Pairs are counted as they are written: a reading without one takes no place.

    Args:
        q: [..., time, d_k]; run: the pairs.
    Returns:
        [..., time, d_v] float64.
    """
    run = run.masked()
    _, ages = log_ages(run.log_decay)
    num_written = run.is_written.long().cumsum(-1)
    back = num_written.unsqueeze(-1) - num_written.unsqueeze(-2)
    is_near = (back >= 0) & (back < window * dilation) & (back % dilation == 0)
    is_global = (num_written <= num_global).unsqueeze(-2)
    logits = q.double() @ run.k.double().mT / q.shape[-1] ** 0.5 + ages + log_omega(run).double().unsqueeze(-2)
    nothing = torch.full_like(logits, -torch.inf)
    return softmax_or_zero(torch.where(is_near | is_global, logits, nothing)) @ run.v.double()
