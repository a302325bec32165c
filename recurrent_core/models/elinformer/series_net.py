"""The networks of the trained dress: they know which series they are shown, and shift the mix at every learnt lead.

    origins ── GroupNet ── what each says to its group ── attention across the group ── what each hears of it
       └────── SeriesNet of levels, SeriesNet of shapes ◀───────────────────────────────────────────┘

I know nothing of states or slots. The two SeriesNets serve side by side, chosen between by their errors.
"""

import torch
from torch import Tensor, nn

from recurrent_core.models.elinformer.group_net import NUM_HEARD, GroupNet
from recurrent_core.models.elinformer.inlet import MOST_UNITS, NUM_INPUTS, Inlet
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.made import UNKNOWN, Shown

HIDDEN, EMBEDDING, NUM_BLOCKS = 96, 24, 3
DROPOUT = 0.05


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
    """Origins, the numbers of their series and what they hear of their group -> shift of the mix."""

    def __init__(self, num_series: int, sees_levels: bool, num_heard: int = NUM_HEARD) -> None:
        """Weights at birth, when it says nothing.

        Args:
            num_series: series with an embedding of their own, 1 and up.
            num_heard: floats that it is told besides.
        """
        super().__init__()
        self.num_series = num_series
        self.inlet = Inlet(sees_levels)
        self.embedding = nn.Embedding(num_series + 1, EMBEDDING)
        self.first = nn.Linear(NUM_INPUTS + EMBEDDING + num_heard, HIDDEN)
        self.blocks = nn.ModuleList(ResidualBlock() for _ in range(NUM_BLOCKS))
        self.out = nn.Linear(HIDDEN, NUM_LEADS)
        self.skip = nn.Linear(NUM_INPUTS, NUM_LEADS)
        nn.init.normal_(self.embedding.weight, std=0.3)
        for layer in (self.out, self.skip):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, shown: Shown, heard: Tensor) -> Tensor:
        """What the mix should be shifted by, [n, NUM_LEADS], in the unit of the values.

        Args:
            shown: the origins.
            heard: [n, num_heard], such as of the group; 0 where there is nothing.
        """
        inputs = self.inlet(shown)
        known = torch.where(shown.series <= self.num_series, shown.series, UNKNOWN)
        hidden = self.first(torch.cat([inputs, self.embedding(known), heard], dim=1))
        for block in self.blocks:
            hidden = block(hidden)
        said: Tensor = (self.out(hidden) + self.skip(inputs)).clamp(-MOST_UNITS, MOST_UNITS)
        return said * self.inlet.unit(shown.scale).float()[:, None]


class SeriesNets(nn.Module):
    """The three of them."""

    def __init__(self, num_series: int) -> None:
        super().__init__()
        self.group = GroupNet(num_series)
        self.levels = SeriesNet(num_series, sees_levels=True)
        self.shapes = SeriesNet(num_series, sees_levels=False)

    def standardise(self, shown: Shown) -> None:
        """Set what inputs are relative to from a sample of origins."""
        for net in (self.group, self.levels, self.shapes):
            net.inlet.standardise(shown)

    def forward(self, shown: Shown, heard: Tensor) -> list[Tensor]:
        """What each SeriesNet would shift the mix by; arguments and shapes as SeriesNet has them."""
        return [self.levels(shown, heard), self.shapes(shown, heard)]
