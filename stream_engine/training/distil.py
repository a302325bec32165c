"""What several networks have learned, in one: their mean teaches a last one beside the truths.

Networks of different seeds err differently where they know little, so that their mean is better than each; one that has
learned from it costs no more to serve than any. I know nothing of files or of where the origins come from.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recurrent_core.models.elinformer.mix_net import MixNet
from stream_engine.training.fit import Course, Regimen, spoken
from stream_engine.training.harvest import Origins
from stream_engine.training.keep import under

_TEACHER = "teacher."


class MeanTeacher:
    """The mean of what several MixNets say on a device; they learn no more."""

    def __init__(self, networks: Sequence[MixNet], device: torch.device | None = None) -> None:
        self.networks = [copy.deepcopy(network).to(device).requires_grad_(False).eval() for network in networks]

    @torch.no_grad()
    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Quantiles [n, 3, NUM_LEADS] and mean [n, NUM_LEADS] of features [n, NUM_FEATURES]."""
        quantiles, means = zip(*(spoken(network, features) for network in self.networks), strict=True)
        return torch.stack(quantiles).mean(dim=0), torch.stack(means).mean(dim=0)


def learn_distilled(
    sets: Sequence[Origins],
    regimen: Regimen,
    seed: int,
    num_seeds: int,
    told: Callable[[float], None] = lambda _: None,
) -> Course:
    """A finished course of a MixNet alone; with several seeds, one twice as long that learned from theirs before it."""
    teachers: list[MixNet] = []
    for place in range(num_seeds if num_seeds > 1 else 0):
        course = Course(sets, regimen, seed + 1 + place)
        course.learn(regimen.num_steps, told)
        teachers.append(course.averaged.mix_net)
    if not teachers:
        last = Course(sets, regimen, seed)
    else:
        last = Course(sets, replace(regimen, num_steps=2 * regimen.num_steps), seed, teacher=MeanTeacher(teachers))
    last.learn(2 * regimen.num_steps, told)  # at most to its regimen's end
    return last


def teachers_state(networks: Sequence[MixNet]) -> dict[str, Tensor]:
    """Finished teachers' tensors by name, for `teachers_of` in a later process."""
    return {
        f"{_TEACHER}{place}.{name}": tensor
        for place, network in enumerate(networks)
        for name, tensor in network.state_dict().items()
    }


def teachers_of(tensors: dict[str, Tensor]) -> list[MixNet]:
    """The teachers among the tensors, in their order."""
    teachers: list[MixNet] = []
    while own := under(f"{_TEACHER}{len(teachers)}.", tensors):
        with torch.random.fork_rng():
            network = MixNet()
        network.load_state_dict(own)
        teachers.append(network)
    return teachers
