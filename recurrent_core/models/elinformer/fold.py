"""Folds one reading of every slot into the state's parts: what the past is remembered by.

I know nothing of forecasting; `forecast` beside me reads what I leave. `parts` are views of the new state's rows,
a copy that belongs to the call, so they are changed in place.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurrent_core import calendar, mixing, scaling
from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.drift import MOST_OLD_ERROR, notice
from recurrent_core.models.elinformer.layout import NOTED_READOUTS, NUM_LEADS, RAW_MEMORIES, TICK_TURN, Parts
from recurrent_core.models.interface import Arrival
from recurrent_core.ops.entropy_equality import moments as ee_moments
from recurrent_core.ops.entropy_equality.step import write

MOST_TICKS = 1e6
"""Longer gaps are folded as this many ticks: everything with a tick in it has been forgotten by then."""
MOST_SEASONS = 16.0
LEAST_VALUES = NUM_LEADS // 2
"""Readings among a pair's twelve ticks below which it is not written."""
BIAS_RATE = 0.05
"""Rate of the mix's running signed error."""
HABIT_RATE = 0.01
"""Floor of the rate of the shares of repeated and of zero readings."""
CLIP = 20.0
"""Features and residuals are kept within ± this many scales."""


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a reading lands in its slot; lives for one call.

    Attributes:
        is_later: [batch] float32, 0 at the slot's first reading, else 1.
        ticks: [batch] float32 >= 1, ticks since the last reading.
        absolute: [batch] float64, the value as it came; value: [batch] float32, relative to the anchor.
        residuals: [batch, memories], value minus each memory, before it learns of the value.
        is_profile_known: [batch] float32, 1 where the profile had seen this time of day, else 0.
        clock: the batch's clock.
    """

    is_later: Tensor
    ticks: Tensor
    absolute: Tensor
    value: Tensor
    residuals: Tensor
    is_profile_known: Tensor
    clock: calendar.Clock


@dataclass(frozen=True, slots=True)
class Noted:
    """What the origins a knot back noted; lives for one call.

    Attributes:
        residuals: [batch, memories, knots]; smooth: [batch, 2, knots]; moments: [batch, 2, knots], ridge and affine.
    """

    residuals: Tensor
    smooth: Tensor
    moments: Tensor


def fold(parts: Parts, arrival: Arrival, config: ElinformerConfig) -> tuple[calendar.Clock, Tensor]:
    """Fold one reading into every slot's parts; return the clock of the readings and the new scales, [batch]."""
    landing = _land(parts, arrival, config)
    _learn_scale(parts, landing, config)
    scale = scaling.scale(parts["step_sizes"], parts["count"], parts["anchor"], parts["level"])
    _learn_arrived(parts, landing, scale, config)
    parts["residuals"].copy_(landing.residuals)
    _learn_calendar(parts, landing, arrival, config)
    _learn_pairs(parts, landing, config)
    return landing.clock, scale


def _land(parts: Parts, arrival: Arrival, config: ElinformerConfig) -> Landing:
    """Place the reading in its slot: first value as anchor, ticks since the last, residuals of the memories."""
    is_later = parts["count"].clamp(max=1.0)
    parts["anchor"].copy_(torch.lerp(scaling.split_anchor(arrival.value), parts["anchor"], is_later[:, None]))
    value = scaling.relative(arrival.value, parts["anchor"])
    ticks = torch.round(arrival.elapsed_s / arrival.cadence_s).clamp(1.0, MOST_TICKS).float()
    at = calendar.clock(arrival.second_of_week, arrival.cadence_s, config.day_cells, config.week_cells)
    where = calendar.places(at, torch.zeros(1, 1, device=value.device), config.day_cells, config.week_cells)
    memories, is_known = calendar.read(parts["day"], parts["week"], parts["level"], where)
    return Landing(is_later, ticks, arrival.value, value, value[:, None] - memories[:, :, 0], is_known[:, 0], at)


def _learn_scale(parts: Parts, landing: Landing, config: ElinformerConfig) -> None:
    """Ring, step sizes, level, smoothings, count and tick."""
    value, is_later = landing.value, landing.is_later
    parts["tick"].add_(is_later * landing.ticks).remainder_(TICK_TURN)
    parts["count"].add_(1.0)
    habits = torch.stack([is_later * (value == parts["ring"][:, 0]), (landing.absolute == 0).float()], dim=1)
    rate = (1.0 / parts["count"]).clamp(min=HABIT_RATE)
    parts["habits"].copy_(scaling.towards(parts["habits"], habits, rate[:, None]))
    ring = scaling.push(parts["ring"], value, landing.ticks)
    steps = torch.stack([value - parts["ring"][:, 0], value - ring[:, NUM_LEADS]], dim=1).abs()
    parts["ring"].copy_(ring)
    count = parts["count"]
    rate = is_later * (1.0 / (count - 1.0).clamp(min=1.0)).clamp(min=config.slow_rate)
    parts["step_sizes"].copy_(scaling.towards(parts["step_sizes"], steps, rate[:, None]))
    parts["level"].copy_(scaling.towards(parts["level"], value, (1.0 / count).clamp(min=config.slow_rate)))
    for place, rate_of_one in enumerate(config.smoothing_rates):
        parts["smooth"][:, place].lerp_(value, rate_of_one)


def note_places(ticks: Tensor) -> Tensor:
    """Where the notes of origins stand in a delayed quantity: for each knot h, start_h + tick % h.

    Args:
        ticks: [batch, knots] float32, the origin for each knot.
    Returns:
        [batch, knots] int64.
    """
    knots = mixing.knot_leads(ticks.device)
    return (torch.remainder(ticks, knots) + (knots.cumsum(0) - knots)).long()


def arrived_origins(tick: Tensor, stamps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The origins a knot before this tick: which they are, where they were stamped, and whether they were readings.

    Args:
        tick: [batch] float32; stamps: [batch, NUM_LEADS].
    Returns:
        origins [batch, knots] float32; entries [batch, knots] int64; is_arrived [batch, knots] float32, 0 or 1.
    """
    origins = torch.remainder(tick[:, None] - mixing.knot_leads(tick.device), TICK_TURN)
    entries = torch.remainder(origins, NUM_LEADS).long()
    return origins, entries, (stamps.gather(1, entries) == origins).float()


def _learn_arrived(parts: Parts, landing: Landing, scale: Tensor, config: ElinformerConfig) -> None:
    """The truth for the origins that lie a knot back has arrived: errors of read-outs and mix, residual decay."""
    origins, entries, is_arrived = arrived_origins(parts["tick"], parts["stamps"])
    is_arrived = is_arrived * landing.is_later[:, None]
    said = parts["readout_notes"].gather(2, note_places(origins)[:, None].expand(-1, NOTED_READOUTS, -1))
    error = landing.value[:, None] - said[:, 2]
    since = notice(parts, error, is_arrived, config)
    parts["arrived"].add_(is_arrived).clamp_(max=1e4)
    memories, smooth = parts["residual_notes"], parts["smooth_notes"]
    noted = Noted(
        residuals=memories.gather(1, entries[..., None].expand(-1, -1, memories.shape[2])).mT,
        smooth=smooth.gather(1, entries[..., None].expand(-1, -1, smooth.shape[2])).mT,
        moments=said[:, :2],
    )
    errors = _readout_errors(parts, landing, noted)
    learnt = mixing.learn_errors(parts["readout_errors"], parts["arrived"], errors.abs(), is_arrived, config.error_rate)
    parts["readout_errors"].copy_(learnt)
    _learn_bias(parts, error, is_arrived)
    usual = parts["mix_errors"]
    is_old = mixing.knot_leads(error.device) > since[:, None]
    size = torch.where(is_old, torch.minimum(error.abs(), MOST_OLD_ERROR * usual), error.abs())[:, None]
    learnt = mixing.learn_errors(usual[:, None], parts["arrived"], size, is_arrived, config.error_rate)
    usual.copy_(learnt[:, 0])
    now = (landing.residuals / scale[:, None]).clamp(-CLIP, CLIP)
    then = (noted.residuals / scale[:, None, None]).clamp(-CLIP, CLIP)
    cross, square = mixing.learn_decay(
        parts["residual_cross"], parts["residual_square"], now, then, is_arrived, config.residual_rate
    )
    parts["residual_cross"].copy_(cross)
    parts["residual_square"].copy_(square)


def _learn_bias(parts: Parts, error: Tensor, is_arrived: Tensor) -> None:
    """The mix's last signed error and their running mean; error, is_arrived: [batch, knots]."""
    parts["mix_last"].lerp_(error, is_arrived)
    rate = (1.0 / parts["arrived"].clamp(min=1.0)).clamp(min=BIAS_RATE) * is_arrived
    parts["mix_bias"].lerp_(error, rate)


def _readout_errors(parts: Parts, landing: Landing, noted: Noted) -> Tensor:
    """Truth minus what each read-out said at the origins a knot back, [batch, readouts, knots]; see READOUTS.

    What a memory said is taken from its residual at the truth, as its cell has not changed since; where a knot
    reaches over n seasons it has, n - 1 times, and the error is taken to grow as a random walk's, by sqrt(n).
    """
    knots = mixing.knot_leads(landing.value.device)
    truth, residuals = landing.value[:, None, None], landing.residuals[..., None]
    first, second, third = RAW_MEMORIES
    raw = torch.cat([residuals[:, first : second + 1], residuals[:, third : third + 1]], dim=1)
    at = landing.clock
    seasons = torch.ceil(knots * (at.cadence_s / at.day_period_s).float()[:, None] - 1e-3).clamp(1.0, MOST_SEASONS)
    growth = seasons.sqrt()[:, None]
    b = mixing.decay(parts["residual_cross"], parts["residual_square"])
    return torch.cat(
        [
            truth - parts["ring"][:, knots][:, None],
            raw * growth,
            (residuals - b * noted.residuals) * growth,
            truth - noted.moments,
            truth - noted.smooth,
        ],
        dim=1,
    )


def _learn_calendar(parts: Parts, landing: Landing, arrival: Arrival, config: ElinformerConfig) -> None:
    """Take the reading into its visits of the day's and the week's cells; write the visits that are over."""
    at = landing.clock
    cell, week_cell, is_weekend = calendar.cells_of(at, config.day_cells, config.week_cells)
    cell = cell + config.day_cells * is_weekend
    value = landing.value[:, None]
    visits, closed = calendar.visit(
        parts["day_visits"],
        cell,
        value,
        _goes_on(parts["day_visits"], cell, arrival.elapsed_s, at.day_width * at.day_period_s / config.day_cells),
        at.is_day_coarse,
    )
    parts["day_visits"].copy_(visits)
    slots = closed[:, 1].nonzero()[:, 0]
    if len(slots):
        was_weekend = closed[slots, 0] >= config.day_cells
        cells = torch.remainder(closed[slots, 0], config.day_cells).long()
        old = parts["day"][slots, :, cells]
        new = calendar.write_day(old, closed[slots, 2], was_weekend, config.profile_rate, config.class_rate)
        parts["day"][slots, :, cells] = new

    deviation = landing.is_profile_known * landing.residuals[:, 1]
    visits, closed = calendar.visit(
        parts["week_visits"],
        week_cell,
        torch.cat([value, deviation[:, None]], dim=1),
        _goes_on(
            parts["week_visits"], week_cell, arrival.elapsed_s, at.week_width * calendar.WEEK_S / config.week_cells
        ),
        at.is_week_coarse,
    )
    parts["week_visits"].copy_(visits)
    slots = closed[:, 1].nonzero()[:, 0]
    if len(slots):
        cells = closed[slots, 0].long()
        old = parts["week"][slots, :, cells]
        parts["week"][slots, :, cells] = calendar.write_week(old, closed[slots, 2], closed[slots, 3], config.week_rate)


def _goes_on(visits: Tensor, cell: Tensor, elapsed_s: Tensor, cell_s: Tensor) -> Tensor:
    """Whether a reading belongs to the visit going on, [batch] bool: the same cell, and not a turn later."""
    return (visits[:, 0, 0] == cell) & (visits[:, 0, 1] > 0) & (elapsed_s <= cell_s)


def _learn_pairs(parts: Parts, landing: Landing, config: ElinformerConfig) -> None:
    """Age the waiting keys; write the oldest whose twelve values are in, and let go of those the ring has outlived."""
    age = parts["pair_age"]
    age.add_(age.clamp(max=1.0) * landing.ticks[:, None])
    parts["moments"][:, 0].mul_(torch.exp(-landing.ticks / config.moments_ticks))
    age.mul_(age <= config.ring_ticks)
    is_due = age > NUM_LEADS
    is_due &= parts["count"][:, None] - parts["pair_count"] >= LEAST_VALUES
    slots = is_due.any(dim=1).nonzero()[:, 0]
    if len(slots):
        pair = (is_due[slots] * age[slots]).argmax(dim=1)
        _write_pair(parts, slots, pair)
        age[slots, pair] = 0.0


def _write_pair(parts: Parts, slots: Tensor, pair: Tensor) -> None:
    """Write one pair of each given slot into its moments, weighted against outliers.

    The weight is 3 r / (.3 r + e): e the ridge read-out's error over this pair, r its running mean.
    """
    back = parts["pair_age"][slots, pair].long() - 1
    leads = torch.arange(NUM_LEADS + 1, device=slots.device)
    path = parts["ring"][slots[:, None], back[:, None] - leads]
    scale = parts["pair_scale"][slots, pair]
    values = ((path[:, 1:] - path[:, :1]) / scale[:, None]).clamp(-CLIP, CLIP)

    origin = torch.remainder(parts["tick"][slots] - back, TICK_TURN)
    is_noted = parts["stamps"][slots, torch.remainder(origin, NUM_LEADS).long()] == origin
    knots = mixing.knot_leads(slots.device)
    said = parts["readout_notes"][slots, 0].gather(1, note_places(origin[:, None].expand(-1, len(knots))))
    miss = (path[:, knots] - said).abs() / scale[:, None]
    usual = parts["pair_error"][slots]
    error = torch.where(is_noted, miss.clamp(max=CLIP).mean(dim=1), usual)
    usual = torch.where(usual > 0, usual + 0.02 * (error - usual), error)
    parts["pair_error"][slots] = usual
    omega = (3.0 * usual + 1e-6) / (0.3 * usual + error + 1e-6)
    old = ee_moments.unpack(parts["moments"][slots], parts["pair_key"].shape[2], NUM_LEADS)
    parts["moments"][slots] = ee_moments.pack(write(old, parts["pair_key"][slots, pair], values, omega))
