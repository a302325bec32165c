"""Fits the network on top of the mix to origins: pinball losses, AdamW, a rate that rises and falls, averaged weights.

I know nothing of files or of where the origins come from. Same origins, regimen and seed: the same network.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from recurrent_core import mixing
from recurrent_core.models.elinformer.features import LAGS, NUM_CONTEXT, NUM_GRID, NUM_LENGTHS
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.mix_net import MixNet
from stream_engine.training.harvest import Origins

LEVELS = (0.1, 0.5, 0.9)
LEAST, MOST = len(LAGS), len(LAGS) + 1
"""Places of the ring's extremes among the features, which change places where signs are flipped."""
SAMPLE = 20_000


@dataclass(frozen=True, slots=True)
class Regimen:
    """How a network is trained.

    Attributes:
        num_steps, batch: gradient steps, and origins in each.
        rate: the highest learning rate; it rises over the first twentieth and falls as a cosine.
        decay: of the weights, as AdamW has it.
        mean_share: weight of the mean's loss beside the quantiles'.
        averaging: how slowly the averaged weights follow.
    """

    num_steps: int = 2500
    batch: int = 1024
    rate: float = 2e-3
    decay: float = 1e-3
    mean_share: float = 0.05
    averaging: float = 0.998


@dataclass(frozen=True, slots=True)
class Verdict:
    """Losses of a network over those of the mix alone, on the same cells.

    Attributes:
        mae, wql: ratios of mean absolute error and of mean pinball loss; below 1 is better than the mix.
        coverage_80: share of truths within the 80 % interval.
    """

    mae: float
    wql: float
    coverage_80: float


class Course:
    """A network in training; owns its optimiser. `averaged` is the network to keep."""

    def __init__(self, sets: Sequence[Origins], regimen: Regimen, seed: int) -> None:
        """Begin.

        Args:
            sets: what to learn from; each counts as the square root of its size.
        """
        self._draw = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = MixNet()
        self._regimen = regimen
        self._all = Origins.joined(sets)
        share = torch.cat([torch.full((len(one),), max(len(one), 1) ** -0.5) for one in sets])
        self._bounds = share.double().cumsum(0)
        sample = torch.randint(len(self._all), (SAMPLE,), generator=self._draw)
        self.network.standardise(self._all.features[sample])
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=regimen.rate, weight_decay=regimen.decay)
        self.step = 0

    def learn(self, num_steps: int, told: Callable[[float], None] = lambda _: None) -> None:
        """Take so many gradient steps, at most to the regimen's end; `told` takes each step's loss."""
        for _ in range(min(num_steps, self._regimen.num_steps - self.step)):
            features, truths, weights = self._batch()
            loss = self._loss(features, truths, weights)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate()
            self._optimiser.step()
            self.step += 1
            keep = min(self._regimen.averaging, self.step / (self.step + 9.0))
            with torch.no_grad():
                for mean, weight in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                    mean.lerp_(weight, 1.0 - keep)
            told(float(loss.detach()))

    def _rate(self) -> float:
        """Up over the first twentieth, then a cosine down to 0 at the last step."""
        regimen = self._regimen
        warm = max(regimen.num_steps / 20, 1.0)
        done = min(self.step / regimen.num_steps, 1.0)
        return regimen.rate * min(1.0, (self.step + 1) / warm) * 0.5 * (1.0 + math.cos(math.pi * done))

    def state(self) -> dict[str, Tensor]:
        """Everything a later process needs to go on, by name."""
        tensors = {f"network.{name}": weight for name, weight in self.network.state_dict().items()}
        tensors |= {f"averaged.{name}": weight for name, weight in self.averaged.state_dict().items()}
        for name, weight in self.network.named_parameters():
            tensors |= {f"optimiser.{key}.{name}": value for key, value in self._optimiser.state[weight].items()}
        return tensors | {"draw": self._draw.get_state(), "step": torch.tensor(self.step)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self.network.load_state_dict(_under("network.", tensors))
        self.averaged.load_state_dict(_under("averaged.", tensors))
        for name, weight in self.network.named_parameters():
            keys = ("step", "exp_avg", "exp_avg_sq")
            self._optimiser.state[weight] = {key: tensors[f"optimiser.{key}.{name}"] for key in keys}
        self._draw.set_state(tensors["draw"])
        self.step = int(tensors["step"])

    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Origins drawn by their share, half of them upside down."""
        at = torch.rand(self._regimen.batch, generator=self._draw, dtype=torch.float64) * self._bounds[-1]
        which = torch.searchsorted(self._bounds, at).clamp(max=len(self._all) - 1)
        sign = torch.where(torch.rand(self._regimen.batch, generator=self._draw) < 0.5, -1.0, 1.0)
        features, truths = flipped(self._all.features[which], self._all.truths[which], sign)
        return features, truths, self._all.weights[which]

    def _loss(self, features: Tensor, truths: Tensor, weights: Tensor) -> Tensor:
        pinball, _, mean = losses(self.network, features, truths)
        return ((pinball + self._regimen.mean_share * mean) * weights).sum() / weights.sum().clamp(min=1e-9)


def flipped(features: Tensor, truths: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
    """The same origins with values upside down where sign is -1; sign: [n]."""
    features = features.clone()
    is_down = sign < 0
    features[is_down, LEAST], features[is_down, MOST] = features[is_down, MOST], features[is_down, LEAST]
    features[:, :NUM_LENGTHS] *= sign[:, None]
    features[:, NUM_CONTEXT : NUM_CONTEXT + NUM_GRID] *= sign[:, None]
    return features, truths * sign[:, None]


def losses(network: MixNet, features: Tensor, truths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each cell [n, NUM_LEADS]: pinball summed over the levels, whether the 80 % interval holds it, mean's loss."""
    leads = torch.arange(1, NUM_LEADS + 1)[None]
    shift, sides, lean = network(features)
    said = mixing.at_leads(torch.cat([shift[:, None], sides, lean[:, None]], dim=1), leads)
    middle, lower, upper, lean = said.unbind(dim=1)
    quantiles = torch.stack([middle - lower, middle, middle + upper], dim=1)
    miss = truths[:, None] - quantiles
    levels = torch.tensor(LEVELS)[:, None]
    pinball = torch.maximum(levels * miss, (levels - 1.0) * miss).sum(dim=1)
    is_inside = (truths >= quantiles[:, 0]) & (truths <= quantiles[:, 2])
    mean = functional.huber_loss(middle + lean, truths, reduction="none", delta=10.0)
    return pinball, is_inside, mean


@torch.no_grad()
def judge(network: MixNet, origins: Origins, batch: int = 8192) -> Verdict:
    """The network against the mix on origins it has not learned from."""
    newborn = MixNet()
    sums = torch.zeros(5, dtype=torch.float64)
    columns = (origins.features, origins.truths, origins.weights)
    for features, truths, weights in zip(*(torch.split(column, batch) for column in columns), strict=True):
        for place, each in enumerate((network, newborn)):
            pinball, is_inside, _ = losses(each, features, truths)
            sums[2 * place + 1] += (pinball * weights).sum()
            middle = mixing.at_leads(each(features)[0][:, None], torch.arange(1, NUM_LEADS + 1)[None])[:, 0]
            sums[2 * place] += ((truths - middle).abs() * weights).sum()
            if each is network:
                sums[4] += (is_inside & (weights > 0)).sum()
    mae, wql, mix_mae, mix_wql, num_inside = sums.tolist()
    num_cells = int((origins.weights > 0).sum())
    return Verdict(mae / max(mix_mae, 1e-30), wql / max(mix_wql, 1e-30), num_inside / max(num_cells, 1))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
