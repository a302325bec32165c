"""Runs to try the ops on, the step form as a walk, and how far two results lie apart."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recurrent_core.ops.entropy_equality.moments import Moments, zeros
from recurrent_core.ops.entropy_equality.step import decay, read_affine, read_ridge, relative_ridge, write
from recurrent_core.ops.run import Run, make_run

D_K, D_V = 5, 4
FIELDS = ("mass", "nu", "key_mean", "value_mean", "key_cov", "cross_cov")
Read = Callable[[Moments, Tensor], Tensor]


def by_affine(moments: Moments, u: Tensor) -> Tensor:
    """The affine read-out at its defaults."""
    return read_affine(moments, u)


def by_ridge(moments: Moments, q: Tensor) -> Tensor:
    """The ridge read-out at its defaults."""
    return read_ridge(moments, q, relative_ridge(moments))


def by_capped_ridge(moments: Moments, q: Tensor) -> Tensor:
    """The ridge read-out under a cap."""
    return read_ridge(moments, q, relative_ridge(moments), rho2=2.0 * D_K)


@dataclass(frozen=True)
class Sample:
    """Queries and leaves of a run, [slots, time, ...] float64; pairs not written are NaN."""

    u: Tensor
    k: Tensor
    v: Tensor
    log_decay: Tensor
    omega: Tensor
    is_written: Tensor

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """What gradients are taken of."""
        return self.u, self.k, self.v, self.log_decay, self.omega

    def run(self) -> Run:
        """The pairs as a run."""
        return make_run(self.k, self.v, self.log_decay, self.omega, self.is_written)

    def to(self, dtype: torch.dtype) -> "Sample":
        """The same numbers, rounded; the mask stays."""
        u, k, v, log_decay, omega = (leaf.to(dtype) for leaf in self.leaves)
        return Sample(u, k, v, log_decay, omega, self.is_written)

    def with_gradients(self) -> "Sample":
        """The same numbers as fresh leaves."""
        u, k, v, log_decay, omega = (leaf.detach().clone().requires_grad_() for leaf in self.leaves)
        return Sample(u, k, v, log_decay, omega, self.is_written)


def sample(time: int, *, slots: int = 2, seed: int = 0, offset: float = 0.0, has_holes: bool = True) -> Sample:
    """Gaussian queries, keys and values at irregular times, with one long gap and, by default, holes."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    k = normal(slots, time, D_K) + offset
    v = torch.tanh(k @ normal(D_K, D_V) - offset) + 0.5 * normal(slots, time, D_V) + offset
    log_decay = -torch.rand(slots, time, generator=generator, dtype=torch.float64) / 20.0
    log_decay[0, time // 2] = -30.0
    omega = 0.25 + torch.rand(slots, time, generator=generator, dtype=torch.float64)
    is_written = torch.rand(slots, time, generator=generator) > (0.2 if has_holes else -1.0)
    k[~is_written] = torch.nan
    v[~is_written] = torch.nan
    return Sample(normal(slots, time, D_K) / D_K**0.5, k, v, log_decay, omega, is_written)


def empty(slots: int = 2, *, is_diagonal: bool = False, dtype: torch.dtype = torch.float64) -> Moments:
    """The empty state that fits a sample."""
    return zeros((slots,), D_K, D_V, is_diagonal=is_diagonal, dtype=dtype)


def walk(run: Run, u: Tensor, state: Moments, read: Read, *, is_past_only: bool = False) -> tuple[Tensor, Moments]:
    """The step form, reading by reading: outputs [slots, time, d_v] and the end state."""
    outputs = []
    for t in range(run.num_readings):
        state = decay(state, run.log_decay[:, t])
        if is_past_only:
            outputs.append(read(state, u[:, t]))
        state = write(state, run.k[:, t], run.v[:, t], run.omega[:, t], run.is_written[:, t])
        if not is_past_only:
            outputs.append(read(state, u[:, t]))
    return torch.stack(outputs, dim=1), state


def largest(left: Tensor, right: Tensor) -> float:
    """max |left - right|, NaN if either holds one."""
    return float((left.double() - right.double()).abs().max())


def furthest(left: Moments, right: Moments) -> float:
    """max |left - right| over all fields."""
    return max(largest(getattr(left, name), getattr(right, name)) for name in FIELDS)
