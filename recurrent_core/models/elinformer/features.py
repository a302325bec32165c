"""The features of a slot at an origin, as the network on top of the mix reads them: places, sizes, and torch's way.

I know nothing of networks. Lengths are in scales; nothing is squashed here.
"""

import torch
from torch import Tensor

from recurrent_core import calendar, mixing
from recurrent_core.models.elinformer.forecast import PROFILE_LAGS, Forecast, Origin
from recurrent_core.models.elinformer.layout import NUM_KNOTS, NUM_LEADS, READOUTS, TICK_TURN, Parts

LAGS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16)
NUM_PAST = NUM_LEADS - 1
"""Residuals of the ticks before the origin."""
NUM_LENGTHS = len(LAGS) + 6 + calendar.NUM_MEMORIES + NUM_PAST + 2 * NUM_KNOTS + len(PROFILE_LAGS) + 2 * NUM_LEADS
"""Features that are lengths: of the lags, of the ring and the running means, of residuals, of errors, of the profile
before and ahead, of the mix."""
NUM_OTHERS = NUM_KNOTS + 12
"""Features that are none: logs of expected errors, and what stands in `_others`."""
OF_NEWEST = (slice(0, len(LAGS) + 6), slice(NUM_LENGTHS - len(PROFILE_LAGS) - 2 * NUM_LEADS, NUM_LENGTHS))
"""Features that are distances from the newest value; the other lengths are errors of a kind."""
COUNT = NUM_LENGTHS + NUM_KNOTS
"""Place of the log of the count of readings."""
GAP = COUNT + 11
"""Place of log(1 + ticks since the last reading)."""
DAY_SINE = NUM_LENGTHS + NUM_KNOTS + 8
"""Place of the time of day's sine; its cosine follows."""
NUM_CONTEXT = NUM_LENGTHS + NUM_OTHERS
NUM_GRID = len(READOUTS) * NUM_KNOTS
NUM_FEATURES = NUM_CONTEXT + 2 * NUM_GRID
"""Context, then (read-out - mix) / error and log(error of the read-out / error), both [readouts, knots]."""
MOST_SCALES = 1e4
MOST_ERRORS = 20.0
MOST_LOG = 10.0
MOST_COUNT = 1000.0
"""Readings beyond which a slot counts as old: a network must not meet counts it has never seen."""
SHAPE_MEMORY = 2
"""The memory whose past residuals are features: the class of day's profile."""


def features(parts: Parts, origin: Origin, said: Forecast) -> Tensor:
    """The features of every slot, [batch, NUM_FEATURES] float32."""
    knots = mixing.knot_leads(said.mix.device)
    newest, scale = parts["ring"][:, :1], said.scale[:, None]
    mix = said.mix[:, :NUM_LEADS] - newest
    error = said.error[:, knots - 1].clamp(min=1e-30)
    past, is_noted = _past(parts)
    lengths = torch.cat([_lengths(parts, newest, past), said.profile, mix], dim=1) / scale
    logs = (error / scale).log().clamp(-MOST_LOG, MOST_LOG)
    apart = (said.outs[..., knots - 1] - mix[:, None, knots - 1]) / error[:, None]
    ratios = (said.errors / error[:, None]).clamp(min=1e-30).log()
    return torch.cat(
        [
            lengths.clamp(-MOST_SCALES, MOST_SCALES),
            logs,
            _others(parts, origin, is_noted),
            apart.clamp(-MOST_ERRORS, MOST_ERRORS).flatten(1),
            ratios.clamp(-MOST_LOG, MOST_LOG).flatten(1),
        ],
        dim=1,
    ).float()


def _past(parts: Parts) -> tuple[Tensor, Tensor]:
    """Residuals noted at the ticks before the origin, 0 without a reading, and whether there was one.

    Returns:
        [batch, NUM_PAST], and the same in bool.
    """
    tick = parts["tick"]
    before = torch.remainder(tick[:, None] - torch.arange(1, NUM_PAST + 1, device=tick.device), TICK_TURN)
    entries = torch.remainder(before, NUM_LEADS).long()
    is_noted = parts["stamps"].gather(1, entries) == before
    noted = parts["residual_notes"][..., SHAPE_MEMORY].gather(1, entries)
    return torch.where(is_noted, noted, 0.0), is_noted


def _lengths(parts: Parts, newest: Tensor, past: Tensor) -> Tensor:
    """Lags, extremes and means of the ring, running means, residuals now and before, errors of the mix."""
    ring = parts["ring"]
    return torch.cat(
        [
            ring[:, list(LAGS)] - newest,
            ring.amin(dim=1, keepdim=True) - newest,
            ring.amax(dim=1, keepdim=True) - newest,
            ring.mean(dim=1, keepdim=True) - newest,
            parts["level"][:, None] - newest,
            parts["smooth"] - newest,
            parts["residuals"],
            past,
            parts["mix_last"],
            parts["mix_bias"],
        ],
        dim=1,
    )


def _others(parts: Parts, origin: Origin, is_noted: Tensor) -> Tensor:
    """What is no length: how much was seen, how the values behave, and when it is."""
    at = origin.clock
    later = torch.remainder(at.second_of_week + NUM_LEADS * at.cadence_s, calendar.WEEK_S)
    angle = origin.last_second / at.day_period_s * (2.0 * torch.pi)
    short, long = parts["step_sizes"].unbind(dim=1)
    gap = torch.zeros_like(angle) if origin.gap is None else origin.gap[:, 0]
    columns = [
        parts["count"].clamp(max=MOST_COUNT).log(),
        ((short + 1e-30) / (long + 1e-30)).log().clamp(-MOST_LOG, MOST_LOG),
        parts["habits"][:, 0],
        parts["habits"][:, 1],
        at.second_of_week >= 5 * calendar.DAY_S,
        later >= 5 * calendar.DAY_S,
        at.cadence_s.log(),
        at.day_period_s == calendar.WEEK_S,
        angle.sin(),
        angle.cos(),
        is_noted.float().mean(dim=1),
        gap.log1p(),
    ]
    return torch.stack([column.float() for column in columns], dim=1)
