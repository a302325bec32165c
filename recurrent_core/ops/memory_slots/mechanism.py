"""Attention to bounded memory: Linformer's idea, few keys and values for many, as a stream.

I know nothing of models. The slots' means are kept by `weighted_sums`: to it the slots are features, and a pair is
its own key and value side by side.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from recurrent_core.errors import ConfigError
from recurrent_core.feature_maps import scale_query, unit_length
from recurrent_core.ops import weighted_sums
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.memory_slots import reference
from recurrent_core.ops.run import Pair, Run, log_omega


class MemorySlots(Recurrence):
    """Softmax over num_slots means of keys; a learned control says how much of a pair each slot lets in.

    The control reads the key's direction alone, so that what it lets in is bounded, whatever comes.
    """

    name = "memory_slots"
    source = "Peng et al. 2021, arXiv:2110.02488"
    chunk_size = 32

    def __init__(self, d_k: int, d_v: int, num_slots: int = 8) -> None:
        """Args: num_slots, at least 1."""
        super().__init__(d_k, d_v)
        if num_slots < 1:
            raise ConfigError(f"memory_slots of {num_slots} slots; wanted at least 1")
        self.num_slots = num_slots
        self.control = nn.Parameter(2.0 * torch.randn(num_slots, d_k))

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return weighted_sums.parts(self.num_slots, self.d_k + self.d_v)

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        both = torch.cat([pair.k, pair.v], dim=-1)
        return weighted_sums.fold(self._let_in(pair.k), both, log_omega(pair), pair.log_decay, state)

    def read(self, q: Tensor, state: State) -> Tensor:
        means = state["sums"] / _or_one(state["mass"]).unsqueeze(-1)
        keys, values = torch.split_with_sizes(means, [self.d_k, self.d_v], dim=-1)
        return torch.softmax(scale_query(q) @ keys.mT, dim=-1) @ values

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        u, let_in = scale_query(q), self._let_in(run.k)
        both = torch.cat([run.k, run.v], dim=-1)
        weight, before, end = weighted_sums.weigh(let_in, both, log_omega(run), run.log_decay, state)
        mass = _or_one(weight @ let_in + before * state["mass"].unsqueeze(-2))
        old_keys, old_values = torch.split_with_sizes(state["sums"], [self.d_k, self.d_v], dim=-1)
        logits = (((u @ run.k.mT) * weight) @ let_in + before * (u @ old_keys.mT)) / mass
        shares = torch.softmax(logits, dim=-1) / mass
        output = ((shares @ let_in.mT) * weight) @ run.v + (before * shares) @ old_values
        return output, end

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run, self.control)

    def _let_in(self, k: Tensor) -> Tensor:
        logits: Tensor = unit_length(k) @ self.control.to(k.dtype).T
        return logits.exp()


def _or_one(mass: Tensor) -> Tensor:
    return torch.where(mass > 0, mass, torch.ones_like(mass))
