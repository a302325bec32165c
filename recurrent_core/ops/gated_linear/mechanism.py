"""Gated linear attention (GLA): the memory's rows fade each at its own pace, which the input sets.

I know nothing of where gates come from.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from recurrent_core.feature_maps import scale_query
from recurrent_core.ops.gated_linear import reference
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.run import Pair, Run, log_ages


class GatedLinear(Recurrence):
    """S <- Diag(exp(log_decay + log_gate)) S + omega k v',  o = S'q / sqrt(d_k) (arXiv:2312.06635, eq. 3).

    A block lays out the decay of each channel between each two readings, [time, time, d_k]: exact for any gate, where
    the source's products of cumulated gates need a second level of blocks.
    """

    name = "gla"
    source = "Yang et al. 2023, arXiv:2312.06635"
    is_normalised = False
    is_gated = True
    chunk_size = 16

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return {"memory": (self.d_k, self.d_v)}

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        log_alpha = pair.log_decay.unsqueeze(-1)
        log_alpha = log_alpha if pair.log_gate is None else log_alpha + pair.log_gate
        written = (pair.omega.unsqueeze(-1) * pair.k).unsqueeze(-1) * pair.v.unsqueeze(-2)
        return {"memory": state["memory"] * log_alpha.exp().unsqueeze(-1) + written}

    def read(self, q: Tensor, state: State) -> Tensor:
        return scale_query(q) @ state["memory"]

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        log_alpha = run.log_decay.unsqueeze(-1).expand(run.k.shape)
        log_alpha = log_alpha if run.log_gate is None else log_alpha + run.log_gate
        since, ages = log_ages(log_alpha.mT)
        left, between = since.exp().to(q.dtype).mT, ages.exp().to(q.dtype)
        u, k = scale_query(q), run.k * run.omega.unsqueeze(-1)
        scores = torch.einsum("...id,...jd,...dij->...ij", u, k, between)
        output = scores @ run.v + (u * left) @ state["memory"]
        last = (k * between[..., -1, :].mT).mT @ run.v
        return output, {"memory": state["memory"] * left[..., -1, :].unsqueeze(-1) + last}

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run)
