"""The entropy-equality moments for one row at a time: pairs written, the ridge's system solved, both read-outs.

The same equations as `recurrent_core.ops.entropy_equality`, which is the truth I am tested against. C_kk is a packed
triangle, as in `moments.pack`. I know nothing of what keys and values stand for.
"""

import numpy as np

from recurrent_core.compiling import compiled
from recurrent_core.models.elinformer.fold import CLIP, LEAST_VALUES
from recurrent_core.models.elinformer.kernel.places import KNOT, NOTE_START, NUM_KNOTS, clip
from recurrent_core.models.elinformer.layout import D_KEY, NUM_LEADS, NUM_PAIRS, TICK_TURN

NUM_COV = D_KEY * (D_KEY + 1) // 2


@compiled
def learn_pairs(row, p, k, ticks):
    """Age the waiting keys; write the oldest whose twelve values are in, and let go of those the ring has outlived."""
    row[p.moments] *= np.exp(-ticks / k.moments_ticks)
    oldest, chosen = np.float64(0.0), -1
    for pair in range(NUM_PAIRS):
        age = np.float64(row[p.pair_age + pair])
        if age <= 0.0:
            continue
        age += ticks
        if age > p.ring_ticks:
            age = np.float64(0.0)
        row[p.pair_age + pair] = age
        has_values = row[p.counted] - row[p.pair_count + pair] >= LEAST_VALUES
        if age > NUM_LEADS and has_values and age > oldest:
            oldest, chosen = age, pair
    if chosen >= 0:
        write_pair(row, p, chosen)
        row[p.pair_age + chosen] = 0.0


@compiled
def write_pair(row, p, pair):
    """Write one pair into the moments, weighted against outliers by 3 r / (.3 r + e); see fold._write_pair."""
    back = int(row[p.pair_age + pair]) - 1
    scale = np.float64(row[p.pair_scale + pair])
    start = np.float64(row[p.ring + back])
    origin = (int(row[p.tick]) - back) % int(TICK_TURN)
    usual = np.float64(row[p.pair_error])
    error = usual
    if row[p.stamps + origin % NUM_LEADS] == origin:
        error = np.float64(0.0)
        for knot in range(NUM_KNOTS):
            lead = KNOT[knot]
            said = row[p.readout_notes + NOTE_START[knot] + origin % lead]
            error += min(abs(np.float64(row[p.ring + back - lead]) - said) / scale, CLIP) / NUM_KNOTS
    usual = usual + 0.02 * (error - usual) if usual > 0.0 else error
    row[p.pair_error] = usual
    omega = (3.0 * usual + 1e-6) / (0.3 * usual + error + 1e-6)

    old_mass = np.float64(row[p.moments])
    mass = old_mass + omega
    a, b = omega / mass, old_mass / mass
    row[p.moments] = mass
    row[p.moments + 1] = b * b * row[p.moments + 1] + a * a
    key = p.pair_key + pair * D_KEY
    key_mean, value_mean = p.moments + 2, p.moments + 2 + D_KEY
    cov = value_mean + NUM_LEADS
    cross = cov + NUM_COV
    for i in range(D_KEY):
        left = a * b * (np.float64(row[key + i]) - row[key_mean + i])
        for j in range(i, D_KEY):
            row[cov] = b * row[cov] + left * (np.float64(row[key + j]) - row[key_mean + j])
            cov += 1
        for lead in range(NUM_LEADS):
            value = clip((np.float64(row[p.ring + back - 1 - lead]) - start) / scale, CLIP)
            row[cross] = b * row[cross] + left * (value - row[value_mean + lead])
            cross += 1
    for i in range(D_KEY):
        row[key_mean + i] += a * (row[key + i] - row[key_mean + i])
    for lead in range(NUM_LEADS):
        value = clip((np.float64(row[p.ring + back - 1 - lead]) - start) / scale, CLIP)
        row[value_mean + lead] += a * (value - row[value_mean + lead])


@compiled
def _factorise(row, cov, ridge, factor):
    """R of R'R = C_kk + r I, upper, C_kk the triangle at cov; False where rounding left it indefinite.

    Row by row to the right, so that every inner loop runs along a row.
    """
    for i in range(D_KEY):
        for j in range(i, D_KEY):
            factor[i, j] = row[cov]
            cov += 1
        factor[i, i] += ridge
    for j in range(D_KEY):
        if not factor[j, j] > 0.0:
            return False
        inverse = 1.0 / np.sqrt(factor[j, j])
        for m in range(j, D_KEY):
            factor[j, m] *= inverse
        for i in range(j + 1, D_KEY):
            left = factor[j, i]
            for m in range(i, D_KEY):
                factor[i, m] -= left * factor[j, m]
    return True


@compiled
def _substitute(factor, query):
    """Solve R'R z = query in its place."""
    for i in range(D_KEY):
        query[i] /= factor[i, i]
        left = query[i]
        for m in range(i + 1, D_KEY):
            query[m] -= left * factor[i, m]
    for i in range(D_KEY - 1, -1, -1):
        total = query[i]
        for m in range(i + 1, D_KEY):
            total -= factor[i, m] * query[m]
        query[i] = total / factor[i, i]


@compiled
def _tilt(row, moments, query, slope, out):
    """vbar + slope C_kv' query into out, [NUM_LEADS]."""
    value_mean = moments + 2 + D_KEY
    cross = value_mean + NUM_LEADS + NUM_COV
    for lead in range(NUM_LEADS):
        out[lead] = row[value_mean + lead]
    for i in range(D_KEY):
        weight = slope * query[i]
        for lead in range(NUM_LEADS):
            out[lead] += weight * row[cross + i * NUM_LEADS + lead]


@compiled
def _mean_variance(row, cov):
    """tr(C_kk) / d_k of the triangle at cov."""
    trace = 0.0
    for i in range(D_KEY):
        trace += row[cov]
        cov += D_KEY - i
    return trace / D_KEY


@compiled
def read_ridge(row, moments, strength, work):
    """Ridge read-out at work.key into work.increments[0]; r = strength tr(C_kk) / d_k + 1e-6."""
    cov = moments + 2 + D_KEY + NUM_LEADS
    query = work.query
    for i in range(D_KEY):
        query[i] = work.key[i] - row[moments + 2 + i]
    if _factorise(row, cov, strength * _mean_variance(row, cov) + 1e-6, work.factor):
        _substitute(work.factor, query)
    else:
        query[:] = 0.0
    _tilt(row, moments, query, 1.0, work.increments[0])


@compiled
def read_affine(row, moments, work):
    """Affine read-out at work.key into work.increments[1], with the entropy-matched slope, rho^2 = 2."""
    cov = moments + 2 + D_KEY + NUM_LEADS
    query = work.query
    floor = 0.1 * _mean_variance(row, cov) + 1e-3
    place = cov
    for i in range(D_KEY):
        query[i] = (work.key[i] - row[moments + 2 + i]) / (row[place] + floor) * D_KEY**-0.5
        place += D_KEY - i
    x = 0.0
    place = cov
    for i in range(D_KEY):
        x += query[i] * query[i] * row[place]
        for j in range(i + 1, D_KEY):
            x += 2.0 * query[i] * query[j] * row[place + j - i]
        place += D_KEY - i
    slope = 1.0 / np.sqrt(1.0 + min(max(x, 0.0), 1e30) / 2.0)
    _tilt(row, moments, query, slope, work.increments[1])
