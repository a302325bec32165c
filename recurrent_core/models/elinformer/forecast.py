"""Forecasts from the state as it stands: the read-outs at every lead, their mix and its interval.

I know nothing of how the state came about, and change nothing of it. All values are relative to the anchor.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurrent_core import calendar, intervals, mixing
from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.fold import CLIP, note_places
from recurrent_core.models.elinformer.layout import D_KEY, NOTED_READOUTS, NUM_LEADS, PAIR_TICKS, RAW_MEMORIES, Parts
from recurrent_core.ops.entropy_equality import moments as ee_moments
from recurrent_core.ops.entropy_equality.step import read_affine, read_ridge, relative_ridge

BY_CLASS = 2
FIRST_PAIR = 10
"""Readings before the first key: by then the scale no longer rests on a guess."""
PROFILE_LAGS = (1, 2, 3, 5, 7, 9, 11)
"""Ticks before the last reading at which a network is shown the class of day's profile."""
FAR_POWER = 0.3
"""Errors grow by this power of the lead beyond the learnt leads."""
NOT_OF_THE_CALENDAR = (0, 11, 12)
"""Read-outs that say nothing of the calendar: they fade beyond the learnt leads once a profile is known."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecasts of a batch and what made them; lives for one call.

    Attributes:
        mix: [batch, leads] the point forecast.
        error: [batch, leads] mean |error| expected of it.
        outs: [batch, readouts, leads] minus the last reading; errors: [batch, readouts, knots] expected of them.
        profile: [batch, lags + NUM_LEADS] the class of day's, at PROFILE_LAGS before the last reading and at the target
            times, minus the last reading.
        key: [batch, D_KEY] the features at the last reading.
        ridge, affine: [batch, NUM_LEADS] the moments' read-outs, leads counted from the last reading.
        scale: [batch].
    """

    mix: Tensor
    error: Tensor
    outs: Tensor
    errors: Tensor
    profile: Tensor
    key: Tensor
    ridge: Tensor
    affine: Tensor
    scale: Tensor


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the forecasts start; lives for one call.

    Attributes:
        clock: the clock of the origin.
        last_second: [batch] float64, second of the week of the last reading, any whole number of turns apart.
        scale: [batch], the slots' scales.
        gap: [batch, 1] float64, at most 1e6, ticks from the last reading to the origin; None at a reading.
    """

    clock: calendar.Clock
    last_second: Tensor
    scale: Tensor
    gap: Tensor | None


def forecast(parts: Parts, origin: Origin, horizon: int, prior: Tensor, config: ElinformerConfig) -> Forecast:
    """Forecast leads 1 ... max(horizon, NUM_LEADS) after the origin.

    Args:
        parts: views of the slots' rows; left unchanged.
        prior: [readouts], errors expected of each read-out in a new slot, in scales.
    """
    device = parts["count"].device
    num_leads = max(horizon, NUM_LEADS)
    lead = torch.arange(1, num_leads + 1, dtype=torch.float32, device=device)[None]
    leads = leads_of(origin.gap, num_leads, device)
    lag = -torch.tensor(PROFILE_LAGS, dtype=torch.float32, device=device)[None]
    moments_of = torch.cat([lag, lead], dim=1)
    if origin.gap is not None:
        since = torch.cat([lag, lead[:, :NUM_LEADS]], dim=1) - origin.gap
        moments_of = torch.cat([since, lead.expand(len(origin.gap), -1)], dim=1)
    where = calendar.places(origin.clock, moments_of, config.day_cells, config.week_cells)
    memories, is_known = calendar.read(parts["day"], parts["week"], parts["level"], where)
    scale = origin.scale
    newest = parts["ring"][:, :1]
    residuals = parts["residuals"]
    before = memories[:, BY_CLASS, : len(PROFILE_LAGS)] - newest
    ahead = memories[:, :, len(PROFILE_LAGS) : len(PROFILE_LAGS) + NUM_LEADS] - newest[..., None]
    key = _key(parts, ahead, residuals, origin.last_second / origin.clock.day_period_s, scale)
    increments = _read_moments(parts, key, config) * scale[:, None, None]
    ridge, affine = (newest[:, None] + increments).unbind(dim=1)

    far = memories[:, :, -num_leads:] - newest[..., None]
    profile = torch.cat([before, far[:, BY_CLASS, :NUM_LEADS]], dim=1)
    b = mixing.at_leads(mixing.decay(parts["residual_cross"], parts["residual_square"]), leads)
    is_far = origin.gap is not None or num_leads > NUM_LEADS
    if is_far:
        b, increments = _beyond(b, increments, leads, far[:, BY_CLASS] - ahead[:, BY_CLASS, -1:])
    outs = _readouts(parts, far, b, increments, residuals)
    errors = mixing.expected_errors(parts["readout_errors"], parts["arrived"], scale, prior)
    shares = mixing.at_leads(mixing.weights(errors, config.mix_power), leads)
    if is_far:
        shares = _fade(shares, leads, is_known[:, -num_leads:])
    mix = newest + (shares * outs).sum(dim=1)
    expected = intervals.expected_error(parts["mix_errors"], parts["arrived"], scale, mixing.knot_leads(device))
    error = mixing.at_leads(expected[:, None], leads)[:, 0]
    if is_far:
        error = error * (leads / NUM_LEADS).clamp(min=1.0).pow(FAR_POWER)
    return Forecast(mix, error, outs, errors, profile, key, ridge, affine, scale)


def leads_of(gap: Tensor | None, num_leads: int, device: torch.device) -> Tensor:
    """Leads 1 ... num_leads after an origin, counted from the last reading; see Origin.

    Returns:
        [1 or batch, num_leads] int64.
    """
    lead = torch.arange(1, num_leads + 1, device=device)[None]
    return lead if gap is None else torch.round(gap).clamp(min=1.0).long() + lead


def note(parts: Parts, made: Forecast) -> None:
    """Note the forecasts in the journal, and the key among the pairs when its turn has come; changes parts in place."""
    knots = mixing.knot_leads(made.mix.device)
    tick = parts["tick"]
    rows = torch.arange(len(tick), device=tick.device)
    entry = torch.remainder(tick, NUM_LEADS).long()
    parts["stamps"][rows, entry] = tick
    parts["residual_notes"][rows, entry] = parts["residuals"]
    parts["smooth_notes"][rows, entry] = parts["smooth"]
    said = torch.stack([made.ridge[:, knots - 1], made.affine[:, knots - 1], made.mix[:, knots - 1]], dim=1)
    places = note_places(tick[:, None].expand(-1, len(knots)))
    parts["readout_notes"].scatter_(2, places[:, None].expand(-1, NOTED_READOUTS, -1), said)

    age = parts["pair_age"]
    newest = (age - 1.0 + (age == 0) * float(NUM_LEADS + 1)).amin(dim=1)
    free_age, free = age.min(dim=1)
    slots = ((newest >= PAIR_TICKS) & (free_age == 0) & (parts["count"] >= FIRST_PAIR)).nonzero()[:, 0]
    if len(slots):
        pair = free[slots]
        age[slots, pair] = 1.0
        parts["pair_count"][slots, pair] = parts["count"][slots]
        parts["pair_scale"][slots, pair] = made.scale[slots]
        parts["pair_key"][slots, pair] = made.key[slots]


def _key(parts: Parts, ahead: Tensor, residuals: Tensor, turns: Tensor, scale: Tensor) -> Tensor:
    """The features of the last reading, [batch, D_KEY], differences to it in scales.

    Args:
        ahead: [batch, memories, NUM_LEADS], the memories at leads 1 ... NUM_LEADS after the last reading, minus it.
        residuals: [batch, memories], the last reading minus the memories.
        turns: [batch] float64, the last reading's time in turns of the day calendar.
    """
    newest = parts["ring"][:, :1]
    differences = torch.cat(
        [
            parts["ring"][:, 1:6] - newest,
            -residuals[:, :3],
            ahead[:, 0, 5::6],
            ahead[:, 2, 3::4],
            ahead[:, 1, 11:],
            parts["level"][:, None] - newest,
        ],
        dim=1,
    )
    angle = (turns * (2.0 * torch.pi))[:, None]
    day = torch.cat([torch.sin(angle), torch.cos(angle)], dim=1).float()
    return torch.cat([(differences / scale[:, None]).clamp(-CLIP, CLIP), day], dim=1)


def _read_moments(parts: Parts, key: Tensor, config: ElinformerConfig) -> Tensor:
    """Ridge and affine read-outs of the next increments, [batch, 2, NUM_LEADS], in scales."""
    moments = ee_moments.unpack(parts["moments"], D_KEY, NUM_LEADS)
    variances = moments.key_cov.diagonal(dim1=1, dim2=2)
    strength = config.ridge_floor + config.ridge_start / moments.mass.clamp(min=1e-3)
    ridge = read_ridge(moments, key, relative_ridge(moments, strength))
    query = (key - moments.key_mean) / (variances + 0.1 * variances.mean(dim=1, keepdim=True) + 1e-3) * D_KEY**-0.5
    affine = read_affine(moments, query)
    return torch.stack([ridge, affine], dim=1).clamp(-CLIP, CLIP)


def _beyond(b: Tensor, increments: Tensor, leads: Tensor, change: Tensor) -> tuple[Tensor, Tensor]:
    """Carry the residual decay and the moments' read-outs beyond the learnt leads.

    Past lead NUM_LEADS, b goes on falling as a power of its last value, and the moments' read-outs
    follow the shape of the class profile.

    Args:
        b: [batch, memories, leads]; increments: [batch, 2, NUM_LEADS]; leads: [1 or batch, leads].
        change: [batch, leads], the class profile at the leads minus that at lead NUM_LEADS.
    Returns:
        b and increments at all leads, [batch, memories, leads] and [batch, 2, leads].
    """
    turns = (leads / NUM_LEADS).clamp(min=1.0)[:, None]
    is_beyond = (turns > 1.0).float()
    b = torch.lerp(b, b.clamp(1e-6, 1.0) ** turns, is_beyond)
    at = (leads.clamp(max=NUM_LEADS) - 1).expand(len(b), -1)[:, None].expand(-1, 2, -1)
    return b, increments.gather(2, at) + is_beyond * change[:, None]


def _readouts(parts: Parts, far: Tensor, b: Tensor, increments: Tensor, residuals: Tensor) -> Tensor:
    """Every read-out at the leads, minus the last reading, [batch, readouts, leads]; see READOUTS.

    Args:
        far: [batch, memories, leads], the memories at the target times, minus the last reading.
        b: [batch, memories, leads], the residual decay; residuals: [batch, memories].
        increments: [batch, 2, leads], ridge and affine.
    """
    newest = parts["ring"][:, :1]
    first, second, third = RAW_MEMORIES
    return torch.cat(
        [
            torch.zeros_like(far[:, :1]),
            far[:, first : second + 1],
            far[:, third : third + 1],
            torch.addcmul(far, b, residuals[..., None]),
            increments,
            (parts["smooth"] - newest)[..., None].expand(-1, -1, far.shape[2]),
        ],
        dim=1,
    )


def _fade(shares: Tensor, leads: Tensor, is_known: Tensor) -> Tensor:
    """Beyond the learnt leads, give the shares of what knows no calendar to what does.

    Args:
        shares: [batch, readouts, leads]; leads: [1 or batch, leads].
        is_known: [batch, leads] float32, 1 where the profile has seen the place.
    """
    keep = torch.exp(-(leads - NUM_LEADS).clamp(min=0) / NUM_LEADS).expand(shares.shape[0], -1)
    keep = 1.0 - is_known * (1.0 - keep)
    shares = shares.clone()
    shares[:, list(NOT_OF_THE_CALENDAR)] *= keep[:, None]
    return shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-9)
