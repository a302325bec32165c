"""What a network of the trained dress is shown of an origin: its features, and the level they stand on.

I know nothing of states or slots. There are two ways to be shown lengths. An inlet that *sees levels* shows them as
they stand on the axis of the values it learnt from, which says much where levels are the same every day. Any other
shows shapes, in the slot's scale: they hold where levels drift.
"""

import torch
from torch import Tensor, nn

from recurrent_core.models.elinformer.features import NUM_LENGTHS, OF_NEWEST
from recurrent_core.models.elinformer.made import Shown
from recurrent_core.models.elinformer.mix_net import LEAST_SPREAD, squash
from recurrent_core.models.elinformer.mix_net import NUM_INPUTS as NUM_SQUASHED

NUM_INPUTS = NUM_SQUASHED + 1
"""The squashed features, and the size of the scale."""
MOST_UNITS = 15.0
"""Lengths that are shown on an axis, and shifts, are kept within ± this many units."""
LEAST_SCALE = 0.02
"""The unit of shapes is at least this share of the learnt values' deviation."""


class Inlet(nn.Module):
    """Origins -> inputs of a network, about 0 and 1 in size."""

    shift: Tensor
    spread: Tensor
    center: Tensor
    deviation: Tensor
    of_newest: Tensor

    def __init__(self, sees_levels: bool) -> None:
        super().__init__()
        self.sees_levels = sees_levels
        self.register_buffer("shift", torch.zeros(NUM_SQUASHED))
        self.register_buffer("spread", torch.ones(NUM_SQUASHED))
        self.register_buffer("center", torch.zeros((), dtype=torch.float64))
        self.register_buffer("deviation", torch.ones((), dtype=torch.float64))
        of_newest = torch.zeros(NUM_LENGTHS)
        for place in OF_NEWEST:
            of_newest[place] = 1.0
        self.register_buffer("of_newest", of_newest, persistent=False)

    def standardise(self, shown: Shown) -> None:
        """Set what inputs are relative to from a sample of origins."""
        inputs = squash(shown.features)
        self.shift.copy_(inputs.mean(dim=0))
        self.spread.copy_(inputs.std(dim=0).clamp(min=LEAST_SPREAD))
        self.center.copy_(shown.newest.mean())
        self.deviation.copy_(shown.newest.std().clamp(min=1e-30))

    def unit(self, scale: Tensor) -> Tensor:
        """What a shift of 1 means, [n] in the unit of the values; scale: [n]."""
        if self.sees_levels:
            return self.deviation.expand_as(scale)
        return torch.maximum(scale, LEAST_SCALE * self.deviation)

    def forward(self, shown: Shown) -> Tensor:
        """The inputs, [n, NUM_INPUTS], lengths first."""
        size = (shown.scale.clamp(min=1e-30) / self.deviation).log().clamp(-10.0, 10.0).float()[:, None]
        inputs = (squash(shown.features) - self.shift) / self.spread
        if not self.sees_levels:
            return torch.cat([inputs, size], dim=1)
        scales = (shown.scale / self.deviation).float()[:, None]
        level = ((shown.newest - self.center) / self.deviation).float()[:, None]
        lengths = shown.features[:, :NUM_LENGTHS] * scales + level * self.of_newest
        return torch.cat([lengths.clamp(-MOST_UNITS, MOST_UNITS), inputs[:, NUM_LENGTHS:], size], dim=1)
