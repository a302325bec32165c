"""Interval widths that learn from their own misses, per side and lead (adaptive conformal offsets).

I know nothing of the forecasts but their errors, and nothing of how they were made. A side's width is its base
distance times exp(offset): the base noted with the forecast (UNIT times the mean |error| expected of it, where no
network says better), the offset raised by a miss and lowered by a hit, so that each side is missed in MISS_RATE of
the cases in the long run.
"""

import torch
from torch import Tensor

MISS_RATE = 0.1
"""Share of truths wanted outside each side of the interval."""
UNIT = 1.6
"""10 % quantile over mean size, nearly the same for normal (1.61) and Laplace (1.61) errors."""
MAX_OFFSET = 1.5
FIRST_GAIN, LEAST_GAIN = 1.0, 0.02
"""An offset moves by max(LEAST_GAIN, FIRST_GAIN / (n + 20)) times miss minus MISS_RATE, n truths so far."""
PRIOR_READINGS = 2.0
PRIOR_ERROR = 1.0
"""Error expected of a new slot's first forecasts, in scales, per square root of the lead."""


def expected_error(errors: Tensor, counts: Tensor, scale: Tensor, knots: Tensor) -> Tensor:
    """Mean |error| expected at the knots, [batch, knots].

    Args:
        errors: [batch, knots] running means; counts: [batch, knots] truths behind them; scale: [batch].
        knots: [knots] leads.
    """
    prior = PRIOR_ERROR * scale[:, None] * knots.sqrt()
    n = counts.clamp(max=100.0)
    return (n * errors + PRIOR_READINGS * prior) / (n + PRIOR_READINGS)


def learn_offsets(offsets: Tensor, counts: Tensor, error: Tensor, sides: Tensor, is_arrived: Tensor) -> Tensor:
    """The offsets after truths have arrived at some knots.

    Args:
        offsets: [batch, 2, knots], lower and upper side.
        counts: [batch, knots] truths so far.
        error: [batch, knots], truth minus forecast; sides: [batch, 2, knots], the distances noted at its origin.
        is_arrived: [batch, knots] float32, 0 or 1.
    """
    below_above = torch.stack([-error, error], dim=1)
    is_miss = (below_above > sides * offsets.exp()).float()
    gain = (FIRST_GAIN / (counts + 20.0)).clamp(min=LEAST_GAIN) * is_arrived
    return (offsets + gain[:, None] * (is_miss - MISS_RATE)).clamp(-MAX_OFFSET, MAX_OFFSET)
