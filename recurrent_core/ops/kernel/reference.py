"""The oracle of kernel attention: arXiv:2006.16236, eq. 9, with decayed weights; float64 over all pairs at once.

I know nothing of states carried over.
"""

from collections.abc import Callable

from torch import Tensor

from recurrent_core.ops import weighted_sums
from recurrent_core.ops.run import Run, log_omega


def attend(q: Tensor, run: Run, feature_map: Callable[[Tensor], Tensor]) -> Tensor:
    """V'_i = sum_j w_ij phi(Q_i)'phi(K_j) V_j / sum_j w_ij phi(Q_i)'phi(K_j), j <= i (eq. 9 has w_ij = 1).

    Args:
        q: [..., time, d_k].
        run: the pairs.
        feature_map: phi, >= 0.
    Returns:
        [..., time, d_v] float64.
    """
    run = run.masked()
    phi_q, phi_k = feature_map(q.double()), feature_map(run.k.double())
    return weighted_sums.reference(phi_q, phi_k, run.v, log_omega(run), run.log_decay)
