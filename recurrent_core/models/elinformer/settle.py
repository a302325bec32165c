"""Settles final forecasts with their truths: what the intervals missed; and spreads new ones.

I know nothing of how a forecast was made. Last of a reading's way: `fold`, `forecast`, then me.
"""

import torch
from torch import Tensor

from recurrent_core import intervals, mixing, scaling
from recurrent_core.models.elinformer.drift import temper, ticks_since_break
from recurrent_core.models.elinformer.fold import arrived_origins, note_places
from recurrent_core.models.elinformer.layout import NOTED_SIDES, NUM_LEADS, Parts
from recurrent_core.models.elinformer.made import Final

CHOICE_POWER = 4
"""Weights of the candidates are proportional to their recent errors ** -CHOICE_POWER."""
MIX_TRUST = 0.2
"""What the mix's weight is multiplied by: of two that err alike of late, a network will likely err less."""
CHOICE_RATE = 0.05
"""Floor of the rate of the candidates' running errors: a short memory."""


def learn(parts: Parts, value: Tensor) -> None:
    """The truth for the origins that lie a knot back has arrived; value: [batch] float64, the reading."""
    origins, _, is_arrived = arrived_origins(parts["tick"], parts["final_stamps"])
    places = note_places(origins)[:, None]
    truth = scaling.relative(value, parts["anchor"])[:, None]
    settled = parts["settled"]
    settled.add_(is_arrived).clamp_(max=1e4)
    candidates = parts["candidate_notes"]
    errors = (truth[:, None] - candidates.gather(2, places.expand(-1, candidates.shape[1], -1))).abs()
    learnt = mixing.learn_errors(parts["candidate_errors"], settled, errors, is_arrived, CHOICE_RATE)
    parts["candidate_errors"].copy_(learnt)
    noted = parts["final_notes"].gather(2, places.expand(-1, NOTED_SIDES, -1))
    error = truth - noted[:, 0]
    offsets, sides = parts["offsets"], noted[:, 1:]
    tempered = temper(parts, ticks_since_break(parts), error, sides * offsets.exp(), is_arrived).exp()
    offsets.copy_(intervals.learn_offsets(offsets, settled, error, sides * tempered[:, None, None], is_arrived))


def choose(parts: Parts, made: Final, leads: Tensor) -> Tensor:
    """The candidates blended by their recent errors, [batch, leads]; leads: [1 or batch, leads], since the reading."""
    shares = mixing.weights(parts["candidate_errors"] + 1e-30, CHOICE_POWER)
    shares[:, 0] *= MIX_TRUST
    shares = shares / shares.sum(dim=1, keepdim=True)
    return (mixing.at_leads(shares, leads) * made.candidates).sum(dim=1)


def note_final(parts: Parts, made: Final, middle: Tensor) -> None:
    """Note forecasts at the knots for the day their truths arrive; changes parts in place."""
    knots = mixing.knot_leads(middle.device)
    tick = parts["tick"]
    rows = torch.arange(len(tick), device=tick.device)
    parts["final_stamps"][rows, torch.remainder(tick, NUM_LEADS).long()] = tick
    places = note_places(tick[:, None].expand(-1, len(knots)))[:, None]
    said = torch.stack([middle[:, knots - 1], made.lower[:, knots - 1], made.upper[:, knots - 1]], dim=1)
    parts["final_notes"].scatter_(2, places.expand(-1, NOTED_SIDES, -1), said.float())
    candidates = made.candidates[..., knots - 1].float()
    parts["candidate_notes"].scatter_(2, places.expand(-1, candidates.shape[1], -1), candidates)


def spread(parts: Parts, made: Final, middle: Tensor, leads: Tensor) -> tuple[Tensor, Tensor]:
    """Forecasts in the unit of the values, their sides widened as the offsets and the temper have it.

    Args:
        middle: [batch, leads], as chosen; leads: [1 or batch, leads] int64, counted from the last reading.
    Returns:
        mean [batch, leads] and quantiles [batch, 3, leads], float64.
    """
    offsets = parts["offsets"] + parts["drift"][:, 2, None, None]
    sides = torch.stack([made.lower, made.upper], dim=1) * mixing.at_leads(offsets, leads).exp()
    median = scaling.join_anchor(parts["anchor"])[:, None] + middle.double()
    sides = sides.double()
    quantiles = torch.stack([median - sides[:, 0], median, median + sides[:, 1]], dim=1)
    return median + made.lean.double(), quantiles
