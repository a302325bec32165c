"""Decay of a memory, in log space.

I know nothing of moments: what is decayed is the business of the ops.
"""

from torch import Tensor


def log_decay(elapsed: Tensor, log_tau: Tensor) -> Tensor:
    """The natural log of what is left of the mass after a while: -elapsed / tau.

    Args:
        elapsed: time since the last reading, >= 0, in tau's unit.
        log_tau: log of the time in which the mass falls to 1/e; spreads with elapsed. A learned
            parameter lives here, so that tau stays positive.
    Returns:
        <= 0, in the wider of both dtypes: hand in float64 where gaps may be long.
    """
    return -elapsed * (-log_tau).exp()
