"""Online mixing of read-outs: their arrived errors at a few leads, and the weights these errors earn.

Also the *residual decay* of a memory m: how much of today's y_t - m(t) is left h ticks later. I know nothing of what
the read-outs are, of calendars or of intervals. Errors and sums are kept at the KNOTS and read at any lead, linearly
between knots.
"""

from functools import cache
from itertools import pairwise

import torch
from torch import Tensor

KNOTS = (1, 2, 4, 8, 12)
"""Leads at which errors are tracked."""
LONGEST_KNOT = KNOTS[-1]
PRIOR_READINGS = 2.0
"""Readings that the prior errors count for."""
MOST_READINGS = 100.0
"""Readings beyond which the prior counts no less."""
PRIOR_SQUARE = 0.5
"""Weight of the prior b = 1 in the residual decay, in squared scales."""


@cache
def knot_table(device: torch.device) -> Tensor:
    """Shares of the knots in leads 0 ... LONGEST_KNOT, [LONGEST_KNOT + 1, knots]; lead 0 is read as lead 1."""
    table = torch.zeros(LONGEST_KNOT + 1, len(KNOTS))
    table[0, 0] = 1.0
    for j, knot in enumerate(KNOTS):
        table[knot, j] = 1.0
    for j, (left, right) in enumerate(pairwise(KNOTS)):
        for lead in range(left + 1, right):
            table[lead, j], table[lead, j + 1] = (right - lead) / (right - left), (lead - left) / (right - left)
    return table.to(device)


@cache
def knot_leads(device: torch.device) -> Tensor:
    """The KNOTS as a tensor, [knots] int64."""
    return torch.tensor(KNOTS, device=device)


def at_leads(knot_values: Tensor, leads: Tensor) -> Tensor:
    """Values given at the knots, read at the leads (those past the longest knot as at it).

    Args:
        knot_values: [batch, rows, knots].
        leads: [1 or batch, num_leads] int64, >= 1.
    Returns:
        [batch, rows, num_leads].
    """
    shares = knot_table(knot_values.device)[leads.clamp(max=LONGEST_KNOT)]
    if shares.shape[0] == 1:
        return knot_values @ shares[0].T
    return knot_values @ shares.mT


def learn_errors(errors: Tensor, counts: Tensor, arrived: Tensor, is_arrived: Tensor, floor: float) -> Tensor:
    """The running mean errors after truths have arrived at some knots.

    Args:
        errors: [batch, readouts, knots]; counts: [batch, knots] truths so far, these included.
        arrived: [batch, readouts, knots], sizes of the errors just seen; is_arrived: [batch, knots] float32, 0 or 1.
        floor: least rate.
    """
    rate = (1.0 / counts.clamp(min=1.0)).clamp(min=floor) * is_arrived
    return errors + rate[:, None] * (arrived - errors)


def expected_errors(errors: Tensor, counts: Tensor, scale: Tensor, prior: Tensor) -> Tensor:
    """The errors expected of the read-outs at the knots: the running means, with the prior while they are young.

    Args:
        errors: [batch, readouts, knots]; counts: [batch, knots]; scale: [batch].
        prior: [readouts], errors expected of a new slot, in scales.
    Returns:
        [batch, readouts, knots].
    """
    n = counts.clamp(max=MOST_READINGS)[:, None]
    return (n * errors + PRIOR_READINGS * scale[:, None, None] * prior[None, :, None]) / (n + PRIOR_READINGS)


def weights(expected: Tensor, power: int) -> Tensor:
    """The read-outs' weights at the knots, proportional to error ** -power, summing to 1 over the read-outs.

    Args:
        expected: errors, [batch, readouts, knots], > 0.
    Returns:
        [batch, readouts, knots].
    """
    earned = _power(expected.amin(dim=1, keepdim=True) / expected, power)
    return earned / earned.sum(dim=1, keepdim=True)


def _power(base: Tensor, exponent: int) -> Tensor:
    """base ** exponent by squaring, several times as fast as torch.pow."""
    if exponent == 1:
        return base
    root = _power(base, exponent // 2)
    return root * root * base if exponent % 2 else root * root


def learn_decay(
    cross: Tensor, square: Tensor, now: Tensor, then: Tensor, is_arrived: Tensor, rate: float
) -> tuple[Tensor, Tensor]:
    """The residual decay's sums after one more pair of residuals at each arrived knot.

    Args:
        cross, square: [batch, memories, knots].
        now: [batch, memories], residuals at t in scales; then: [batch, memories, knots], those at t - knot.
        is_arrived: [batch, knots] float32, 0 or 1; rate: forgetting per pair.
    """
    seen = is_arrived[:, None]
    keep = 1.0 - rate * seen
    return keep * cross + seen * now[..., None] * then, keep * square + seen * then.square()


def decay(cross: Tensor, square: Tensor) -> Tensor:
    """b at the knots, in [0, 1.2], [batch, memories, knots]; 1 for a slot that has seen nothing."""
    return ((cross + PRIOR_SQUARE) / (square + PRIOR_SQUARE)).clamp(0.0, 1.2)
