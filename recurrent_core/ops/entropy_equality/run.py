"""A run: the pairs of many readings in order, as the chunk and reference forms take them.

I know nothing of how a run is written or read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recurrent_core.checks import check_bool, check_device, check_shape


@dataclass(frozen=True, slots=True)
class Run:
    """What happens to each slot over `time` readings: first the decay, then the write.

    Attributes:
        k: [..., time, d_k]; v: [..., time, d_v].
        log_decay: [..., time], since the reading before (at 0: since the state handed in), <= 0, finite.
        omega: [..., time], weights of the pairs, >= 0.
        is_written: [..., time] bool; where False the pair may be NaN and only time passes. A slot
            with fewer readings is filled up with unwritten ones of log_decay 0.
    """

    k: Tensor
    v: Tensor
    log_decay: Tensor
    omega: Tensor
    is_written: Tensor

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
        )

    def masked(self) -> "Run":
        """The run with zeros in every pair that is not written or weighs nothing, and those marked so."""
        counts = self.is_written & (self.omega > 0)
        return Run(
            k=torch.where(counts.unsqueeze(-1), self.k, torch.zeros_like(self.k)),
            v=torch.where(counts.unsqueeze(-1), self.v, torch.zeros_like(self.v)),
            log_decay=self.log_decay,
            omega=torch.where(counts, self.omega, torch.zeros_like(self.omega)),
            is_written=counts,
        )


def make_run(
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    omega: Tensor | None = None,
    is_written: Tensor | None = None,
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
    return Run(k, v, log_decay, omega, is_written)
