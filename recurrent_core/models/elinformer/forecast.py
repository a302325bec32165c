"""Forecasts from the state as it stands: the read-outs at every lead, their mix and its interval.

I know nothing of how the state came about, and change nothing of it. All values are relative to the anchor.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurrent_core import calendar, intervals, mixing, scaling
from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.fold import CLIP, Parts
from recurrent_core.models.elinformer.layout import D_KEY, NUM_LEADS, PAIR_TICKS, RAW_MEMORIES
from recurrent_core.ops.entropy_equality import moments as ee_moments
from recurrent_core.ops.entropy_equality.step import read_affine, read_ridge, relative_ridge

BY_CLASS = 2
NOT_OF_THE_CALENDAR = (0, 11, 12)
"""Read-outs that say nothing of the calendar: they fade beyond the learnt leads once a profile is known."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecasts of a batch and what made them; lives for one call.

    Attributes:
        mix: [batch, leads] the point forecast.
        widths: [batch, 2, leads] distance of the lower and upper quantile from it.
        key: [batch, D_KEY] the features at the last reading.
        ridge, affine: [batch, NUM_LEADS] the moments' read-outs, leads counted from the last reading.
        expected: [batch, knots] mean |error| expected of the mix.
        scale: [batch].
    """

    mix: Tensor
    widths: Tensor
    key: Tensor
    ridge: Tensor
    affine: Tensor
    expected: Tensor
    scale: Tensor


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the forecasts start; lives for one call.

    Attributes:
        clock: the clock of the slots' last readings.
        gap: [batch, 1] float64, ticks from the last reading to the origin; None at a reading.
    """

    clock: calendar.Clock
    gap: Tensor | None


def forecast(parts: Parts, origin: Origin, horizon: int, prior: Tensor, config: ElinformerConfig) -> Forecast:
    """Forecast leads 1 ... max(horizon, NUM_LEADS) after the origin.

    Args:
        parts: views of the slots' rows; left unchanged.
        prior: [readouts], errors expected of each read-out in a new slot, in scales.
    """
    device = parts["count"].device
    num_leads = max(horizon, NUM_LEADS)
    lead = torch.arange(1, num_leads + 1, dtype=torch.float64, device=device)[None]
    if origin.gap is None:
        moments_of, leads = lead, lead.long()
    else:
        batch = len(origin.gap)
        moments_of = torch.cat([lead[:, :NUM_LEADS].expand(batch, -1), origin.gap + lead], dim=1)
        leads = (torch.round(origin.gap).clamp(1.0, 1e6) + lead).long()
    where = calendar.places(origin.clock, moments_of, config.day_cells, config.week_cells)
    memories, is_known = calendar.read(parts["day"], parts["week"], parts["level"], where)
    scale = scaling.scale(parts["step_sizes"], parts["count"], parts["anchor"], parts["level"])
    newest = parts["ring"][:, :1]
    residuals = parts["residuals"]
    ahead = memories[:, :, :NUM_LEADS] - newest[..., None]
    key = _key(parts, ahead, residuals, origin.clock, scale)
    increments = _read_moments(parts, key, config) * scale[:, None, None]

    far = memories[:, :, -num_leads:] - newest[..., None]
    outs = _readouts(parts, far, ahead[:, BY_CLASS, -1:], increments, residuals, leads)
    shares = mixing.weights(parts["readout_errors"], parts["arrived"], scale, prior, config.mix_power)
    shares = mixing.at_leads(shares, leads)
    if origin.gap is not None or num_leads > NUM_LEADS:
        shares = _fade(shares, leads, is_known[:, -num_leads:])
    mix = newest + (shares * outs).sum(dim=1)
    knots = torch.tensor(mixing.KNOTS, device=device)
    expected = intervals.expected_error(parts["mix_errors"], parts["arrived"], scale, knots)
    error = mixing.at_leads(expected[:, None], leads)[:, 0] * (leads / NUM_LEADS).clamp(min=1.0).pow(0.3).float()
    sides = intervals.widths(error, mixing.at_leads(parts["offsets"], leads))
    ridge, affine = (newest[:, None] + increments).unbind(dim=1)
    return Forecast(mix, sides, key, ridge, affine, expected, scale)


def note(parts: Parts, made: Forecast) -> None:
    """Note the forecasts in the journal, and the key among the pairs when its turn has come; changes parts in place."""
    knots = torch.tensor(mixing.KNOTS, device=made.mix.device)
    entry = torch.cat(
        [
            parts["tick"][:, None],
            parts["residuals"],
            parts["smooth"],
            made.ridge[:, knots - 1],
            made.affine[:, knots - 1],
            made.mix[:, knots - 1],
            made.expected,
        ],
        dim=1,
    )
    row = torch.remainder(parts["tick"], NUM_LEADS).long()
    parts["journal"][torch.arange(len(row), device=row.device), row] = entry

    age = parts["pair_age"]
    newest = torch.where(age > 0, age - 1.0, float(NUM_LEADS)).amin(dim=1)
    free_age, free = age.min(dim=1)
    slots = ((newest >= PAIR_TICKS) & (free_age == 0)).nonzero()[:, 0]
    if len(slots):
        pair = free[slots]
        age[slots, pair] = 1.0
        parts["pair_count"][slots, pair] = parts["count"][slots]
        parts["pair_scale"][slots, pair] = made.scale[slots]
        parts["pair_key"][slots, pair] = made.key[slots]


def _key(parts: Parts, ahead: Tensor, residuals: Tensor, at: calendar.Clock, scale: Tensor) -> Tensor:
    """The features of the last reading, [batch, D_KEY], differences to it in scales.

    Args:
        ahead: [batch, memories, NUM_LEADS], the memories at leads 1 ... NUM_LEADS after the last reading, minus it.
        residuals: [batch, memories], the last reading minus the memories.
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
    angle = (at.second_of_week / at.day_period_s * (2.0 * torch.pi))[:, None]
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


def _readouts(
    parts: Parts, far: Tensor, class_at_last: Tensor, increments: Tensor, residuals: Tensor, leads: Tensor
) -> Tensor:
    """Every read-out at the leads, minus the last reading, [batch, readouts, leads]; see READOUTS.

    Args:
        far: [batch, memories, leads], the memories at the target times, minus the last reading.
        class_at_last: [batch, 1], the class profile at lead NUM_LEADS after the last reading, minus it.
        increments: [batch, 2, NUM_LEADS], ridge and affine.
        leads: [1 or batch, leads], counted from the last reading.
    """
    batch, _, num_leads = far.shape
    newest = parts["ring"][:, :1]
    b = mixing.at_leads(mixing.decay(parts["residual_cross"], parts["residual_square"]), leads)
    beyond = (leads / NUM_LEADS).clamp(min=1.0)[:, None].float()
    b = torch.where(beyond > 1.0, b.clamp(1e-6, 1.0) ** beyond, b)
    at = (leads.clamp(max=NUM_LEADS) - 1).expand(batch, -1)[:, None].expand(-1, 2, -1)
    drift = torch.where(beyond > 1.0, far[:, BY_CLASS : BY_CLASS + 1] - class_at_last[..., None], 0.0)
    outs = [
        torch.zeros_like(far[:, :1]),
        far[:, list(RAW_MEMORIES)],
        far + b * residuals[..., None],
        increments.gather(2, at) + drift,
        (parts["smooth"] - newest)[..., None].expand(-1, -1, num_leads),
    ]
    return torch.cat(outs, dim=1)


def _fade(shares: Tensor, leads: Tensor, is_known: Tensor) -> Tensor:
    """Beyond the learnt leads, give the shares of what knows no calendar to what does.

    Args:
        shares: [batch, readouts, leads]; leads: [1 or batch, leads]; is_known: [batch, leads] bool.
    """
    keep = torch.exp(-(leads - NUM_LEADS).clamp(min=0) / NUM_LEADS).expand(shares.shape[0], -1)
    keep = torch.where(is_known, keep, 1.0)
    shares = shares.clone()
    shares[:, list(NOT_OF_THE_CALENDAR)] *= keep[:, None]
    return shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-9)
