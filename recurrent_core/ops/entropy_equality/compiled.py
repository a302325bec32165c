"""The affine read-out over a whole run on a CPU, by compiled loops, with gradients.

I know nothing of the equations: `loops` has them. Only a state for every 16th reading is kept for the way back.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recurrent_core.ops.entropy_equality import loops
from recurrent_core.ops.entropy_equality.moments import Moments
from recurrent_core.ops.run import Run


def attend(u: Tensor, run: Run, state: Moments, rho2: float) -> tuple[Tensor, Moments]:
    """As `chunk.attend_affine` with the diagonal of C_kk, in time and memory linear in the run.

    Args:
        u: scaled queries, [..., time, d_k].
        run: the pairs, masked.
        state: [...], diagonal, float32 or float64, on the CPU.
        rho2: cap of the slope.
    """
    batch, time, d_k, d_v = state.batch_shape, run.num_readings, state.d_k, state.d_v
    dtype = state.mass.dtype

    def rows(tensor: Tensor, *shape: int, kind: torch.dtype = dtype) -> Tensor:
        return tensor.to(kind).expand(*batch, *shape).reshape(-1, *shape).contiguous()

    scalars = torch.stack([state.mass, state.nu], dim=-1)
    fields = (state.key_mean, state.value_mean, state.key_cov, state.cross_cov.flatten(-2))
    flat = torch.cat(fields, dim=-1)
    o, scalars, flat = _Loops.apply(
        rows(u, time, d_k),
        rows(run.k, time, d_k),
        rows(run.v, time, d_v),
        rows(run.log_decay, time, kind=torch.float64),
        rows(run.omega, time),
        rows(scalars, 2, kind=torch.float64),
        rows(flat, flat.shape[-1]),
        rho2,
    )
    mass, nu = scalars.to(dtype).reshape(*batch, 2).unbind(-1)
    sizes = [d_k, d_v, d_k, d_k * d_v]
    key_mean, value_mean, key_cov, cross = torch.split_with_sizes(flat.reshape(*batch, -1), sizes, dim=-1)
    end = Moments(mass, nu, key_mean, value_mean, key_cov, cross.reshape(*batch, d_k, d_v))
    return o.reshape(*batch, time, d_v), end


class _Loops(Function):
    """The loops as one node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        *tensors, rho2 = inputs
        u, k, v, log_decay, omega, scalars, state = (tensor.detach() for tensor in tensors)
        scalars, state = scalars.clone(), state.clone()
        num_kept = -(-k.shape[1] // loops.EVERY) if any(ctx.needs_input_grad) else 0
        kept_scalars = scalars.new_empty(len(k), num_kept, 2)
        kept = state.new_empty(len(k), num_kept, state.shape[1])
        o = torch.empty_like(v)
        arrays = (tensor.numpy() for tensor in (scalars, state, kept_scalars, kept, o))
        loops.forward(*(tensor.numpy() for tensor in (u, k, v, log_decay, omega)), rho2, *arrays)
        ctx.save_for_backward(u, k, v, log_decay, omega, kept_scalars, kept)
        ctx.rho2 = rho2
        return o, scalars, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        u, k, v, log_decay, omega, kept_scalars, kept = ctx.saved_tensors
        g_o, g_scalars, g_state = (gradient.contiguous() for gradient in gradients)
        g_scalars, g_state = g_scalars.clone(), g_state.clone()
        found = [torch.empty_like(tensor) for tensor in (u, k, v, log_decay, omega)]
        given = (tensor.numpy() for tensor in (kept_scalars, kept, g_o, g_scalars, g_state, *found))
        loops.backward(*(tensor.numpy() for tensor in (u, k, v, log_decay, omega)), ctx.rho2, *given)
        return (*found, g_scalars, g_state, None)
