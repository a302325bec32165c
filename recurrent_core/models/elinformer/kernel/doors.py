"""The kernel's doors: whole batches of readings over the rows of a slab, in place.

I know nothing of tensors. Readings of one slot stand in their order; slots in any. Where a slot's stand side by side,
its row is read from memory once.
"""

import numpy as np

from recurrent_core.calendar import NUM_MEMORIES
from recurrent_core.compiling import door
from recurrent_core.models.elinformer.kernel.calendar import clock
from recurrent_core.models.elinformer.kernel.drift import ticks_since_break
from recurrent_core.models.elinformer.kernel.features import write_features
from recurrent_core.models.elinformer.kernel.fold import anchor_of, fold, relative, scale_of
from recurrent_core.models.elinformer.kernel.forecast import forecast, make_work, note
from recurrent_core.models.elinformer.kernel.places import NUM_KNOTS, gap_ticks, passed_ticks
from recurrent_core.models.elinformer.kernel.settle import choose, learn_settled, note_final, spread, weigh_candidates

NUM_SEEN = 8


@door
def advance(slab, slots, columns, p, k, prior, mix, error, seen, features):
    """Fold readings into the rows and forecast after each; where a value is NaN, forecast from the row as it stands.

    Args:
        slab: [rows, floats] float32, changed. slots: [n], those of one row side by side where it should be fast.
        columns: [4, n] float64: value, elapsed_s since the row's last reading (> 0 for a question), cadence_s,
            second_of_week.
        mix, error: [n, leads] float64, written: point forecast relative to the anchor, mean |error| expected of it.
        seen: [n, NUM_SEEN] float64, written: the row's scale, tick and count, the ticks since its last reading, its
            surprise and the ticks since a break (see `drift`), its newest value and the number of its series.
        features: [n, NUM_FEATURES] float32, written where a network wants them; [n, 0] where none does.
    """
    work = make_work(mix.shape[1])
    residuals = np.empty(NUM_MEMORIES)
    for i in range(len(slots)):
        row = slab[slots[i]]
        at = clock(p, columns[2, i])
        second, last, gap = columns[3, i], columns[3, i], 0.0
        if np.isnan(columns[0, i]):
            scale = scale_of(row, p)
            last, gap = second - columns[1, i], gap_ticks(columns[1, i], columns[2, i])
        else:
            scale = fold(row, p, k, at, columns[0, i], columns[1, i], second, residuals)
        forecast(row, p, k, at, second, last, gap, prior, scale, work, mix[i], error[i])
        if features.shape[1]:
            write_features(row, p, at, second, last, gap, scale, work, mix[i], error[i], features[i])
        if gap == 0.0:
            note(row, p, scale, work, mix[i])
        seen[i, 0], seen[i, 1], seen[i, 2], seen[i, 3] = scale, row[p.tick], row[p.counted], gap
        seen[i, 4], seen[i, 5] = row[p.drift], ticks_since_break(row, p)
        seen[i, 6] = anchor_of(row, p) + row[p.ring]
        seen[i, 7] = row[p.series] if p.series >= 0 else 0.0


@door
def settle(slab, slots, values, p, seen, candidates, lean, lower, upper, mean, quantiles):
    """Learn from the truths that arrived what the final forecasts missed, then choose, note and spread the new ones.

    Args:
        slab, slots: as in `advance`. values: [n]. seen: [n, NUM_SEEN], as `advance` left it.
        candidates: [n, candidates, leads >= NUM_LEADS]; lean, lower, upper: [n, leads]; see made.Final.
        mean: [n, horizon], quantiles: [n, 3, horizon] float64, written, in the unit of the values.
    """
    num_candidates = candidates.shape[1]
    middle, shares = np.empty(candidates.shape[2]), np.empty((num_candidates, NUM_KNOTS))
    for i in range(len(slots)):
        row = slab[slots[i]]
        tick, passed = int(seen[i, 1]), passed_ticks(seen[i, 3])
        if passed == 0:
            learn_settled(row, p, relative(row, p, values[i]), tick, int(seen[i, 5]), num_candidates)
        weigh_candidates(row, p, shares)
        choose(shares, passed, candidates[i], middle)
        if passed == 0:
            note_final(row, p, tick, candidates[i], middle, lower[i], upper[i])
        spread(row, p, passed, middle, lean[i], lower[i], upper[i], mean[i], quantiles[i])
