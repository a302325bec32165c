"""Folds one reading into one row; the same equations as `fold` a floor above, which is the truth I am tested against.

I know nothing of forecasting.
"""

import numpy as np

from recurrent_core.calendar import NUM_MEMORIES
from recurrent_core.compiling import compiled
from recurrent_core.mixing import PRIOR_SQUARE
from recurrent_core.models.elinformer.drift import MOST_OLD_ERROR
from recurrent_core.models.elinformer.fold import BIAS_RATE, CLIP, HABIT_RATE, MOST_SEASONS, MOST_TICKS
from recurrent_core.models.elinformer.kernel.calendar import learn_calendar, read_memories
from recurrent_core.models.elinformer.kernel.drift import notice
from recurrent_core.models.elinformer.kernel.moments import learn_pairs
from recurrent_core.models.elinformer.kernel.places import AFFINE, KNOT, NOTE_START, NUM_KNOTS, RIDGE, SMOOTH, clip
from recurrent_core.models.elinformer.layout import NUM_LEADS, NUM_NOTES, TICK_TURN
from recurrent_core.scaling import LARGEST


@compiled
def scale_of(row, p):
    """The slot's scale; as `scaling.scale`."""
    size = abs(np.float64(row[p.anchor]))
    guess = 0.1 * size + (1.0 if size == 0.0 else 0.0)
    floor = 1e-10 * size + 1e-7 * abs(np.float64(row[p.level])) + 1e-30
    steps = 0.5 * (np.float64(row[p.step_sizes]) + np.float64(row[p.step_sizes + 1]))
    return steps + guess * np.exp(-3.0 * (np.float64(row[p.counted]) - 1.0)) + floor


@compiled
def _land(row, p, value):
    """The value relative to the anchor, which the first reading sets."""
    if row[p.counted] < 1.0:
        anchor = clip(value, 1e38)
        row[p.anchor] = anchor
        row[p.anchor + 1] = anchor - np.float64(row[p.anchor])
    return relative(row, p, value)


@compiled
def anchor_of(row, p):
    """What the row's values are relative to."""
    return np.float64(row[p.anchor]) + np.float64(row[p.anchor + 1])


@compiled
def relative(row, p, value):
    """A value relative to the anchor."""
    return clip(value - anchor_of(row, p), LARGEST)


@compiled
def _learn_scale(row, p, k, value, ticks, is_zero):
    """Ring, step sizes, level, smoothings, habits, count and tick."""
    is_later = row[p.counted] >= 1.0
    if is_later:
        row[p.tick] = np.float32((np.float64(row[p.tick]) + ticks) % TICK_TURN)
    row[p.counted] += np.float32(1.0)
    count = np.float64(row[p.counted])
    old = np.float64(row[p.ring])
    rate = max(1.0 / count, HABIT_RATE)
    row[p.habits] += rate * ((1.0 if is_later and value == old else 0.0) - row[p.habits])
    row[p.habits + 1] += rate * ((1.0 if is_zero else 0.0) - row[p.habits + 1])
    for age in range(p.ring_ticks - 1, -1, -1):
        if age >= ticks:
            row[p.ring + age] = row[p.ring + age - int(ticks)]
        else:
            row[p.ring + age] = value + (old - value) * (age / ticks)
    if is_later:
        rate = max(1.0 / max(count - 1.0, 1.0), k.slow_rate)
        row[p.step_sizes] += rate * (abs(value - old) - row[p.step_sizes])
        row[p.step_sizes + 1] += rate * (abs(value - row[p.ring + NUM_LEADS]) - row[p.step_sizes + 1])
    row[p.level] += max(1.0 / count, k.slow_rate) * (value - row[p.level])
    row[p.smooth] += k.smooth_fast * (value - row[p.smooth])
    row[p.smooth + 1] += k.smooth_slow * (value - row[p.smooth + 1])


@compiled
def _learn_error(row, place, size, rate):
    row[place] += rate * (abs(size) - row[place])


@compiled
def _learn_arrived(row, p, k, at, value, residuals, scale):
    """The truth for the origins that lie a knot back has arrived: errors of read-outs and mix, residual decay."""
    tick = int(row[p.tick])
    since = notice(row, p, k, value)
    for knot in range(NUM_KNOTS):
        lead = KNOT[knot]
        origin = (tick - lead) % int(TICK_TURN)
        entry = origin % NUM_LEADS
        if row[p.counted] <= 1.0 or row[p.stamps + entry] != origin:
            continue
        row[p.arrived + knot] = min(np.float64(row[p.arrived + knot]) + 1.0, 1e4)
        rate = max(1.0 / max(np.float64(row[p.arrived + knot]), 1.0), k.error_rate)
        seasons = min(max(np.ceil(lead * at.cadence_s / at.day_period_s - 1e-3), 1.0), MOST_SEASONS)
        growth = np.sqrt(seasons)
        errors = p.readout_errors + knot
        noted = p.residual_notes + entry * NUM_MEMORIES
        _learn_error(row, errors, value - row[p.ring + lead], rate)
        _learn_error(row, errors + NUM_KNOTS, residuals[0] * growth, rate)
        _learn_error(row, errors + 2 * NUM_KNOTS, residuals[1] * growth, rate)
        _learn_error(row, errors + 3 * NUM_KNOTS, residuals[3] * growth, rate)
        for memory in range(NUM_MEMORIES):
            left = residuals[memory] - decay(row, p, memory, knot) * row[noted + memory]
            _learn_error(row, errors + (4 + memory) * NUM_KNOTS, left * growth, rate)
            now = clip(residuals[memory] / scale, CLIP)
            then = clip(np.float64(row[noted + memory]) / scale, CLIP)
            place = memory * NUM_KNOTS + knot
            keep = 1.0 - k.residual_rate
            row[p.residual_cross + place] = keep * row[p.residual_cross + place] + now * then
            row[p.residual_square + place] = keep * row[p.residual_square + place] + then * then
        said = p.readout_notes + NOTE_START[knot] + origin % lead
        _learn_error(row, errors + RIDGE * NUM_KNOTS, value - row[said], rate)
        _learn_error(row, errors + AFFINE * NUM_KNOTS, value - row[said + NUM_NOTES], rate)
        error = value - row[said + 2 * NUM_NOTES]
        most = MOST_OLD_ERROR * np.float64(row[p.mix_errors + knot]) if lead > since else np.inf
        _learn_error(row, p.mix_errors + knot, clip(error, most), rate)
        row[p.mix_last + knot] = error
        bias = p.mix_bias + knot
        row[bias] += max(1.0 / max(np.float64(row[p.arrived + knot]), 1.0), BIAS_RATE) * (error - row[bias])
        for place in range(2):
            smooth = row[p.smooth_notes + entry * 2 + place]
            _learn_error(row, errors + (SMOOTH + place) * NUM_KNOTS, value - smooth, rate)


@compiled
def decay(row, p, memory, knot):
    """b of a memory at a knot, in [0, 1.2]."""
    cross = np.float64(row[p.residual_cross + memory * NUM_KNOTS + knot])
    square = np.float64(row[p.residual_square + memory * NUM_KNOTS + knot])
    return min(max((cross + PRIOR_SQUARE) / (square + PRIOR_SQUARE), 0.0), 1.2)


@compiled
def fold(row, p, k, at, value, elapsed_s, second, residuals):
    """Fold one reading into a row; its scale after it. residuals: [5], work of the call."""
    ticks = min(max(np.rint(elapsed_s / at.cadence_s), 1.0), MOST_TICKS)
    is_zero = value == 0.0
    value = _land(row, p, value)
    is_profile_known = read_memories(row, p, at, second, residuals)
    for memory in range(NUM_MEMORIES):
        residuals[memory] = value - residuals[memory]
    _learn_scale(row, p, k, value, ticks, is_zero)
    scale = scale_of(row, p)
    _learn_arrived(row, p, k, at, value, residuals, scale)
    for memory in range(NUM_MEMORIES):
        row[p.residuals + memory] = residuals[memory]
    learn_calendar(row, p, k, at, value, is_profile_known * residuals[1], elapsed_s, second)
    learn_pairs(row, p, k, ticks)
    return scale
