"""Lightning Attention-2: within a block by products, between blocks by the state, with decay.

I know nothing of models. The output grows with what was written: a norm belongs after it.
"""

from collections.abc import Mapping

from torch import Tensor

from recurrent_core.ops.lightning import reference
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.run import Pair, Run, log_ages


class Lightning(Recurrence):
    """S <- e^log_decay S + omega k v',  o = S'q (arXiv:2401.04658, algorithm 1)."""

    name = "lightning"
    source = "Qin et al. 2024, arXiv:2401.04658"
    is_normalised = False

    def parts(self) -> Mapping[str, tuple[int, ...]]:
        return {"memory": (self.d_k, self.d_v)}

    def fold(self, q: Tensor, pair: Pair, state: State) -> State:
        written = (pair.omega.unsqueeze(-1) * pair.k).unsqueeze(-1) * pair.v.unsqueeze(-2)
        return {"memory": state["memory"] * pair.log_decay.exp()[..., None, None] + written}

    def read(self, q: Tensor, state: State) -> Tensor:
        return q @ state["memory"]

    def block(self, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
        since, ages = log_ages(run.log_decay)
        mask = ages.exp().to(q.dtype)
        left = since.exp().to(q.dtype).unsqueeze(-1)
        k = run.k * run.omega.unsqueeze(-1)
        output = ((q @ k.mT) * mask) @ run.v + (q @ state["memory"]) * left
        last = (k * mask[..., -1, :].unsqueeze(-1)).mT @ run.v
        return output, {"memory": state["memory"] * left[..., -1:, :] + last}

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run)
