"""The features of one row at an origin; the same as `features` a floor above, which is the truth I am tested against.

I know nothing of networks.
"""

import numpy as np

from recurrent_core.calendar import DAY_S, NUM_MEMORIES, WEEK_S
from recurrent_core.compiling import compiled
from recurrent_core.models.elinformer.features import (
    LAGS,
    MOST_COUNT,
    MOST_ERRORS,
    MOST_LOG,
    MOST_SCALES,
    NUM_CONTEXT,
    NUM_GRID,
    NUM_LENGTHS,
    NUM_PAST,
    SHAPE_MEMORY,
)
from recurrent_core.models.elinformer.forecast import PROFILE_LAGS
from recurrent_core.models.elinformer.kernel.calendar import read_memories
from recurrent_core.models.elinformer.kernel.places import KNOT, NUM_KNOTS, NUM_READOUTS, clip, turn
from recurrent_core.models.elinformer.layout import NUM_LEADS, TICK_TURN

LAG = np.array(LAGS)
PROFILE_LAG = np.array(PROFILE_LAGS)


@compiled
def _lengths(row, p, at, last_second, work, mix, out):
    """Lags, extremes and means of the ring, running means, residuals, errors of the mix, the profile, the mix.

    Returns:
        share of the ticks before the origin that had a reading.
    """
    newest = np.float64(row[p.ring])
    place = 0
    for lag in LAG:
        out[place] = row[p.ring + lag] - newest
        place += 1
    least = most = total = newest
    for age in range(1, p.ring_ticks):
        value = np.float64(row[p.ring + age])
        least, most, total = min(least, value), max(most, value), total + value
    out[place], out[place + 1], out[place + 2] = least - newest, most - newest, total / p.ring_ticks - newest
    out[place + 3] = row[p.level] - newest
    out[place + 4], out[place + 5] = row[p.smooth] - newest, row[p.smooth + 1] - newest
    place += 6
    for memory in range(NUM_MEMORIES):
        out[place] = row[p.residuals + memory]
        place += 1
    tick = int(row[p.tick])
    share = 0.0
    for age in range(1, NUM_PAST + 1):
        before = (tick - age) % int(TICK_TURN)
        entry = before % NUM_LEADS
        is_noted = row[p.stamps + entry] == before
        out[place] = row[p.residual_notes + entry * NUM_MEMORIES + SHAPE_MEMORY] if is_noted else 0.0
        share += 1.0 / NUM_PAST if is_noted else 0.0
        place += 1
    for part in (p.mix_last, p.mix_bias):
        for knot in range(NUM_KNOTS):
            out[place] = row[part + knot]
            place += 1
    for lag in PROFILE_LAG:
        read_memories(row, p, at, last_second - lag * at.cadence_s, work.memory)
        out[place] = work.memory[SHAPE_MEMORY] - newest
        place += 1
    for lead in range(NUM_LEADS):
        out[place] = work.far[SHAPE_MEMORY, lead]
        out[place + NUM_LEADS] = mix[lead] - newest
        place += 1
    return share


@compiled
def _others(row, p, at, second, last_second, gap, out):
    """What is no length: how much was seen, how the values behave, and when it is."""
    angle = last_second / at.day_period_s * (2.0 * np.pi)
    short, long = np.float64(row[p.step_sizes]), np.float64(row[p.step_sizes + 1])
    out[0] = np.log(min(np.float64(row[p.counted]), MOST_COUNT))
    out[1] = clip(np.log((short + 1e-30) / (long + 1e-30)), MOST_LOG)
    out[2], out[3] = row[p.habits], row[p.habits + 1]
    out[4] = 1.0 if second >= 5.0 * DAY_S else 0.0
    out[5] = 1.0 if turn(second + NUM_LEADS * at.cadence_s, WEEK_S) >= 5.0 * DAY_S else 0.0
    out[6] = np.log(at.cadence_s)
    out[7] = 1.0 if at.day_period_s == WEEK_S else 0.0
    out[8], out[9] = np.sin(angle), np.cos(angle)
    out[11] = np.log1p(gap)


@compiled
def write_features(row, p, at, second, last_second, gap, scale, work, mix, error, out):
    """Write the features of a row that has just forecast into out, [NUM_FEATURES] float32."""
    share = _lengths(row, p, at, last_second, work, mix, out)
    for i in range(NUM_LENGTHS):
        out[i] = clip(out[i] / scale, MOST_SCALES)
    others = out[NUM_LENGTHS + NUM_KNOTS :]
    _others(row, p, at, second, last_second, gap, others)
    others[10] = share
    newest = np.float64(row[p.ring])
    for knot in range(NUM_KNOTS):
        place = KNOT[knot] - 1
        usual = max(error[place], 1e-30)
        out[NUM_LENGTHS + knot] = clip(np.log(usual / scale), MOST_LOG)
        for r in range(NUM_READOUTS):
            apart = (work.outs[r, place] - (mix[place] - newest)) / usual
            cell = NUM_CONTEXT + r * NUM_KNOTS + knot
            out[cell] = clip(apart, MOST_ERRORS)
            out[cell + NUM_GRID] = clip(np.log(max(work.errors[r, knot] / usual, 1e-30)), MOST_LOG)
