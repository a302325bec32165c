"""Settles final forecasts with their truths: what the intervals missed, how far the slot drifts; and spreads new ones.

I know nothing of how a forecast was made. Last of a reading's way: `fold`, `forecast`, then me.
"""

import torch
from torch import Tensor

from recurrent_core import intervals, mixing, scaling
from recurrent_core.models.elinformer.fold import Parts, arrived_origins, note_places
from recurrent_core.models.elinformer.layout import NOTED_SIDES, NUM_LEADS
from recurrent_core.models.elinformer.made import Final

DRIFT_FAST, DRIFT_SLOW = 0.1, 0.005
"""Rates of the short and the long running error at lead 1."""


def learn(parts: Parts, value: Tensor) -> None:
    """The truth for the origins that lie a knot back has arrived; value: [batch] float64, the reading."""
    origins, _, is_arrived = arrived_origins(parts["tick"], parts["final_stamps"])
    noted = parts["final_notes"].gather(2, note_places(origins)[:, None].expand(-1, NOTED_SIDES, -1))
    error = scaling.relative(value, parts["anchor"])[:, None] - noted[:, 0]
    settled = parts["settled"]
    settled.add_(is_arrived).clamp_(max=1e4)
    parts["offsets"].copy_(intervals.learn_offsets(parts["offsets"], settled, error, noted[:, 1:], is_arrived))
    first_rate = 1.0 / settled[:, 0].clamp(min=1.0)
    for place, floor in enumerate((DRIFT_FAST, DRIFT_SLOW)):
        rate = first_rate.clamp(min=floor) * is_arrived[:, 0]
        parts["drift"][:, place].lerp_(error[:, 0].abs(), rate)


def note_final(parts: Parts, made: Final) -> None:
    """Note forecasts at the knots for the day their truths arrive; changes parts in place."""
    knots = mixing.knot_leads(made.middle.device)
    tick = parts["tick"]
    rows = torch.arange(len(tick), device=tick.device)
    parts["final_stamps"][rows, torch.remainder(tick, NUM_LEADS).long()] = tick
    said = torch.stack([made.middle[:, knots - 1], made.lower[:, knots - 1], made.upper[:, knots - 1]], dim=1)
    places = note_places(tick[:, None].expand(-1, len(knots)))
    parts["final_notes"].scatter_(2, places[:, None].expand(-1, NOTED_SIDES, -1), said)


def spread(parts: Parts, made: Final, leads: Tensor) -> tuple[Tensor, Tensor]:
    """Forecasts in the unit of the values, their sides widened as the offsets have it.

    Args:
        leads: [1 or batch, leads] int64, counted from the last reading.
    Returns:
        mean [batch, leads] and quantiles [batch, 3, leads], float64.
    """
    sides = torch.stack([made.lower, made.upper], dim=1) * mixing.at_leads(parts["offsets"], leads).exp()
    anchor, sides = scaling.join_anchor(parts["anchor"])[:, None], sides.double()
    middle = anchor + made.middle.double()
    return anchor + made.mean.double(), torch.stack([middle - sides[:, 0], middle, middle + sides[:, 1]], dim=1)
