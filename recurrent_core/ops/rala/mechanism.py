"""Rank-augmented linear attention in a causal form: a key weighs by what the queries so far look for.

I know nothing of how the sums are kept: `weighted_sums` does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from recurrent_core.ops import weighted_sums
from recurrent_core.ops.kernel.mechanism import Elu
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.rala import reference
from recurrent_core.ops.run import Pair, Run, log_ages, log_omega, make_run
from recurrent_core.ops.softmax.reference import softmax_or_zero


class Rala(Recurrence):
    """elu + 1 features; alpha_j = exp(mean query' phi(k_j) / sqrt(d_k)), the mean over the queries up to j, decayed.

    In the source the mean is over all queries, which a stream has not seen yet: `reference.attend_whole` is that form.
    """

    name = "rala"
    source = "Fan et al. 2024, arXiv:2411.07635; causal form ours"

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return {**weighted_sums.parts(self.d_k, self.d_v), "query_mass": (), "query_mean": (self.d_k,)}

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        decayed = state["query_mass"] * pair.log_decay.exp()
        mass = decayed + 1.0
        mean = state["query_mean"].lerp(Elu.feature_map(q), (1.0 / mass).unsqueeze(-1))
        phi_k = Elu.feature_map(pair.k)
        log_weight = log_omega(pair) + self._log_alpha(phi_k, mean)
        sums = weighted_sums.fold(phi_k, pair.v, log_weight, pair.log_decay, state)
        return {**sums, "query_mass": mass, "query_mean": mean}

    def read(self, q: Tensor, state: State) -> Tensor:
        return weighted_sums.read(Elu.feature_map(q), state)

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        phi_q, phi_k = Elu.feature_map(q), Elu.feature_map(run.k)
        since, ages = log_ages(run.log_decay)
        within = ages.exp().to(q.dtype)
        before = (since.exp().to(q.dtype) * state["query_mass"].unsqueeze(-1)).unsqueeze(-1)
        mass = within.sum(-1, keepdim=True) + before
        mean = (within @ phi_q + before * state["query_mean"].unsqueeze(-2)) / mass
        log_weight = log_omega(run) + self._log_alpha(phi_k, mean)
        output, sums = weighted_sums.block(phi_q, phi_k, run.v, log_weight, run.log_decay, state)
        return output, {**sums, "query_mass": mass[..., -1, 0], "query_mean": mean[..., -1, :]}

    def across(self, q: Tensor, k: Tensor, v: Tensor, is_there: Tensor | None = None) -> Tensor:
        """As printed in the source: the mean is that of all queries."""
        run = make_run(k, v, k.new_zeros(k.shape[:-1]), is_written=is_there).masked()
        counts = run.omega.unsqueeze(-1)
        phi_q, phi_k = Elu.feature_map(q), Elu.feature_map(run.k)
        mean_query = (phi_q * counts).sum(-2, keepdim=True) / counts.sum(-2, keepdim=True).clamp(min=1.0)
        log_alpha = self._log_alpha(phi_k, mean_query).masked_fill(~run.is_written, -torch.inf)
        alpha = softmax_or_zero(log_alpha).unsqueeze(-1)
        weighted = phi_k * alpha
        below = phi_q @ weighted.sum(-2).unsqueeze(-1)
        return (phi_q @ (weighted.mT @ run.v)) / torch.where(below > 0, below, torch.ones_like(below))

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run)

    def _log_alpha(self, phi_k: Tensor, mean_query: Tensor) -> Tensor:
        log_alpha: Tensor = (phi_k * mean_query).sum(-1) / self.d_k**0.5
        return log_alpha
