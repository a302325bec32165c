"""What an origin says to its group, and attention across the group's members at one moment.

I know nothing of states, slots or time. The attention is the affine read-out of `ops/entropy_equality`, with a diagonal
C_kk; while serving it is kept incrementally, see `kernel/group.py`.
"""

import torch
from torch import Tensor, nn

from recurrent_core.models.elinformer.inlet import NUM_INPUTS, Inlet
from recurrent_core.models.elinformer.layout import GROUP_HEADS, GROUP_WIDTH
from recurrent_core.models.elinformer.made import UNKNOWN, Shown

NUM_HEARD = GROUP_HEADS * GROUP_WIDTH
NUM_SAID = 3 * NUM_HEARD
"""Floats that an origin says: query, key and value of each head."""
HIDDEN, EMBEDDING = 32, 24
RHO2 = 2.0
"""Cap of the slope, see ops/entropy_equality."""


class GroupNet(nn.Module):
    """Origins and the numbers of their series -> query, key and value of each head; keys and values within ± 1."""

    def __init__(self, num_series: int) -> None:
        """Weights at birth.

        Args:
            num_series: series with an embedding of their own, 1 and up.
        """
        super().__init__()
        self.num_series = num_series
        self.inlet = Inlet(sees_levels=True)
        self.embedding = nn.Embedding(num_series + 1, EMBEDDING)
        self.first = nn.Linear(NUM_INPUTS + EMBEDDING, HIDDEN)
        self.last = nn.Linear(HIDDEN, NUM_SAID)
        nn.init.normal_(self.embedding.weight, std=0.3)

    def forward(self, shown: Shown) -> Tensor:
        """What each origin says, [n, 3, GROUP_HEADS, GROUP_WIDTH]."""
        known = torch.where(shown.series <= self.num_series, shown.series, UNKNOWN)
        hidden = torch.relu(self.first(torch.cat([self.inlet(shown), self.embedding(known)], dim=1)))
        said = self.last(hidden).view(len(hidden), 3, GROUP_HEADS, GROUP_WIDTH)
        return torch.cat([said[:, :1] * GROUP_WIDTH**-0.5, said[:, 1:].tanh()], dim=1)


def attend(said: Tensor, moments: Tensor, is_member: Tensor) -> Tensor:
    """What each origin hears of the members of its moment, [n, NUM_HEARD]; 0 where there are none.

    Args:
        said: [n, 3, GROUP_HEADS, GROUP_WIDTH], as a GroupNet says it.
        moments: [n] int64, from 0, without gaps.
        is_member: [n] bool, whose keys and values are heard; everyone hears.
    """
    num = int(moments.max()) + 1 if len(moments) else 0
    weight = is_member.to(said.dtype)[:, None, None]
    query, key, value = said.unbind(dim=1)

    def mean(each: Tensor) -> Tensor:
        sums = torch.zeros(num, *each.shape[1:], dtype=each.dtype, device=each.device)
        total: Tensor = sums.index_add(0, moments, each) / mass.view(num, *[1] * (each.dim() - 1))
        return total[moments]

    mass = torch.ones(num, dtype=said.dtype, device=said.device)
    mass = torch.zeros_like(mass).index_add(0, moments, weight[:, 0, 0]).clamp(min=1.0)
    value_mean = mean(weight * value)
    apart_k, apart_v = weight * (key - mean(weight * key)), value - value_mean
    variance = (query.square() * mean(apart_k.square())).sum(dim=2, keepdim=True)
    slope = (1.0 + variance / RHO2).rsqrt()
    moved = (query[..., None] * mean(apart_k[..., None] * apart_v[..., None, :])).sum(dim=2)
    return (value_mean + slope * moved).flatten(1)
