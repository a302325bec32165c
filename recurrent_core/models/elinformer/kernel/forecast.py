"""Forecasts from one row; the same equations as `forecast` a floor above, which is the truth I am tested against.

I know nothing of how the row came about. Values are relative to the anchor.
"""

from typing import NamedTuple

import numpy as np

from recurrent_core.calendar import NUM_MEMORIES
from recurrent_core.compiling import compiled
from recurrent_core.intervals import PRIOR_ERROR
from recurrent_core.intervals import PRIOR_READINGS as ERROR_PRIOR_READINGS
from recurrent_core.mixing import MOST_READINGS, PRIOR_READINGS
from recurrent_core.models.elinformer.fold import CLIP
from recurrent_core.models.elinformer.forecast import BY_CLASS, FAR_POWER, FIRST_PAIR
from recurrent_core.models.elinformer.kernel.calendar import read_memories
from recurrent_core.models.elinformer.kernel.fold import decay
from recurrent_core.models.elinformer.kernel.moments import read_affine, read_ridge
from recurrent_core.models.elinformer.kernel.places import (
    KNOT,
    NOTE_START,
    NUM_KNOTS,
    NUM_READOUTS,
    RIDGE,
    SMOOTH,
    at_lead,
    clip,
    passed_ticks,
)
from recurrent_core.models.elinformer.layout import D_KEY, NUM_LEADS, NUM_NOTES, NUM_PAIRS, PAIR_TICKS, RAW_MEMORIES

RAW = np.array(RAW_MEMORIES)


class Work(NamedTuple):
    """Arrays of one call, float64, written anew for every reading.

    Attributes:
        memory: [memories]; ahead: [memories, NUM_LEADS] memories after the last reading, minus it.
        far: [memories, leads], known: [leads]: memories at the target times minus the last reading; profile known.
        key, query: [D_KEY]; factor: [D_KEY, D_KEY]; increments: [2, NUM_LEADS] of ridge and affine.
        outs: [readouts, leads] minus the last reading; errors: [readouts, knots] expected.
        slopes: [memories, knots]; shares: [readouts, knots]; expected: [knots].
    """

    memory: np.ndarray
    ahead: np.ndarray
    far: np.ndarray
    known: np.ndarray
    key: np.ndarray
    query: np.ndarray
    factor: np.ndarray
    increments: np.ndarray
    outs: np.ndarray
    errors: np.ndarray
    slopes: np.ndarray
    shares: np.ndarray
    expected: np.ndarray


@compiled
def make_work(num_leads):
    """The arrays of one call."""
    return Work(
        np.empty(NUM_MEMORIES),
        np.empty((NUM_MEMORIES, NUM_LEADS)),
        np.empty((NUM_MEMORIES, num_leads)),
        np.empty(num_leads),
        np.empty(D_KEY),
        np.empty(D_KEY),
        np.empty((D_KEY, D_KEY)),
        np.empty((2, NUM_LEADS)),
        np.empty((NUM_READOUTS, num_leads)),
        np.empty((NUM_READOUTS, NUM_KNOTS)),
        np.empty((NUM_MEMORIES, NUM_KNOTS)),
        np.empty((NUM_READOUTS, NUM_KNOTS)),
        np.empty(NUM_KNOTS),
    )


@compiled
def _look_ahead(row, p, at, second, gap, num_leads, work):
    """Fill work.ahead, work.far and work.known; second is the origin's, gap the ticks since the last reading."""
    newest = np.float64(row[p.ring])
    memory = work.memory
    for lead in range(1, num_leads + 1):
        work.known[lead - 1] = read_memories(row, p, at, second + lead * at.cadence_s, memory)
        for m in range(NUM_MEMORIES):
            work.far[m, lead - 1] = memory[m] - newest
    for lead in range(1, NUM_LEADS + 1):
        if gap > 0.0:
            read_memories(row, p, at, second + (lead - gap) * at.cadence_s, memory)
        for m in range(NUM_MEMORIES):
            work.ahead[m, lead - 1] = memory[m] - newest if gap > 0.0 else work.far[m, lead - 1]


@compiled
def _make_key(row, p, turns, scale, work):
    """The features of the last reading, in scales; see forecast._key."""
    ahead, key = work.ahead, work.key
    newest = np.float64(row[p.ring])
    for lag in range(5):
        key[lag] = np.float64(row[p.ring + 1 + lag]) - newest
    for memory in range(3):
        key[5 + memory] = -np.float64(row[p.residuals + memory])
    key[8], key[9] = ahead[0, 5], ahead[0, 11]
    key[10], key[11], key[12] = ahead[2, 3], ahead[2, 7], ahead[2, 11]
    key[13] = ahead[1, 11]
    key[14] = np.float64(row[p.level]) - newest
    for i in range(15):
        key[i] = clip(key[i] / scale, CLIP)
    angle = turns * (2.0 * np.pi)
    key[15], key[16] = np.sin(angle), np.cos(angle)


@compiled
def _weigh(row, p, k, prior, scale, work):
    """Weights of the read-outs, the residual decay and the mix's expected error, all at the knots."""
    shares = work.shares
    for knot in range(NUM_KNOTS):
        n = min(np.float64(row[p.arrived + knot]), MOST_READINGS)
        least = np.inf
        for r in range(NUM_READOUTS):
            error = np.float64(row[p.readout_errors + r * NUM_KNOTS + knot])
            shares[r, knot] = (n * error + PRIOR_READINGS * scale * prior[r]) / (n + PRIOR_READINGS)
            least = min(least, shares[r, knot])
        total = 0.0
        for r in range(NUM_READOUTS):
            work.errors[r, knot] = shares[r, knot]
            shares[r, knot] = (least / shares[r, knot]) ** k.mix_power
            total += shares[r, knot]
        for r in range(NUM_READOUTS):
            shares[r, knot] /= total
        usual = PRIOR_ERROR * scale * np.sqrt(KNOT[knot])
        error = np.float64(row[p.mix_errors + knot])
        work.expected[knot] = (n * error + ERROR_PRIOR_READINGS * usual) / (n + ERROR_PRIOR_READINGS)
        for memory in range(NUM_MEMORIES):
            work.slopes[memory, knot] = decay(row, p, memory, knot)


@compiled
def _readouts_at(row, p, lead, place, scale, work):
    """Every read-out at one target time, minus the last reading; lead counts from there, place is the column."""
    newest = np.float64(row[p.ring])
    far, outs = work.far, work.outs
    turns = max(lead / NUM_LEADS, 1.0)
    inner = min(lead, NUM_LEADS)
    change = far[BY_CLASS, place] - work.ahead[BY_CLASS, NUM_LEADS - 1] if turns > 1.0 else 0.0
    outs[0, place] = 0.0
    for raw in range(3):
        outs[1 + raw, place] = far[RAW[raw], place]
    for memory in range(NUM_MEMORIES):
        slope = at_lead(work.slopes[memory], inner)
        if turns > 1.0:
            slope = min(max(slope, 1e-6), 1.0) ** turns
        outs[4 + memory, place] = far[memory, place] + slope * row[p.residuals + memory]
    for i in range(2):
        outs[RIDGE + i, place] = work.increments[i, inner - 1] * scale + change
        outs[SMOOTH + i, place] = row[p.smooth + i] - newest


@compiled
def _mix_at(lead, place, is_far, work):
    """The mix at one target time, minus the last reading."""
    keep = 1.0
    if is_far:
        keep -= work.known[place] * (1.0 - np.exp(-max(lead - NUM_LEADS, 0) / NUM_LEADS))
    total = mixed = 0.0
    for r in range(NUM_READOUTS):
        share = at_lead(work.shares[r], lead)
        if r == 0 or r >= SMOOTH:
            share *= keep
        total += share
        mixed += share * work.outs[r, place]
    return mixed / max(total, 1e-9)


@compiled
def forecast(row, p, k, at, second, last_second, gap, prior, scale, work, mix, error):
    """Forecast a row's leads 1 ... len(mix) after an origin that lies `gap` ticks after its last reading.

    Args:
        second, last_second: of the week, of the origin and of the last reading (any whole number of turns apart).
        prior: [readouts], errors expected in a new slot, in scales.
        mix, error: [leads] written: the point forecast relative to the anchor, and the mean |error| expected of it.
    """
    num_leads = len(mix)
    _look_ahead(row, p, at, second, gap, num_leads, work)
    _make_key(row, p, last_second / at.day_period_s, scale, work)
    strength = k.ridge_floor + k.ridge_start / max(np.float64(row[p.moments]), 1e-3)
    read_ridge(row, p.moments, strength, work)
    read_affine(row, p.moments, work)
    for i in range(2):
        for lead in range(NUM_LEADS):
            work.increments[i, lead] = clip(work.increments[i, lead], CLIP)
    _weigh(row, p, k, prior, scale, work)
    is_far = gap > 0.0 or num_leads > NUM_LEADS
    passed = passed_ticks(gap)
    newest = np.float64(row[p.ring])
    for place in range(num_leads):
        lead = passed + place + 1
        _readouts_at(row, p, lead, place, scale, work)
        mix[place] = newest + _mix_at(lead, place, is_far, work)
        error[place] = at_lead(work.expected, lead) * max(lead / NUM_LEADS, 1.0) ** FAR_POWER


@compiled
def note(row, p, scale, work, mix):
    """Note the forecast for the day its truths arrive, and the key among the pairs when its turn has come."""
    tick = int(row[p.tick])
    entry = tick % NUM_LEADS
    row[p.stamps + entry] = tick
    for memory in range(NUM_MEMORIES):
        row[p.residual_notes + entry * NUM_MEMORIES + memory] = row[p.residuals + memory]
    for i in range(2):
        row[p.smooth_notes + entry * 2 + i] = row[p.smooth + i]
    newest = np.float64(row[p.ring])
    for knot in range(NUM_KNOTS):
        lead = KNOT[knot]
        place = p.readout_notes + NOTE_START[knot] + tick % lead
        row[place] = newest + work.increments[0, lead - 1] * scale
        row[place + NUM_NOTES] = newest + work.increments[1, lead - 1] * scale
        row[place + 2 * NUM_NOTES] = mix[lead - 1]

    newest_age, free = np.float64(NUM_LEADS), -1
    for pair in range(NUM_PAIRS):
        age = np.float64(row[p.pair_age + pair])
        if age > 0.0:
            newest_age = min(newest_age, age - 1.0)
        elif free < 0:
            free = pair
    if newest_age >= PAIR_TICKS and free >= 0 and row[p.counted] >= FIRST_PAIR:
        row[p.pair_age + free] = 1.0
        row[p.pair_count + free] = row[p.counted]
        row[p.pair_scale + free] = scale
        for i in range(D_KEY):
            row[p.pair_key + free * D_KEY + i] = work.key[i]
