"""Ways through a history: as it came, or a block of days left out at a time.

*As it came*: young states first, as a new deployment has them. *A block left out*: the state is warmed on all rows
before and after a block, never on the block, then meets it, so that the rows of the block are seen by a grown state
whose calendar does not know them. Learning from the first way alone teaches a network that memory is poor; a state
warmed on the block itself would leak its truths. I know nothing of models.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from recurrent_core.calendar import WEEK_S
from recurrent_core.models.elinformer.layout import NUM_LEADS
from stream_engine.records import Bools, Float64s, Int64s
from stream_engine.training.material import Part

GUARD_ROWS = NUM_LEADS + 3
"""Rows after a block that hold its truths, and those a calendar cell reaches over."""
_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One way through a part's rows.

    Attributes:
        rows: [m] in the order of the replay.
        times_s: [m] float64, seconds of the replay's clock, strictly increasing.
        is_shown: [m] whether what the state says at that row is kept.
    """

    rows: Int64s
    times_s: Float64s
    is_shown: Bools


def as_it_came(part: Part, num_rows: int) -> Passage:
    """The rows below num_rows, in their order, all kept."""
    rows = np.arange(num_rows)
    return Passage(rows, _seconds(part)[rows], np.ones(num_rows, bool))


def blocks_left_out(part: Part, num_rows: int, num_blocks: int) -> list[Passage]:
    """For each of num_blocks blocks of the rows below num_rows: those after it, those before it, then the block.

    The rows after it are moved back by whole weeks, so that they keep their hour and day of the week.
    """
    seconds = _seconds(part)
    span_s = seconds[num_rows - 1] - seconds[0] + part.step_ns / _NS_PER_S
    shift_s = np.ceil(span_s / WEEK_S) * WEEK_S
    edges = np.linspace(0, num_rows, num_blocks + 1).astype(np.int64).tolist()
    passages = []
    for begin, end in pairwise(edges):
        after = np.arange(min(num_rows, end + 2 * GUARD_ROWS), num_rows)
        before = np.arange(begin)
        block = np.arange(begin, min(num_rows, end + GUARD_ROWS))
        passages.append(
            Passage(
                rows=np.concatenate([after, before, block]),
                times_s=np.concatenate([seconds[after] - shift_s, seconds[before], seconds[block]]),
                is_shown=np.concatenate([np.zeros(len(after) + len(before), bool), block < end]),
            )
        )
    return passages


def thinned(passage: Passage, share: float, draw: np.random.Generator, stretch: int = 1) -> Passage:
    """The same way with only so large a share of its rows kept, by chance; so many in a row stay together."""
    is_kept = np.repeat(draw.random(-(-len(passage.rows) // stretch)) < share, stretch)
    return replace(passage, is_shown=passage.is_shown & is_kept[: len(passage.rows)])


def _seconds(part: Part) -> Float64s:
    return np.asarray((part.times_ns - part.times_ns[0]) / _NS_PER_S)
