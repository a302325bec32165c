"""Performer: attention by FAVOR+, its features stabilised without a look at the whole run.

A key's largest log feature is taken out of its features and put into its weight, which `weighted_sums` keeps in logs;
a query's falls out of the ratio. So nothing overflows and nothing is added to the features.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from recurrent_core.errors import ConfigError
from recurrent_core.ops import weighted_sums
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.performer import features, reference
from recurrent_core.ops.run import Pair, Run, log_omega


class Performer(Recurrence):
    """FAVOR+ with num_features drawn directions, which are kept with the weights."""

    name = "performer"
    source = "Choromanski et al. 2020, arXiv:2009.14794"
    directions: Tensor

    def __init__(self, d_k: int, d_v: int, num_features: int | None = None) -> None:
        """Args: num_features, m; 2 d_k unless given. The draw is torch's own generator's."""
        super().__init__(d_k, d_v)
        if num_features is not None and num_features < 1:
            raise ConfigError(f"performer of {num_features} features; wanted at least 1")
        self.num_features = num_features or 2 * d_k
        self.register_buffer("directions", features.draw(self.num_features, d_k))

    def redraw(self, generator: torch.Generator | None = None) -> None:
        """Draw new directions, as between the epochs of a training; states of the old ones are worthless then."""
        self.directions.copy_(features.draw(self.num_features, self.d_k, generator))

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return weighted_sums.parts(self.num_features, self.d_v)

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        phi_k, largest = self._features(pair.k)
        return weighted_sums.fold(phi_k, pair.v, log_omega(pair) + largest, pair.log_decay, state)

    def read(self, q: Tensor, state: State) -> Tensor:
        return weighted_sums.read(self._features(q)[0], state)

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        phi_k, largest = self._features(run.k)
        phi_q, _ = self._features(q)
        return weighted_sums.block(phi_q, phi_k, run.v, log_omega(run) + largest, run.log_decay, state)

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run, self.directions)

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features whose largest is 1, [..., m], and the log of what they were divided by, [...]."""
        logs = features.log_features(x, self.directions)
        largest = logs.amax(-1, keepdim=True).detach()
        return (logs - largest).exp(), largest.squeeze(-1)
