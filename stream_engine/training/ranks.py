"""The processes that torchrun starts for one training, and what they do together; without it there is one.

Each draws origins of its own from the same harvest, and gradients are the mean of all, so the networks stay the same
in every process; what the first decides, all do, and it alone writes. I know nothing of networks or files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from stream_engine.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of its training.

    Attributes:
        rank, size: which it is, from 0, of how many.
        device: where its networks and origins are.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this process tells and writes."""
        return self.rank == 0

    def share_gradients(self, network: nn.Module) -> None:
        """Put the mean of all processes' gradients in place of this one's."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        parts = torch.split(flat / self.size, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def gathered(self, own: Tensor) -> Tensor:
        """Every process's tensor of one shape on the host, [size, ...]."""
        if self.size == 1:
            return own[None]
        each: list[Tensor | None] = [None] * self.size
        distributed.all_gather_object(each, own)
        return torch.stack([one for one in each if one is not None])

    def agreed(self, value: T) -> T:
        """What the first process has."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


ALONE = Ranks()


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Among the processes that torchrun has started, if it has; each takes a GPU of its own where device is one.

    Raises:
        ConfigError: there are more processes than GPUs.
    """
    if not distributed.is_torchelastic_launched():
        yield Ranks(device=device)
        return
    if device.type == "cuda":
        place, num = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if place >= num:
            raise ConfigError(
                f"torchrun started process {place + 1} on a machine with {num} GPUs; give it --nproc-per-node {num}"
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
