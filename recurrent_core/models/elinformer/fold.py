"""Folds one reading of every slot into the state's parts: what the past is remembered by.

I know nothing of forecasting; `forecast` beside me reads what I leave. `parts` are views of the new state's rows,
a copy that belongs to the call, so they are changed in place.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurrent_core import calendar, intervals, mixing, scaling
from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.layout import JOURNAL, NUM_LEADS, RAW_MEMORIES
from recurrent_core.models.interface import Arrival
from recurrent_core.ops.entropy_equality import moments as ee_moments
from recurrent_core.ops.entropy_equality.step import write

Parts = dict[str, Tensor]
TICK_TURN = float(NUM_LEADS * 2**18)
"""Ticks are counted modulo this: exact in float32, a multiple of the journal's length."""
MOST_TICKS = 1e6
"""Longer gaps are folded as this many ticks: everything with a tick in it has been forgotten by then."""
DRIFT_RATES = (0.1, 0.005)
"""Rates of the short and the long running error at lead 1."""
MOST_SEASONS = 16.0
CLIP = 20.0
"""Features and residuals are kept within ± this many scales."""


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a reading lands in its slot; lives for one call.

    Attributes:
        is_later: [batch] float32, 0 at the slot's first reading, else 1.
        ticks: [batch] float32 >= 1, ticks since the last reading.
        value: [batch] float32, relative to the anchor.
        residuals: [batch, memories], value minus each memory, before it learns of the value.
        is_profile_known: [batch] float32, 1 where the profile had seen this time of day, else 0.
        clock: the batch's clock.
    """

    is_later: Tensor
    ticks: Tensor
    value: Tensor
    residuals: Tensor
    is_profile_known: Tensor
    clock: calendar.Clock


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
    return Landing(is_later, ticks, value, value[:, None] - memories[:, :, 0], is_known[:, 0], at)


def _learn_scale(parts: Parts, landing: Landing, config: ElinformerConfig) -> None:
    """Ring, step sizes, level, smoothings, count and tick."""
    value, is_later = landing.value, landing.is_later
    parts["tick"].add_(is_later * landing.ticks).remainder_(TICK_TURN)
    parts["count"].add_(1.0)
    ring = scaling.push(parts["ring"], value, landing.ticks)
    steps = torch.stack([value - parts["ring"][:, 0], value - ring[:, NUM_LEADS]], dim=1).abs()
    parts["ring"].copy_(ring)
    count = parts["count"]
    rate = is_later * (1.0 / (count - 1.0).clamp(min=1.0)).clamp(min=config.slow_rate)
    parts["step_sizes"].copy_(scaling.towards(parts["step_sizes"], steps, rate[:, None]))
    parts["level"].copy_(scaling.towards(parts["level"], value, (1.0 / count).clamp(min=config.slow_rate)))
    for place, rate_of_one in enumerate(config.smoothing_rates):
        parts["smooth"][:, place].lerp_(value, rate_of_one)


def journal_columns(journal: Tensor) -> dict[str, Tensor]:
    """The journal's columns by name, views of the rows [..., 1 + columns]; the stamp apart."""
    columns = torch.split_with_sizes(journal[..., 1:], list(JOURNAL.values()), dim=-1)
    return dict(zip(JOURNAL, columns, strict=True))


def _learn_arrived(parts: Parts, landing: Landing, scale: Tensor, config: ElinformerConfig) -> None:
    """The truth for the origins that lie a knot back has arrived: errors of read-outs, mix and intervals."""
    knots = mixing.knot_leads(landing.value.device)
    origin = torch.remainder(parts["tick"][:, None] - knots, TICK_TURN)
    rows = torch.remainder(origin, NUM_LEADS).long()
    journal = parts["journal"].gather(1, rows[..., None].expand(-1, -1, parts["journal"].shape[2]))
    is_arrived = (journal[..., 0] == origin).float() * landing.is_later[:, None]
    noted = journal_columns(journal)
    parts["arrived"].add_(is_arrived).clamp_(max=1e4)

    errors = _readout_errors(parts, landing, noted)
    learnt = mixing.learn_errors(parts["readout_errors"], parts["arrived"], errors.abs(), is_arrived, config.error_rate)
    parts["readout_errors"].copy_(learnt)
    now = (landing.residuals / scale[:, None]).clamp(-CLIP, CLIP)
    then = (noted["residuals"].mT / scale[:, None, None]).clamp(-CLIP, CLIP)
    cross, square = mixing.learn_decay(
        parts["residual_cross"], parts["residual_square"], now, then, is_arrived, config.residual_rate
    )
    parts["residual_cross"].copy_(cross)
    parts["residual_square"].copy_(square)
    _learn_intervals(parts, landing, noted, is_arrived, config)


def _readout_errors(parts: Parts, landing: Landing, noted: dict[str, Tensor]) -> Tensor:
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
    said = torch.stack(
        [parts["ring"][:, knots], noted["ridge"].diagonal(dim1=1, dim2=2), noted["affine"].diagonal(dim1=1, dim2=2)],
        dim=1,
    )
    return torch.cat(
        [
            truth - said[:, :1],
            raw * growth,
            (residuals - b * noted["residuals"].mT) * growth,
            truth - said[:, 1:],
            truth - noted["smooth"].mT,
        ],
        dim=1,
    )


def _learn_intervals(
    parts: Parts, landing: Landing, noted: dict[str, Tensor], is_arrived: Tensor, config: ElinformerConfig
) -> None:
    """The mix's own errors: its running error, the widths' offsets, and the drift's two speeds at lead 1."""
    error = landing.value[:, None] - noted["mix"].diagonal(dim1=1, dim2=2)
    expected = noted["expected"].diagonal(dim1=1, dim2=2)
    arrived = parts["arrived"]
    parts["offsets"].copy_(intervals.learn_offsets(parts["offsets"], arrived, error, expected, is_arrived))
    learnt = mixing.learn_errors(
        parts["mix_errors"][:, None], arrived, error.abs()[:, None], is_arrived, config.error_rate
    )
    parts["mix_errors"].copy_(learnt[:, 0])
    first_rate = 1.0 / arrived[:, 0].clamp(min=1.0)
    for place, floor in enumerate(DRIFT_RATES):
        rate = first_rate.clamp(min=floor) * is_arrived[:, 0]
        parts["drift"][:, place].lerp_(error[:, 0].abs(), rate)


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
    is_due &= parts["count"][:, None] - parts["pair_count"] >= NUM_LEADS // 2
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
    journal = parts["journal"][slots, torch.remainder(origin, NUM_LEADS).long()]
    is_noted = journal[:, 0] == origin
    knots = mixing.knot_leads(slots.device)
    miss = (path[:, knots] - journal_columns(journal)["ridge"]).abs() / scale[:, None]
    usual = parts["pair_error"][slots]
    error = torch.where(is_noted, miss.clamp(max=CLIP).mean(dim=1), usual)
    usual = torch.where(usual > 0, usual + 0.02 * (error - usual), error)
    parts["pair_error"][slots] = usual
    omega = (3.0 * usual + 1e-6) / (0.3 * usual + error + 1e-6)
    old = ee_moments.unpack(parts["moments"][slots], parts["pair_key"].shape[2], NUM_LEADS)
    parts["moments"][slots] = ee_moments.pack(write(old, parts["pair_key"][slots, pair], values, omega))
