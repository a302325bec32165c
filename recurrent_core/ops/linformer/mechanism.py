"""Linformer: softmax over a learned mixture of a window's pairs. Every output sees the whole window, its future too.

I know nothing of models.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurrent_core.errors import ConfigError, ShapeError
from recurrent_core.ops.linformer import reference
from recurrent_core.ops.mechanism import Mechanism
from recurrent_core.ops.run import Run, make_run


class Linformer(Mechanism):
    """softmax(Q (E K)' / sqrt(d_k)) F V with learned E and F of [rank, window]; knows no ages."""

    name = "linformer"
    source = "Wang et al. 2020, arXiv:2006.04768"
    is_causal = False
    why_not_streaming = (
        "linformer mixes a whole window's readings, later ones too, by weights learned for its fixed length; "
        "memory_slots is its causal kin with a state of constant size"
    )

    def __init__(self, d_k: int, d_v: int, window: int = 12, rank: int = 4) -> None:
        """Args: window, the readings of a run, always; rank, how many they are projected onto."""
        super().__init__(d_k, d_v)
        if not 1 <= rank <= window:
            raise ConfigError(
                f"linformer projects a window of {window} readings onto {rank}; wanted a rank of 1 to {window}: "
                "choose a smaller rank or a longer window"
            )
        self.window, self.rank = window, rank
        bound = rank**-0.5
        self.key_projection = nn.Parameter(torch.empty(rank, window).uniform_(-bound, bound))
        self.value_projection = nn.Parameter(torch.empty(rank, window).uniform_(-bound, bound))

    def attend(self, q: Tensor, run: Run) -> Tensor:
        self.check(q, run)
        if run.num_readings != self.window:
            raise ShapeError(f"linformer was made for {self.window} readings at a time, got {run.num_readings}")
        run = run.masked()
        weight = run.omega.unsqueeze(-1)
        keys = self.key_projection.to(q.dtype) @ (run.k * weight).to(q.dtype)
        values = self.value_projection.to(q.dtype) @ (run.v * weight).to(q.dtype)
        return functional.scaled_dot_product_attention(q, keys, values)

    def across(self, q: Tensor, k: Tensor, v: Tensor, is_there: Tensor | None = None) -> Tensor:
        """As every rule's; who stands where matters to what was learned, and there are always `window` of them."""
        return self.attend(q, make_run(k, v, k.new_zeros(k.shape[:-1]), is_written=is_there))

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run, self.key_projection, self.value_projection)
