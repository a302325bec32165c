"""Notices breaks in one row, and tempers its interval; the same equations as `drift` a floor above.

I know nothing of what else the errors are used for.
"""

import numpy as np

from recurrent_core.compiling import compiled
from recurrent_core.models.elinformer.drift import (
    CALMING_TICKS,
    FIRST_TEMPER,
    MOST_SURPRISE,
    MOST_TEMPER,
    SURPRISE_RATE,
    TEMPER_FADE,
    TEMPER_GAIN,
    YOUNG_TRUTHS,
)
from recurrent_core.models.elinformer.kernel.places import KNOT, NOTE_START, NUM_KNOTS, clip
from recurrent_core.models.elinformer.layout import NUM_LEADS, NUM_NOTES, TICK_TURN


@compiled
def ticks_since_break(row, p):
    """Ticks since the last break, at most CALMING_TICKS; so many, too, where there was none."""
    stamp = int(row[p.drift + 1])
    if stamp == 0:
        return int(CALMING_TICKS)
    return min((int(row[p.tick]) + 1 - stamp) % int(TICK_TURN), int(CALMING_TICKS))


@compiled
def notice(row, p, k, value):
    """Compare what the mix said a knot ago with the truth; a break is stamped, and the running errors made young.

    Returns:
        ticks since the last break, after this reading.
    """
    tick = int(row[p.tick])
    since = ticks_since_break(row, p)
    if since >= CALMING_TICKS:
        row[p.drift + 1] = 0.0
    total, num = 0.0, 0
    for knot in range(NUM_KNOTS):
        lead = KNOT[knot]
        origin = (tick - lead) % int(TICK_TURN)
        if row[p.counted] <= 1.0 or lead > since or row[p.stamps + origin % NUM_LEADS] != origin:
            continue
        said = np.float64(row[p.readout_notes + 2 * NUM_NOTES + NOTE_START[knot] + origin % lead])
        total += clip((value - said) / (np.float64(row[p.mix_errors + knot]) + 1e-30), MOST_SURPRISE)
        num += 1
    if num == 0:
        return since
    row[p.drift] += SURPRISE_RATE * (total / num - row[p.drift])
    is_old = row[p.counted] > 2 * k.warm_up_readings
    if not is_old or since < NUM_LEADS or abs(row[p.drift]) <= k.drift_ratio:
        return since
    row[p.drift + 1] = tick + 1
    for knot in range(NUM_KNOTS):
        row[p.arrived + knot] = min(np.float64(row[p.arrived + knot]), YOUNG_TRUTHS)
    return 0


@compiled
def learn_temper(row, p, since, before, beyond):
    """Have the temper follow the errors; beyond: mean of errors over what their intervals told, minus 1."""
    if since > 0:
        before = clip((1.0 - TEMPER_FADE) * before + TEMPER_GAIN * beyond, MOST_TEMPER)
    row[p.drift + 2] = before


@compiled
def temper_before(row, p, since):
    """The temper that holds when the truths of a reading are judged."""
    return FIRST_TEMPER if since == 0 else np.float64(row[p.drift + 2])
