"""The oracle of FAVOR+: arXiv:2009.14794, eq. 4 and 5 with lemma 1's features, decayed weights; float64.

I know nothing of states carried over, nor of stabilisers.
"""

from torch import Tensor

from recurrent_core.ops import weighted_sums
from recurrent_core.ops.performer.features import log_features
from recurrent_core.ops.run import Run, log_omega


def attend(q: Tensor, run: Run, directions: Tensor) -> Tensor:
    """D^-1 (Q' (K')^T V), D = diag(Q' (K')^T 1), causal by a mask; q: [..., time, d_k] -> [..., time, d_v] float64."""
    run = run.masked()
    phi_q, phi_k = log_features(q.double(), directions).exp(), log_features(run.k.double(), directions).exp()
    return weighted_sums.reference(phi_q, phi_k, run.v, log_omega(run), run.log_decay)
