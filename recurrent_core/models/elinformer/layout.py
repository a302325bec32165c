"""What one row of the elinformer's state holds, part by part.

I know nothing of how the parts change; `fold` and `forecast` beside me do.
"""

from recurrent_core import calendar, mixing
from recurrent_core.config import ElinformerConfig
from recurrent_core.ops.entropy_equality import moments
from recurrent_core.state import StateLayout

NUM_LEADS = mixing.LONGEST_KNOT
"""Leads that are learnt, 1 ... NUM_LEADS."""
NUM_KNOTS = len(mixing.KNOTS)
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
JOURNAL = {"residuals": calendar.NUM_MEMORIES, "smooth": 2, "ridge": 5, "affine": 5, "mix": 5, "expected": 5}
"""What an origin notes for the day its truths arrive, and in how many floats; a stamp (its tick) goes before."""
LAYOUT_VERSION = 1


def make_layout(config: ElinformerConfig) -> StateLayout:
    """The row of the given config; its id changes with every shape here."""
    num_readouts = len(READOUTS)
    memories = calendar.NUM_MEMORIES
    return StateLayout(
        "elinformer",
        LAYOUT_VERSION,
        {
            "anchor": (2,),
            "count": (),
            "tick": (),
            "step_sizes": (2,),
            "level": (),
            "smooth": (2,),
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
            "journal": (NUM_LEADS, 1 + sum(JOURNAL.values())),
            "arrived": (NUM_KNOTS,),
            "readout_errors": (num_readouts, NUM_KNOTS),
            "mix_errors": (NUM_KNOTS,),
            "offsets": (2, NUM_KNOTS),
            "drift": (2,),
        },
    )
