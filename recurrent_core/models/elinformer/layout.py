"""What one row of the elinformer's state holds, part by part.

I know nothing of how the parts change; `fold`, `forecast` and `settle` beside me do.
"""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from recurrent_core import calendar, mixing
from recurrent_core.config import ElinformerConfig
from recurrent_core.ops.entropy_equality import moments
from recurrent_core.state import StateLayout

NUM_LEADS = mixing.LONGEST_KNOT
"""Leads that are learnt, 1 ... NUM_LEADS."""
NUM_KNOTS = len(mixing.KNOTS)
NUM_NOTES = sum(mixing.KNOTS)
"""Floats of one delayed quantity: for each knot h the last h origins' values at lead h, knot after knot."""
D_KEY = 17
"""Features of a key: lags 1-5, memories at four, mean, and the time of day as sin and cos."""
NUM_PAIRS = 4
"""Keys that wait for their values."""
PAIR_TICKS = 3
"""Every third origin becomes a pair of key and value."""
READOUTS = (
    "persistence",
    "last visit",
    "profile",
    "profile and hour",
    "last visit, decayed",
    "profile, decayed",
    "class of day, decayed",
    "profile and hour, decayed",
    "last week, decayed",
    "ridge",
    "affine",
    "smoothing, fast",
    "smoothing, slow",
)
RAW_MEMORIES = (0, 1, 3)
"""Memories that are read-outs as they are: last visit, profile, profile and hour."""
NUM_SMOOTH = 2
NUM_HABITS = 2
"""Shares of readings that repeat the one before, and that are zero."""
NOTED_READOUTS = 3
"""Read-outs noted at the knots for the day their truths arrive: ridge, affine, mix."""
NOTED_SIDES = 3
"""What is noted of the final forecast at the knots: its middle and the distances of its two sides."""
TICK_TURN = float(NUM_LEADS * 2**18)
"""Ticks are counted modulo this: exact in float32, a multiple of the journal's length."""
GROUP_HEADS, GROUP_WIDTH = 2, 8
"""Of the attention across a group: heads, and floats of a key or a value."""
NUM_TOLD = 2 * GROUP_HEADS * GROUP_WIDTH
"""Keys and values that a series told its group last; their tick follows."""
LAYOUT_VERSION = 3
Parts = dict[str, Tensor]
"""Views of rows, part by part."""


def make_layout(
    config: ElinformerConfig,
    num_candidates: int,
    series: str = "",
    history: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> StateLayout:
    """The row of the given config and number of forecasts to choose from; its id changes with every shape here.

    Args:
        series: a fingerprint of the series that the model knows by number, if it knows any: rows then keep theirs, and
            what they told their group last.
        history: parts of an attention over each series' own past, whose rules stand in `config.attention`.
    """
    num_readouts = len(READOUTS)
    memories = calendar.NUM_MEMORIES
    return StateLayout(
        "-".join(filter(None, ("elinformer", series, *config.attention))),
        LAYOUT_VERSION,
        {
            "anchor": (2,),
            "count": (),
            "tick": (),
            "step_sizes": (2,),
            "level": (),
            "smooth": (NUM_SMOOTH,),
            "ring": (config.ring_ticks,),
            "day": (calendar.NUM_DAY_ROWS, config.day_cells),
            "day_visits": (2, 3),
            "week": (calendar.NUM_WEEK_ROWS, config.week_cells),
            "week_visits": (2, 4),
            "moments": (moments.num_floats(D_KEY, NUM_LEADS),),
            "pair_age": (NUM_PAIRS,),
            "pair_count": (NUM_PAIRS,),
            "pair_scale": (NUM_PAIRS,),
            "pair_key": (NUM_PAIRS, D_KEY),
            "pair_error": (),
            "residuals": (memories,),
            "residual_cross": (memories, NUM_KNOTS),
            "residual_square": (memories, NUM_KNOTS),
            "stamps": (NUM_LEADS,),
            "residual_notes": (NUM_LEADS, memories),
            "smooth_notes": (NUM_LEADS, NUM_SMOOTH),
            "readout_notes": (NOTED_READOUTS, NUM_NOTES),
            "arrived": (NUM_KNOTS,),
            "readout_errors": (num_readouts, NUM_KNOTS),
            "mix_errors": (NUM_KNOTS,),
            "mix_last": (NUM_KNOTS,),
            "mix_bias": (NUM_KNOTS,),
            "habits": (NUM_HABITS,),
            "candidate_notes": (num_candidates, NUM_NOTES),
            "candidate_errors": (num_candidates, NUM_KNOTS),
            "final_stamps": (NUM_LEADS,),
            "final_notes": (NOTED_SIDES, NUM_NOTES),
            "settled": (NUM_KNOTS,),
            "offsets": (2, NUM_KNOTS),
            "drift": (3,),
            **({"series": (), "told": (NUM_TOLD + 1,)} if series else {}),
            **history,
        },
    )
