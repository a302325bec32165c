"""Where a row's parts start, and the constants the kernel is given: what its loops are handed instead of objects.

I know nothing of what the loops do with them.
"""

from typing import NamedTuple

import numpy as np

from recurrent_core import mixing
from recurrent_core.compiling import compiled
from recurrent_core.config import ElinformerConfig
from recurrent_core.models.elinformer.fold import MOST_TICKS
from recurrent_core.models.elinformer.layout import NUM_LEADS, READOUTS
from recurrent_core.state import StateLayout

KNOT = np.array(mixing.KNOTS)
NOTE_START = np.cumsum(np.array((0, *mixing.KNOTS[:-1])))
"""Where each knot's notes begin among a quantity's."""
NUM_KNOTS = len(mixing.KNOTS)
NUM_READOUTS = len(READOUTS)
RIDGE, AFFINE, SMOOTH = 9, 10, 11
"""Where they stand among the READOUTS; the two smoothings follow one another."""

KNOT_BELOW = np.array([0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3])
"""The knot at or below each lead 0 ... 12, but never the last."""
KNOT_SHARE = np.array([0, 0, 0, 0.5, 0, 0.25, 0.5, 0.75, 0, 0.25, 0.5, 0.75, 1.0])
"""Share of the next knot in each lead."""


class Places(NamedTuple):
    """Where each part of a row starts (`counted`: the part `count`; -1: there is none), and the calendars' sizes."""

    anchor: int
    counted: int
    tick: int
    step_sizes: int
    level: int
    smooth: int
    ring: int
    day: int
    day_visits: int
    week: int
    week_visits: int
    moments: int
    pair_age: int
    pair_count: int
    pair_scale: int
    pair_key: int
    pair_error: int
    residuals: int
    residual_cross: int
    residual_square: int
    stamps: int
    residual_notes: int
    smooth_notes: int
    readout_notes: int
    arrived: int
    readout_errors: int
    mix_errors: int
    mix_last: int
    mix_bias: int
    habits: int
    candidate_notes: int
    candidate_errors: int
    final_stamps: int
    final_notes: int
    settled: int
    offsets: int
    drift: int
    series: int
    ring_ticks: int
    day_cells: int
    week_cells: int


class Rates(NamedTuple):
    """The config's constants; see ElinformerConfig."""

    slow_rate: float
    smooth_fast: float
    smooth_slow: float
    profile_rate: float
    class_rate: float
    week_rate: float
    moments_ticks: float
    ridge_floor: float
    ridge_start: float
    residual_rate: float
    error_rate: float
    mix_power: int
    warm_up_readings: int
    drift_ratio: float


def places_of(layout: StateLayout, config: ElinformerConfig) -> Places:
    """Where the parts of a layout start."""
    starts = {part: layout.slices[part].start for part in Places._fields if part in layout.slices}
    starts["counted"] = layout.slices["count"].start
    starts.setdefault("series", -1)
    return Places(**starts, ring_ticks=config.ring_ticks, day_cells=config.day_cells, week_cells=config.week_cells)


def rates_of(config: ElinformerConfig) -> Rates:
    """The constants of a config."""
    choices = config.to_dict()
    fast, slow = config.smoothing_rates
    return Rates(
        **{name: choices[name] for name in Rates._fields if name in choices}, smooth_fast=fast, smooth_slow=slow
    )


@compiled
def turn(position, length):
    """The position within one turn, [0, length)."""
    return position - length * np.floor(position / length)


@compiled
def clip(value, limit):
    """The value within ± limit."""
    return min(max(value, -limit), limit)


@compiled
def at_lead(values, lead):
    """Values given at the knots, [knots], read at a lead >= 1."""
    lead = min(lead, NUM_LEADS)
    knot, share = KNOT_BELOW[lead], KNOT_SHARE[lead]
    return (1.0 - share) * values[knot] + share * values[knot + 1]


@compiled
def gap_ticks(elapsed_s, cadence_s):
    """Ticks from the last reading to an origin without one."""
    return min(elapsed_s / cadence_s, MOST_TICKS)


@compiled
def passed_ticks(gap):
    """Whole ticks that have passed where the origin lies `gap` ticks after the last reading; 0 at a reading."""
    return int(max(np.rint(gap), 1.0)) if gap > 0.0 else 0
