"""Attention by a kernel: feature maps elu + 1 (arXiv:2006.16236) and ReLU (arXiv:2205.14756).

I know nothing of how the sums are kept: `weighted_sums` does.
"""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from recurrent_core.ops import weighted_sums
from recurrent_core.ops.kernel import reference
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.run import Pair, Run, log_omega


class Kernel(Recurrence):
    """phi(q)'phi(k) in the place of exp(q'k)."""

    @staticmethod
    @abstractmethod
    def feature_map(x: Tensor) -> Tensor:
        """phi, >= 0, [..., d_k] -> [..., d_k]."""

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return weighted_sums.parts(self.d_k, self.d_v)

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        return weighted_sums.fold(self.feature_map(pair.k), pair.v, log_omega(pair), pair.log_decay, state)

    def read(self, q: Tensor, state: State) -> Tensor:
        return weighted_sums.read(self.feature_map(q), state)

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        phi_q, phi_k = self.feature_map(q), self.feature_map(run.k)
        return weighted_sums.block(phi_q, phi_k, run.v, log_omega(run), run.log_decay, state)

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run, self.feature_map)


class Elu(Kernel):
    """phi(x) = elu(x) + 1, eq. 7 of the source."""

    name = "elu"
    source = "Katharopoulos et al. 2020, arXiv:2006.16236"

    @staticmethod
    def feature_map(x: Tensor) -> Tensor:
        return functional.elu(x) + 1.0


class Relu(Kernel):
    """phi(x) = max(x, 0); a query without a positive feature in common with any key reads 0."""

    name = "relu"
    source = "Cai et al. 2022, arXiv:2205.14756, sec. 3.1"

    @staticmethod
    def feature_map(x: Tensor) -> Tensor:
        return torch.relu(x)
