"""Settles one row's final forecasts with their truths; the same equations as `settle` a floor above.

I know nothing of how a forecast was made.
"""

import numpy as np

from recurrent_core.compiling import compiled
from recurrent_core.intervals import FIRST_GAIN, LEAST_GAIN, MAX_OFFSET, MISS_RATE, UNIT
from recurrent_core.models.elinformer.drift import CALMING_TICKS, MOST_MISS
from recurrent_core.models.elinformer.kernel.drift import learn_temper, temper_before
from recurrent_core.models.elinformer.kernel.fold import anchor_of
from recurrent_core.models.elinformer.kernel.places import KNOT, NOTE_START, NUM_KNOTS, at_lead, clip
from recurrent_core.models.elinformer.layout import NUM_LEADS, NUM_NOTES, TICK_TURN
from recurrent_core.models.elinformer.settle import CHOICE_POWER, CHOICE_RATE, MIX_TRUST


@compiled
def learn_settled(row, p, value, tick, since, num_candidates):
    """The truth for the origins that lie a knot back has arrived: errors of the candidates, offsets, temper."""
    temper = temper_before(row, p, since)
    total, num = 0.0, 0
    for knot in range(NUM_KNOTS):
        lead = KNOT[knot]
        origin = (tick - lead) % int(TICK_TURN)
        if row[p.final_stamps + origin % NUM_LEADS] != origin:
            continue
        count = min(np.float64(row[p.settled + knot]) + 1.0, 1e4)
        row[p.settled + knot] = count
        note = NOTE_START[knot] + origin % lead
        for c in range(num_candidates):
            size = abs(value - np.float64(row[p.candidate_notes + c * NUM_NOTES + note]))
            place = p.candidate_errors + c * NUM_KNOTS + knot
            row[place] += max(1.0 / count, CHOICE_RATE) * (size - row[place])
        noted = p.final_notes + note
        error = value - np.float64(row[noted])
        gain = max(FIRST_GAIN / (count + 20.0), LEAST_GAIN)
        told = 0.0
        for side in range(2):
            place = p.offsets + side * NUM_KNOTS + knot
            beyond = error if side else -error
            distance = row[noted + (1 + side) * NUM_NOTES] * np.exp(np.float64(row[place]) + temper)
            told += distance / (2.0 * UNIT)
            is_miss = beyond > distance
            row[place] = clip(row[place] + gain * ((1.0 if is_miss else 0.0) - MISS_RATE), MAX_OFFSET)
        if lead <= since and since < CALMING_TICKS:
            total += min(abs(error) / (told + 1e-30), MOST_MISS) - 1.0
            num += 1
    learn_temper(row, p, since, temper, total / max(num, 1))


@compiled
def weigh_candidates(row, p, shares):
    """Weights at the knots, proportional to error ** -CHOICE_POWER, the mix's less; shares: [candidates, knots]."""
    num = len(shares)
    for knot in range(NUM_KNOTS):
        least = np.inf
        for c in range(num):
            least = min(least, np.float64(row[p.candidate_errors + c * NUM_KNOTS + knot]))
        total = 0.0
        for c in range(num):
            error = np.float64(row[p.candidate_errors + c * NUM_KNOTS + knot])
            shares[c, knot] = ((least + 1e-30) / (error + 1e-30)) ** CHOICE_POWER * (1.0 if c else MIX_TRUST)
            total += shares[c, knot]
        for c in range(num):
            shares[c, knot] /= total


@compiled
def choose(shares, passed, candidates, middle):
    """Blend the candidates, [candidates, leads], into middle, [leads]; passed: ticks from the last reading."""
    for place in range(len(middle)):
        total = 0.0
        for c in range(len(shares)):
            total += at_lead(shares[c], passed + place + 1) * candidates[c, place]
        middle[place] = total


@compiled
def note_final(row, p, tick, candidates, middle, lower, upper):
    """Note final forecasts at the knots; medians relative to the anchor, lower and upper distances, all [leads]."""
    row[p.final_stamps + tick % NUM_LEADS] = tick
    for knot in range(NUM_KNOTS):
        lead = KNOT[knot]
        note = NOTE_START[knot] + tick % lead
        for c in range(len(candidates)):
            row[p.candidate_notes + c * NUM_NOTES + note] = candidates[c, lead - 1]
        row[p.final_notes + note] = middle[lead - 1]
        row[p.final_notes + note + NUM_NOTES] = lower[lead - 1]
        row[p.final_notes + note + 2 * NUM_NOTES] = upper[lead - 1]


@compiled
def spread(row, p, passed, middle, lean, lower, upper, mean, quantiles):
    """The final forecast in the unit of the values, its sides widened as the offsets and the temper have it.

    Args:
        passed: ticks from the last reading to the origin.
        middle: [leads] median relative to the anchor; lean: [leads] mean minus median; lower, upper: [leads] the sides.
        mean: [leads], quantiles: [3, leads], written.
    """
    anchor, temper = anchor_of(row, p), np.float64(row[p.drift + 2])
    for place in range(len(mean)):
        below = at_lead(row[p.offsets : p.offsets + NUM_KNOTS], passed + place + 1)
        above = at_lead(row[p.offsets + NUM_KNOTS : p.offsets + 2 * NUM_KNOTS], passed + place + 1)
        quantiles[1, place] = anchor + middle[place]
        mean[place] = quantiles[1, place] + lean[place]
        quantiles[0, place] = quantiles[1, place] - lower[place] * np.exp(below + temper)
        quantiles[2, place] = quantiles[1, place] + upper[place] * np.exp(above + temper)
