"""Notices that a slot's world has shifted, by the errors of its mix.

A *break* is a reading at which the mix's errors have run far to one side. From then on the running errors stand for few
truths, so that they forget faster, and what was said before the break counts little against the mix. The interval's
*temper*, the log of a factor on its sides, is raised at once and then follows the errors until they have settled. I
know nothing of what else the errors are used for.
"""

import torch
from torch import Tensor

from recurrent_core import mixing
from recurrent_core.config import ElinformerConfig
from recurrent_core.intervals import UNIT
from recurrent_core.models.elinformer.layout import NUM_LEADS, TICK_TURN, Parts

SURPRISE_RATE = 0.25
"""Rate of the running surprise: the mix's signed error over its usual size, mean over the knots."""
MOST_SURPRISE = 6.0
"""A single error counts for no more, so that one outlier is no break."""
YOUNG_TRUTHS = 40.0
"""Truths that the read-outs' running errors stand for, at most, after a break."""
MOST_OLD_ERROR = 3.0
"""Usual errors that an error of what was said before a break counts for, at most."""
CALMING_TICKS = 60.0
"""Ticks after a break in which the temper learns; later it only fades."""
FIRST_TEMPER, MOST_TEMPER = 0.4, 1.0
TEMPER_GAIN, TEMPER_FADE = 0.18, 0.025
MOST_MISS = 2.0
"""An error over the size that its interval tells counts for no more in the temper."""


def ticks_since_break(parts: Parts) -> Tensor:
    """Ticks since the last break, at most CALMING_TICKS (so many, too, where there was none), [batch] float32."""
    stamp = parts["drift"][:, 1]
    ticks = torch.remainder(parts["tick"] + 1.0 - stamp, TICK_TURN).clamp(max=CALMING_TICKS)
    return torch.where(stamp == 0, CALMING_TICKS, ticks)


def notice(parts: Parts, error: Tensor, is_arrived: Tensor, config: ElinformerConfig) -> Tensor:
    """Compare what the mix said a knot ago with the truth; a break is stamped, and the running errors made young.

    Args:
        error: [batch, knots], truth minus mix; is_arrived: [batch, knots] float32, 0 or 1.
    Returns:
        ticks since the last break, as `ticks_since_break` after this reading, [batch] float32.
    """
    drift, since = parts["drift"], ticks_since_break(parts)
    drift[:, 1].mul_(since < CALMING_TICKS)
    counts = is_arrived * (mixing.knot_leads(error.device) <= since[:, None])
    sizes = (error / (parts["mix_errors"] + 1e-30)).clamp(-MOST_SURPRISE, MOST_SURPRISE)
    num = counts.sum(dim=1)
    surprise = (sizes * counts).sum(dim=1) / num.clamp(min=1.0)
    drift[:, 0].lerp_(surprise, SURPRISE_RATE * (num > 0))
    is_old = parts["count"] > 2 * config.warm_up_readings
    is_break = is_old & (num > 0) & (since >= NUM_LEADS) & (drift[:, 0].abs() > config.drift_ratio)
    drift[:, 1].copy_(torch.where(is_break, parts["tick"] + 1.0, drift[:, 1]))
    arrived = parts["arrived"]
    arrived.copy_(torch.where(is_break[:, None], arrived.clamp(max=YOUNG_TRUTHS), arrived))
    return torch.where(is_break, 0.0, since)


def temper(parts: Parts, since: Tensor, error: Tensor, sides: Tensor, is_arrived: Tensor) -> Tensor:
    """Have the temper follow what the final forecasts' errors were beside their interval; returns it as it was before.

    Args:
        since: [batch], ticks since the last break.
        error: [batch, knots], truth minus median; sides: [batch, 2, knots], distances of the outer quantiles without
            the temper; is_arrived: [batch, knots] float32, 0 or 1.
    """
    is_break = since == 0
    before = torch.where(is_break, FIRST_TEMPER, parts["drift"][:, 2])
    knots = mixing.knot_leads(error.device)
    counts = is_arrived * (knots <= since[:, None]) * (since < CALMING_TICKS)[:, None]
    told = sides.sum(dim=1) * before.exp()[:, None] / (2.0 * UNIT)
    beyond = (error.abs() / (told + 1e-30)).clamp(max=MOST_MISS) - 1.0
    step = (beyond * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1.0)
    after = ((1.0 - TEMPER_FADE) * before + TEMPER_GAIN * step).clamp(-MOST_TEMPER, MOST_TEMPER)
    parts["drift"][:, 2].copy_(torch.where(is_break, before, after))
    return before
