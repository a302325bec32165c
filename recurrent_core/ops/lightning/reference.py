"""The oracle of Lightning Attention-2: arXiv:2401.04658, eq. 2, [(Q K') * M] V, M_ij the decay from j to i; float64.

I know nothing of states carried over.
"""

from torch import Tensor

from recurrent_core.ops.run import Run, log_ages


def attend(q: Tensor, run: Run) -> Tensor:
    """q: [..., time, d_k] -> [..., time, d_v] float64."""
    run = run.masked()
    _, ages = log_ages(run.log_decay)
    mask = ages.exp() * run.omega.double().unsqueeze(-2)
    return ((q.double() @ run.k.double().mT) * mask) @ run.v.double()
