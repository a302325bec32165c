"""A small network that shifts and spreads the mix, fed with the slot's features; at its birth it is the mix itself.

I know nothing of states or slots. It works at the KNOTS, and what it says is read between them on straight lines. All
that it says is in units of the mean |error| expected of the mix, so it serves series of any unit.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurrent_core import mixing
from recurrent_core.intervals import UNIT
from recurrent_core.models.elinformer.features import COUNT, DAY_SINE, GAP, NUM_CONTEXT, NUM_GRID, NUM_LENGTHS
from recurrent_core.models.elinformer.layout import NUM_KNOTS, READOUTS
from recurrent_core.models.elinformer.made import Final, Made

HIDDEN, CONTEXT, LEAD, HEAD = 64, 32, 8, 40
NUM_READOUTS = len(READOUTS)
NUM_SAID = NUM_READOUTS + 4
"""Of a knot: logits of the read-outs, shift of the median, logs of the two sides, shift of the mean."""
POWER = 10.0
"""Weights are proportional to error ** -POWER before the network says otherwise."""
MOST_LOGIT = 60.0
"""So that a softmax can do without its largest logit, which is several times as fast over so few read-outs."""
HARMONICS = 6
"""Of the time of day."""
NUM_INPUTS = NUM_CONTEXT + 2 * (HARMONICS - 1)
LEAST_SPREAD = 0.1
"""Of a feature: one that hardly varied in training must not shout when it does."""
FIRST_COUNT = 6
"""Readings of a slot before a network learns from it or says anything."""
LEAST_MOVE = 1e-3
MOST_GAP = 100.0
"""Ticks since the last reading beyond which it says nothing either."""
MOST_SHIFT = 5.0


class MixNet(nn.Module):
    """Features of an origin -> shift, sides and mean at the knots, in units of the mix's expected error."""

    shift: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(NUM_INPUTS))
        self.register_buffer("spread", torch.ones(NUM_INPUTS))
        self.context = nn.Sequential(nn.Linear(NUM_INPUTS, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, CONTEXT), nn.SiLU())
        self.leads = nn.Parameter(0.1 * torch.randn(NUM_KNOTS, LEAD))
        self.from_context = nn.Linear(CONTEXT, HEAD)
        self.from_knot = nn.Linear(2 * NUM_READOUTS + LEAD, HEAD, bias=False)
        self.inner = nn.Linear(HEAD, HEAD)
        self.last = nn.Linear(HEAD, NUM_SAID)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def standardise(self, features: Tensor) -> None:
        """Set the shift and spread of the context from a sample of features, [n, NUM_FEATURES]."""
        context = squash(features)
        self.shift.copy_(context.mean(dim=0))
        self.spread.copy_(context.std(dim=0).clamp(min=LEAST_SPREAD))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the mix should be corrected by.

        Args:
            features: [n, NUM_FEATURES].
        Returns:
            shift of the median [n, knots], sides [n, 2, knots] > 0, shift of the mean from the median [n, knots].
        """
        num = len(features)
        apart = features[:, NUM_CONTEXT : NUM_CONTEXT + NUM_GRID].view(num, NUM_READOUTS, NUM_KNOTS).mT
        ratios = features[:, NUM_CONTEXT + NUM_GRID :].view(num, NUM_READOUTS, NUM_KNOTS).mT
        context = self.context((squash(features) - self.shift) / self.spread)
        knots = torch.cat([_asinh(apart), ratios, self.leads.expand(num, -1, -1)], dim=2)
        hidden = functional.silu(self.from_knot(knots) + self.from_context(context)[:, None])
        said = self.last(functional.silu(self.inner(hidden)))
        earned = torch.exp((4.0 * said[..., :NUM_READOUTS] - POWER * ratios).clamp(-MOST_LOGIT, MOST_LOGIT))
        shares = earned / earned.sum(dim=2, keepdim=True)
        shift, mean = said[..., NUM_READOUTS], said[..., NUM_READOUTS + 3]
        shift = ((shares * apart).sum(dim=2) + shift).clamp(-MOST_SHIFT, MOST_SHIFT)
        sides = UNIT * said[..., NUM_READOUTS + 1 : NUM_READOUTS + 3].clamp(-3.0, 3.0).exp()
        return shift, sides.mT, mean.clamp(-MOST_SHIFT, MOST_SHIFT)

    @torch.inference_mode()
    def finish(self, made: Made) -> Final:
        """The mix and what the network makes of it, to choose from."""
        mix = made.mix
        leads = torch.arange(1, mix.shape[1] + 1, device=mix.device)[None]
        shift, sides, lean = self.forward(made.features)
        may_say = says(made.features)[:, None]
        sides = torch.where(may_say[:, None] > 0, sides, UNIT)
        said = torch.cat([(may_say * shift)[:, None], sides, (may_say * lean)[:, None]], dim=1)
        shift, lower, upper, lean = (mixing.at_leads(said, leads) * made.error[:, None]).unbind(dim=1)
        return Final(torch.stack([mix, mix + shift], dim=1), lean, lower, upper)


def squash(features: Tensor) -> Tensor:
    """The context, its lengths squashed, and harmonics of the time of day, [n, NUM_INPUTS]."""
    angle = torch.atan2(features[:, DAY_SINE], features[:, DAY_SINE + 1])[:, None]
    turns = angle * torch.arange(2, HARMONICS + 1, device=angle.device)
    plain = features[:, NUM_LENGTHS:NUM_CONTEXT]
    return torch.cat([_asinh(features[:, :NUM_LENGTHS]), plain, turns.sin(), turns.cos()], dim=1)


def says(features: Tensor) -> Tensor:
    """1 where a network can know better than the mix; 0 at first readings, long after the last, without moves; [n]."""
    is_grown = features[:, COUNT] >= math.log(FIRST_COUNT) - 1e-3
    is_moving = features[:, :NUM_LENGTHS].abs().amax(dim=1) > LEAST_MOVE
    is_near = features[:, GAP] <= math.log1p(MOST_GAP)
    return (is_grown & is_moving & is_near).float()


def _asinh(lengths: Tensor) -> Tensor:
    """asinh by its logarithm, which torch vectorises: eight times as fast."""
    return torch.copysign((lengths.abs() + (lengths.square() + 1.0).sqrt()).log(), lengths)
