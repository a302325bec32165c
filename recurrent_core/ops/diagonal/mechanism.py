"""Diagonal attention: a state per channel instead of a matrix; O(d) a step.

I know nothing of how the sums are kept: to `weighted_sums` each channel is a head of its own with one feature, 1.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from recurrent_core.errors import ConfigError
from recurrent_core.ops import weighted_sums
from recurrent_core.ops.diagonal import reference
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.run import Pair, Run, log_omega


class Diagonal(Recurrence):
    """Each channel's mean of its values with weights exp(k), decayed, let through by sigmoid(q)."""

    name = "diagonal"
    source = "Zhai et al. 2021, arXiv:2105.14103 (AFT-simple), decayed as in Peng et al. 2023, arXiv:2305.13048"
    is_gated = True

    def __init__(self, d_k: int, d_v: int) -> None:
        """Args: d_k, d_v, one size."""
        super().__init__(d_k, d_v)
        if d_k != d_v:
            raise ConfigError(f"diagonal attention pairs a key's channel with a value's: d_k is {d_k}, d_v {d_v}")

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return {part: (self.d_k, *shape) for part, shape in weighted_sums.parts(1, 1).items()}

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        log_decay = pair.log_decay.unsqueeze(-1).expand(pair.k.shape)
        log_decay = log_decay if pair.log_gate is None else log_decay + pair.log_gate
        log_weight = pair.k + log_omega(pair).unsqueeze(-1)
        one = torch.ones_like(pair.k).unsqueeze(-1)
        return weighted_sums.fold(one, pair.v.unsqueeze(-1), log_weight, log_decay, state)

    def read(self, q: Tensor, state: State) -> Tensor:
        one = q.new_ones(q.mT.unsqueeze(-1).shape)
        return torch.sigmoid(q) * weighted_sums.read(one, state).squeeze(-1).mT

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        log_decay = run.log_decay.unsqueeze(-1).expand(run.k.shape)
        log_decay = (log_decay if run.log_gate is None else log_decay + run.log_gate).mT
        log_weight = (run.k + log_omega(run).unsqueeze(-1)).mT
        one = torch.ones_like(log_weight).unsqueeze(-1)
        mean, end = weighted_sums.block(one, one, run.v.mT.unsqueeze(-1), log_weight, log_decay, state)
        return torch.sigmoid(q) * mean.squeeze(-1).mT, end

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run)
