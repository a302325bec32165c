"""A network of the trained dress: it knows which series it is shown, and shifts the mix at every learnt lead.

I know nothing of states or slots. There are two ways to be shown lengths. A net that *sees levels* is shown them as
they stand on the axis of the values it learnt from, which says much where levels are the same every day. Any other is
shown shapes, in the slot's scale: it holds where levels drift. Both serve side by side, chosen between by their errors.
"""

import torch
from torch import Tensor, nn

from recurrent_core.models.elinformer.features import NUM_LENGTHS, OF_NEWEST
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.mix_net import LEAST_SPREAD, NUM_INPUTS, squash

HIDDEN, EMBEDDING, NUM_BLOCKS = 64, 24, 3
DROPOUT = 0.15
MOST_UNITS = 15.0
"""Lengths that are shown on an axis, and shifts, are kept within ± this many units."""
LEAST_SCALE = 0.02
"""The unit of shapes is at least this share of the learnt values' deviation."""
UNKNOWN = 0
"""The number of every series that was not learnt from."""


class ResidualBlock(nn.Module):
    """h + W2 drop(relu(W1 h))."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: [..., HIDDEN]; the same comes out."""
        result: Tensor = hidden + self.outer(self.dropout(torch.relu(self.inner(hidden))))
        return result


class SeriesNet(nn.Module):
    """Features of an origin, its newest value and the number of its series -> shift of the mix at the learnt leads."""

    shift: Tensor
    spread: Tensor
    center: Tensor
    deviation: Tensor
    of_newest: Tensor

    def __init__(self, num_series: int, sees_levels: bool) -> None:
        """Weights at birth, when it says nothing.

        Args:
            num_series: series with an embedding of their own, 1 and up.
        """
        super().__init__()
        self.num_series, self.sees_levels = num_series, sees_levels
        self.register_buffer("shift", torch.zeros(NUM_INPUTS))
        self.register_buffer("spread", torch.ones(NUM_INPUTS))
        self.register_buffer("center", torch.zeros((), dtype=torch.float64))
        self.register_buffer("deviation", torch.ones((), dtype=torch.float64))
        of_newest = torch.zeros(NUM_LENGTHS)
        for place in OF_NEWEST:
            of_newest[place] = 1.0
        self.register_buffer("of_newest", of_newest, persistent=False)
        self.embedding = nn.Embedding(num_series + 1, EMBEDDING)
        self.inlet = nn.Linear(NUM_INPUTS + 1 + EMBEDDING, HIDDEN)
        self.blocks = nn.ModuleList(ResidualBlock() for _ in range(NUM_BLOCKS))
        self.out = nn.Linear(HIDDEN, NUM_LEADS)
        self.skip = nn.Linear(NUM_INPUTS + 1, NUM_LEADS)
        nn.init.normal_(self.embedding.weight, std=0.3)
        for layer in (self.out, self.skip):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def standardise(self, features: Tensor, newest: Tensor) -> None:
        """Set what inputs are relative to from a sample of origins: features [n, NUM_FEATURES], newest values [n]."""
        inputs = squash(features)
        self.shift.copy_(inputs.mean(dim=0))
        self.spread.copy_(inputs.std(dim=0).clamp(min=LEAST_SPREAD))
        self.center.copy_(newest.mean())
        self.deviation.copy_(newest.std().clamp(min=1e-30))

    def forward(self, features: Tensor, newest: Tensor, scale: Tensor, series: Tensor) -> Tensor:
        """What the mix should be shifted by, [n, NUM_LEADS], in the unit of the values.

        Args:
            features: [n, NUM_FEATURES] float32. newest, scale: [n] float64.
            series: [n] int64; numbers beyond those learnt count as UNKNOWN.
        """
        if self.sees_levels:
            unit = self.deviation.expand_as(scale)
        else:
            unit = torch.maximum(scale, LEAST_SCALE * self.deviation)
        size = (scale.clamp(min=1e-30) / self.deviation).log().clamp(-10.0, 10.0).float()[:, None]
        inputs = torch.cat([self._inputs(features, newest, scale), size], dim=1)
        known = torch.where(series <= self.num_series, series, UNKNOWN)
        hidden = self.inlet(torch.cat([inputs, self.embedding(known)], dim=1))
        for block in self.blocks:
            hidden = block(hidden)
        said: Tensor = (self.out(hidden) + self.skip(inputs)).clamp(-MOST_UNITS, MOST_UNITS)
        return said * unit.float()[:, None]

    def _inputs(self, features: Tensor, newest: Tensor, scale: Tensor) -> Tensor:
        """What it is shown, [n, NUM_INPUTS]: lengths first."""
        inputs = (squash(features) - self.shift) / self.spread
        if not self.sees_levels:
            return inputs
        size = (scale / self.deviation).float()[:, None]
        level = ((newest - self.center) / self.deviation).float()[:, None]
        lengths = features[:, :NUM_LENGTHS] * size + level * self.of_newest
        return torch.cat([lengths.clamp(-MOST_UNITS, MOST_UNITS), inputs[:, NUM_LENGTHS:]], dim=1)
