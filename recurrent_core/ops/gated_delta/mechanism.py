"""The gated delta rule: a memory that replaces what it holds at a key, and fades.

I know nothing of where write strengths come from.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from recurrent_core.feature_maps import scale_query, unit_length
from recurrent_core.ops.gated_delta import reference
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.run import Pair, Run, log_ages


class GatedDelta(Recurrence):
    """S <- a S,  S <- S + beta k (v - S'k)',  o = S'q / sqrt(d_k); a = exp(log_decay), beta = omega in [0, 1].

    Keys and queries are taken at unit length, so that beta = 1 replaces all that was at the key. A block solves one
    triangular system for what each reading writes (the WY form of arXiv:2406.06484, gated as in arXiv:2412.06464).
    """

    name = "gated_delta"
    source = "Yang et al. 2024, arXiv:2412.06464"
    is_normalised = False
    why_not_across = (
        "what the gated delta rule writes replaces what came before, so it lives on the order; "
        "use entropy_equality or ridge across pairs that have none"
    )

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return {"memory": (self.d_k, self.d_v)}

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        memory = state["memory"] * pair.log_decay.exp()[..., None, None]
        k = unit_length(pair.k).unsqueeze(-1)
        new = pair.omega[..., None, None] * (pair.v.unsqueeze(-2) - (k * memory).sum(-2, keepdim=True))
        return {"memory": memory + k * new}

    def read(self, q: Tensor, state: State) -> Tensor:
        return scale_query(unit_length(q)) @ state["memory"]

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        since, ages = log_ages(run.log_decay)
        left, between = since.exp().to(q.dtype).unsqueeze(-1), ages.exp().to(q.dtype)
        u, k, strength = scale_query(unit_length(q)), unit_length(run.k), run.omega.unsqueeze(-1)
        overlap = strength * ((k @ k.mT) * between).tril(-1)
        wanted = strength * (run.v - left * (k @ state["memory"]))
        new = torch.linalg.solve_triangular(overlap, wanted, upper=False, unitriangular=True)
        output = ((u @ k.mT) * between) @ new + left * (u @ state["memory"])
        last = (k * between[..., -1, :].unsqueeze(-1)).mT @ new
        return output, {"memory": state["memory"] * left[..., -1:, :] + last}

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run)
