"""Full softmax attention, for a model that re-reads a window, and to measure others by.

I know nothing of models.
"""

import torch
from torch import Tensor
from torch.nn import functional

from recurrent_core.ops.mechanism import Mechanism, cast_run
from recurrent_core.ops.run import Run, log_ages, log_omega, make_run
from recurrent_core.ops.softmax import reference


class Softmax(Mechanism):
    """exp(q'k / sqrt(d_k)) times a decayed prior, by torch's fused kernel."""

    name = "softmax"
    source = "Vaswani et al. 2017, arXiv:1706.03762"
    why_not_streaming = (
        "softmax looks back at every reading there was, so its memory grows without end; "
        "softmax_window keeps the last readings, entropy_equality a state of constant size"
    )

    def attend(self, q: Tensor, run: Run) -> Tensor:
        self.check(q, run)
        dtype = torch.promote_types(q.dtype, torch.float32)
        run = cast_run(run.masked(), dtype)
        _, ages = log_ages(run.log_decay)
        bias = ages.to(dtype) + log_omega(run).unsqueeze(-2)
        is_empty = bias.isneginf().all(-1, keepdim=True)
        bias = bias.masked_fill(is_empty, 0.0)
        output = functional.scaled_dot_product_attention(q.to(dtype), run.k, run.v, attn_mask=bias)
        return output.masked_fill(is_empty, 0.0).to(q.dtype)

    def across(self, q: Tensor, k: Tensor, v: Tensor, is_there: Tensor | None = None) -> Tensor:
        run = make_run(k, v, k.new_zeros(k.shape[:-1]), is_written=is_there).masked()
        if is_there is None:
            return functional.scaled_dot_product_attention(q, run.k, run.v)
        is_empty = ~is_there.any(-1)[..., None, None]
        mask = is_there.unsqueeze(-2) | is_empty
        output = functional.scaled_dot_product_attention(q, run.k, run.v, attn_mask=mask)
        return output.masked_fill(is_empty, 0.0)

    def reference(self, q: Tensor, run: Run) -> Tensor:
        return reference.attend(q, run)
