"""A run: the pairs of many readings in order, as the chunk and reference forms take them; and what one brings.

I know nothing of how a run is written or read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from recurrent_core.checks import check_bool, check_device, check_shape


@dataclass(frozen=True, slots=True)
class Pair:
    """What one reading brings to each slot; fields as in `Run`, without the time.

    Attributes:
        k: [..., d_k]; v: [..., d_v].
        log_decay, omega, is_written: [...].
        log_gate: [..., d_k] or None.
    """

    k: Tensor
    v: Tensor
    log_decay: Tensor
    omega: Tensor
    is_written: Tensor
    log_gate: Tensor | None = None

    def masked(self) -> Self:
        """The same with zeros in every pair that is not written or weighs nothing, and those marked so."""
        counts = self.is_written & (self.omega > 0)
        return replace(
            self,
            k=torch.where(counts.unsqueeze(-1), self.k, torch.zeros_like(self.k)),
            v=torch.where(counts.unsqueeze(-1), self.v, torch.zeros_like(self.v)),
            omega=torch.where(counts, self.omega, torch.zeros_like(self.omega)),
            is_written=counts,
        )


@dataclass(frozen=True, slots=True)
class Run(Pair):
    """What happens to each slot over `time` readings: first the decay, then the write.

    Attributes:
        k: [..., time, d_k]; v: [..., time, d_v].
        log_decay: [..., time], since the reading before (at 0: since the state handed in), <= 0, finite.
        omega: [..., time], weights of the pairs, >= 0.
        is_written: [..., time] bool; where False the pair may be NaN and only time passes. A slot
            with fewer readings is filled up with unwritten ones of log_decay 0.
        log_gate: [..., time, d_k], <= 0, a decay of each channel of the key besides; for the rules that gate.
    """

    @property
    def num_readings(self) -> int:
        """The length `time`."""
        return self.log_decay.shape[-1]

    def part(self, start: int, stop: int) -> "Run":
        """The readings start ... stop - 1."""
        return Run(
            k=self.k[..., start:stop, :],
            v=self.v[..., start:stop, :],
            log_decay=self.log_decay[..., start:stop],
            omega=self.omega[..., start:stop],
            is_written=self.is_written[..., start:stop],
            log_gate=None if self.log_gate is None else self.log_gate[..., start:stop, :],
        )

    def parts(self, size: int) -> list["Run"]:
        """The run cut into pieces of this many readings, the last one shorter.

        One cut of each field, whose way back joins the pieces' gradients once; a `part` each would add up arrays as
        long as the run, in time quadratic in it.
        """
        k, v = torch.split(self.k, size, dim=-2), torch.split(self.v, size, dim=-2)
        gates: Sequence[Tensor | None] = [None] * len(k)
        if self.log_gate is not None:
            gates = torch.split(self.log_gate, size, dim=-2)
        rest = (torch.split(field, size, dim=-1) for field in (self.log_decay, self.omega, self.is_written))
        return [Run(*fields) for fields in zip(k, v, *rest, gates, strict=True)]

    def at(self, time: int) -> Pair:
        """What the reading at this place brings."""
        return Pair(
            k=self.k[..., time, :],
            v=self.v[..., time, :],
            log_decay=self.log_decay[..., time],
            omega=self.omega[..., time],
            is_written=self.is_written[..., time],
            log_gate=None if self.log_gate is None else self.log_gate[..., time, :],
        )


def make_run(
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    omega: Tensor | None = None,
    is_written: Tensor | None = None,
    log_gate: Tensor | None = None,
) -> Run:
    """A checked run; every pair is written with weight 1 unless said otherwise.

    Raises:
        ShapeError: if the arguments disagree.
    """
    shape = log_decay.shape
    check_shape("k", k, *shape, *k.shape[-1:])
    check_shape("v", v, *shape, *v.shape[-1:])
    omega = torch.ones_like(log_decay, requires_grad=False) if omega is None else omega
    is_written = torch.ones(shape, dtype=torch.bool, device=k.device) if is_written is None else is_written
    check_shape("omega", omega, *shape)
    check_shape("is_written", is_written, *shape)
    check_bool("is_written", is_written)
    for name, tensor in (("v", v), ("log_decay", log_decay), ("omega", omega), ("is_written", is_written)):
        check_device(name, tensor, k)
    if log_gate is not None:
        check_shape("log_gate", log_gate, *k.shape)
        check_device("log_gate", log_gate, k)
    return Run(k, v, log_decay, omega, is_written, log_gate)


def log_omega(written: Run | Pair) -> Tensor:
    """log of a masked run's or pair's weights, -inf where nothing is written; its gradient is finite everywhere."""
    safe = torch.where(written.is_written, written.omega, torch.ones_like(written.omega))
    return safe.log().masked_fill(~written.is_written, -torch.inf)


def log_ages(log_decay: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of each reading at each later one, in logs; float64, so that long runs and gaps keep their digits.

    Args:
        log_decay: [..., time].
    Returns:
        since the start, [..., time]; between two, [..., reader, written], -inf for what comes after the reader.
    """
    since = log_decay.double().cumsum(-1)
    time = log_decay.shape[-1]
    is_later = torch.ones(time, time, dtype=torch.bool, device=log_decay.device).triu(1)
    return since, (since.unsqueeze(-1) - since.unsqueeze(-2)).masked_fill(is_later, -torch.inf)
