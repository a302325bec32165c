"""Fits the networks on top of the mix to origins: pinball losses, AdamW, a rate that rises and falls, averaged weights.

I know nothing of files or of where the origins come from. Same origins, regimen and seed: the same networks.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurrent_core import mixing
from recurrent_core.models.elinformer.features import DAY_SINE, GAP, LAGS, NUM_CONTEXT, NUM_GRID, NUM_LENGTHS
from recurrent_core.models.elinformer.group_net import attend
from recurrent_core.models.elinformer.history_net import HistoryNet
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.made import UNKNOWN
from recurrent_core.models.elinformer.mix_net import MixNet, says
from recurrent_core.models.elinformer.networks import Networks
from recurrent_core.models.elinformer.series_net import SeriesNets
from stream_engine.training.harvest import Origins, moment_starts
from stream_engine.training.keep import under
from stream_engine.training.lanes import STRETCH, Lanes
from stream_engine.training.ranks import ALONE, Ranks

LEVELS = (0.1, 0.5, 0.9)
LEAST, MOST = len(LAGS), len(LAGS) + 1
"""Places of the ring's extremes among the features, which change places where signs are flipped."""
SAMPLE = 20_000
MEMBER_TICKS = 1.5
"""Ticks since its last reading below which a series is a member of its group: as while serving, the newest two."""
Teacher = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Says of features what `spoken` says of a network's."""


@dataclass(frozen=True, slots=True)
class Regimen:
    """How a network is trained.

    Attributes:
        num_steps, batch: gradient steps, and origins in each.
        rate: the highest learning rate; it rises over the first twentieth and falls as a cosine.
        decay: of the weights, as AdamW has it.
        mean_share: weight of the mean's loss beside the quantiles'.
        averaging: how slowly the averaged weights follow.
        unknown_share: of the origins that SeriesNets are shown as of a series unheard of.
        attention: rules of a HistoryNet, bottom layer first; none for none.
        is_hour_hidden: whether the MixNet is told a time of day by chance, so that it learns not to go by it: what a
            value does at eight o'clock elsewhere says little of a series unheard of.
    """

    num_steps: int = 2500
    batch: int = 1024
    rate: float = 2e-3
    decay: float = 1e-3
    mean_share: float = 0.05
    averaging: float = 0.998
    unknown_share: float = 0.3
    attention: tuple[str, ...] = ()
    is_hour_hidden: bool = False


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
    """Networks in training on the same origins; owns their optimiser.

    Where series are known whole moments are drawn, since series hear each other. `averaged` are the networks to keep.
    """

    def __init__(
        self,
        sets: Sequence[Origins],
        regimen: Regimen,
        seed: int,
        num_series: int = 0,
        teacher: Teacher | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Begin.

        Args:
            sets: what to learn from; each counts as the square root of its size.
            num_series: series that are known by number; 0 for a MixNet alone.
            teacher: whose word counts for the MixNet as much as the truths; see `distil`.
            ranks: the processes that share each step; they draw the regimen's batch together.
        """
        self._teacher, self._ranks = teacher, ranks
        self._draw = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            mix_net, series_nets = MixNet(), SeriesNets(num_series) if num_series else None
            history_net = HistoryNet(num_series, regimen.attention) if num_series and regimen.attention else None
            networks = Networks(mix_net, series_nets, history_net)
        self.networks = networks.to(ranks.device)
        self._regimen = regimen
        whole = Origins.joined(sets)
        starts = moment_starts(whole.moment) if num_series else torch.arange(len(whole))
        self._all = whole.to(ranks.device)
        self._ends = torch.cat([starts, torch.tensor([len(self._all)])])
        share = torch.cat([torch.full((len(one),), max(len(one), 1) ** -0.5) for one in sets]).double().cumsum(0)
        self._bounds = share[self._ends[1:] - 1]
        self._num_drawn = max(1, round(regimen.batch * len(starts) / len(self._all) / ranks.size))
        sample = self._all[torch.randint(len(self._all), (SAMPLE,), generator=self._draw).to(ranks.device)]
        self.networks.mix_net.standardise(sample.features)
        for network in (self.networks.series_nets, self.networks.history_net):
            if network is not None:
                network.standardise(sample.shown)
        self._lanes: Lanes | None = None
        self._carried = torch.empty(0)
        if history_net is not None:
            self._lanes = Lanes(whole, max(1, regimen.batch // STRETCH // ranks.size))
            self._carried = torch.zeros(len(self._lanes.at), history_net.stack.num_floats, device=ranks.device)
        if not ranks.is_first:
            self._draw.manual_seed(seed + (ranks.rank << 32))
        self.averaged = copy.deepcopy(self.networks).requires_grad_(False).eval()
        self._optimiser = torch.optim.AdamW(self.networks.parameters(), lr=regimen.rate, weight_decay=regimen.decay)
        self.step = 0

    def learn(self, num_steps: int, told: Callable[[float], None] = lambda _: None) -> None:
        """Take so many gradient steps, at most to the regimen's end; `told` takes each step's loss."""
        for _ in range(min(num_steps, self._regimen.num_steps - self.step)):
            torch.manual_seed(int(torch.randint(1 << 31, (), generator=self._draw)))  # drop-out's
            batch = self._batch()
            loss = self._mix_loss(batch)
            if self.networks.series_nets is not None:
                loss = loss + self._series_loss(self.networks.series_nets, batch)
            if self.networks.history_net is not None and self._lanes is not None:
                loss = loss + self._history_loss(self.networks.history_net, self._lanes)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._ranks.share_gradients(self.networks)
            for network in self.networks.children():
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            for group in self._optimiser.param_groups:
                group["lr"] = self._rate()
            self._optimiser.step()
            self.step += 1
            keep = min(self._regimen.averaging, self.step / (self.step + 9.0))
            with torch.no_grad():
                for mean, weight in zip(self.averaged.parameters(), self.networks.parameters(), strict=True):
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
        tensors = {f"networks.{name}": weight for name, weight in self.networks.state_dict().items()}
        tensors |= {f"averaged.{name}": weight for name, weight in self.averaged.state_dict().items()}
        for name, weight in self.networks.named_parameters():
            tensors |= {f"optimiser.{key}.{name}": value for key, value in self._optimiser.state[weight].items()}
        own = {"draw": self._draw.get_state()}
        if self._lanes is not None:
            own |= {"lanes": self._lanes.at, "carried": self._carried.cpu()}
        each = {name: self._ranks.gathered(tensor) for name, tensor in own.items()}
        return {name: tensor.cpu() for name, tensor in tensors.items()} | each | {"step": torch.tensor(self.step)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up what `state` gave."""
        self.networks.load_state_dict(under("networks.", tensors))
        self.averaged.load_state_dict(under("averaged.", tensors))
        for name, weight in self.networks.named_parameters():
            keys = ("step", "exp_avg", "exp_avg_sq")
            own = {key: tensors[f"optimiser.{key}.{name}"] for key in keys}
            self._optimiser.state[weight] = own | {key: own[key].to(weight.device) for key in keys[1:]}
        rank = self._ranks.rank
        self._draw.set_state(tensors["draw"][rank].clone())
        if self._lanes is not None:
            self._lanes.at = tensors["lanes"][rank].clone()
            self._carried = tensors["carried"][rank].to(self._ranks.device)
        self.step = int(tensors["step"])

    def _batch(self) -> Origins:
        """Origins, or whole moments of them, drawn by their share."""
        at = torch.rand(self._num_drawn, generator=self._draw, dtype=torch.float64) * self._bounds[-1]
        drawn = torch.searchsorted(self._bounds, at).clamp(max=len(self._bounds) - 1)
        starts, sizes = self._ends[drawn], (self._ends[1:] - self._ends[:-1])[drawn]
        number = torch.arange(len(drawn)).repeat_interleave(sizes)
        places = torch.arange(len(number)) - (sizes.cumsum(0) - sizes)[number] + starts[number]
        return replace(self._all[places.to(self._ranks.device)], moment=number.to(self._ranks.device))

    def _chances(self, num: int) -> Tensor:
        """Numbers in [0, 1), [num]."""
        return torch.rand(num, generator=self._draw).to(self._ranks.device)

    def _mix_loss(self, batch: Origins) -> Tensor:
        """The MixNet's, half of the origins upside down."""
        sign = torch.where(self._chances(len(batch)) < 0.5, -1.0, 1.0)
        features, truths = flipped(batch.features, batch.truths, sign)
        if self._regimen.is_hour_hidden:
            features = turned(features, self._chances(len(batch)))
        quantiles, mean = spoken(self.networks.mix_net, features)
        loss = _pinball(quantiles, truths) + self._regimen.mean_share * _mean_loss(mean, truths)
        if self._teacher is not None:
            taught_quantiles, taught_mean = self._teacher(features)
            apart = (quantiles - taught_quantiles).abs().sum(dim=1)
            loss = 0.5 * (loss + apart + self._regimen.mean_share * (mean - taught_mean).abs())
        return (loss * batch.weights).sum() / batch.weights.sum().clamp(min=1e-9)

    def _series_loss(self, nets: SeriesNets, batch: Origins) -> Tensor:
        """The SeriesNets': |error| of their medians, some of the series unheard of, some moments with few members."""
        is_unknown = self._chances(len(batch)) < self._regimen.unknown_share
        batch = replace(batch, series=torch.where(is_unknown, UNKNOWN, batch.series))
        num_moments = int(batch.moment[-1]) + 1
        share = (2.0 * self._chances(num_moments)).clamp(max=1.0)[batch.moment]
        is_there = self._chances(len(batch)) <= share
        weights = batch.weights / batch.weights.sum().clamp(min=1e-9)
        loss = torch.zeros((), device=self._ranks.device)
        for shift in shifts(nets, batch, is_there):
            loss = loss + ((batch.truths - shift / batch.error).abs() * weights).sum()
        return loss

    def _history_loss(self, net: HistoryNet, lanes: Lanes) -> Tensor:
        """The HistoryNet's: |error| of its median along a stretch of every lane, some lanes of series unheard of."""
        stretch = lanes.move_on(self._draw)
        device, shape = self._ranks.device, stretch.readings.shape
        is_unknown = (self._chances(len(lanes.at)) < self._regimen.unknown_share).repeat_interleave(shape[1])
        readings, batch = (self._all[places.flatten().to(device)] for places in (stretch.readings, stretch.targets))
        batch = replace(batch, series=torch.where(is_unknown, UNKNOWN, batch.series))
        before = torch.where(stretch.is_fresh.to(device)[:, None], 0.0, self._carried)
        tokens, ticks = net.tokens(readings.shown).view(*shape, -1), readings.ticks.view(shape)
        is_written = torch.ones(shape, dtype=torch.bool, device=device)
        memory, after = net.stack.sequence(tokens, ticks, is_written, net.stack.unpack(before))
        self._carried = net.stack.pack(after).detach()
        weights = batch.weights / batch.weights.sum().clamp(min=1e-9)
        shift = net(batch.shown, memory.flatten(0, 1))
        loss: Tensor = ((batch.truths - shift / batch.error).abs() * weights).sum()
        return loss


def shifts(nets: SeriesNets, origins: Origins, is_there: Tensor | None = None) -> list[Tensor]:
    """What the SeriesNets would shift the mix by, each [n, NUM_LEADS], in the unit of the values.

    Args:
        origins: whole moments.
        is_there: [n] bool, who tells the others anything; None for everyone who would while serving.
    """
    features, number = origins.features, torch.unique(origins.moment, return_inverse=True)[1]
    is_member = (origins.series != UNKNOWN) & (says(features) > 0) & (features[:, GAP] < math.log1p(MEMBER_TICKS))
    if is_there is not None:
        is_member &= is_there
    said: list[Tensor] = nets(origins.shown, attend(nets.group(origins.shown), number, is_member))
    return said


def flipped(features: Tensor, truths: Tensor, sign: Tensor) -> tuple[Tensor, Tensor]:
    """The same origins with values upside down where sign is -1; sign: [n]."""
    features = features.clone()
    is_down = sign < 0
    features[is_down, LEAST], features[is_down, MOST] = features[is_down, MOST], features[is_down, LEAST]
    features[:, :NUM_LENGTHS] *= sign[:, None]
    features[:, NUM_CONTEXT : NUM_CONTEXT + NUM_GRID] *= sign[:, None]
    return features, truths * sign[:, None]


def turned(features: Tensor, turns: Tensor) -> Tensor:
    """The same origins with their time of day moved on by so many turns of the day, [n]."""
    sine, cosine = (2.0 * math.pi * turns).sin(), (2.0 * math.pi * turns).cos()
    was_sine, was_cosine = features[:, DAY_SINE], features[:, DAY_SINE + 1]
    features = features.clone()
    features[:, DAY_SINE] = was_sine * cosine + was_cosine * sine
    features[:, DAY_SINE + 1] = was_cosine * cosine - was_sine * sine
    return features


def spoken(network: MixNet, features: Tensor) -> tuple[Tensor, Tensor]:
    """What a network says: quantiles [n, 3, NUM_LEADS] and mean [n, NUM_LEADS], as Origins.truths are told."""
    leads = torch.arange(1, NUM_LEADS + 1, device=features.device)[None]
    shift, sides, lean = network(features)
    said = mixing.at_leads(torch.cat([shift[:, None], sides, lean[:, None]], dim=1), leads)
    middle, lower, upper, lean = said.unbind(dim=1)
    return torch.stack([middle - lower, middle, middle + upper], dim=1), middle + lean


def _pinball(quantiles: Tensor, truths: Tensor) -> Tensor:
    """Of each cell [n, NUM_LEADS], summed over the levels."""
    miss = truths[:, None] - quantiles
    levels = torch.tensor(LEVELS, device=truths.device)[:, None]
    return torch.maximum(levels * miss, (levels - 1.0) * miss).sum(dim=1)


def _mean_loss(mean: Tensor, truths: Tensor) -> Tensor:
    return functional.huber_loss(mean, truths, reduction="none", delta=10.0)


def middles(networks: Networks, origins: Origins) -> Tensor:
    """The median of each network, relative to the mix and in its expected errors, [n, networks, NUM_LEADS]."""
    leads = torch.arange(1, NUM_LEADS + 1, device=origins.features.device)[None]
    first = mixing.at_leads(networks.mix_net(origins.features)[0], leads)
    nets = networks.series_nets
    others = [] if nets is None else [shift / origins.error for shift in shifts(nets, origins)]
    return torch.stack([first, *others], dim=1)


@torch.no_grad()
def judge(networks: Networks, origins: Origins, size: int = 8192) -> Verdict:
    """Networks against the mix on origins they have not learned from; of several the middle is their mean."""
    device = next(networks.parameters()).device
    newborn = Networks(MixNet()).to(device)
    sums = torch.zeros(5, dtype=torch.float64)
    for batch in (one.to(device) for one in origins.batches(size)):
        for place, some in enumerate((networks, newborn)):
            miss = (batch.truths - middles(some, batch).mean(dim=1)).abs()
            quantiles, _ = spoken(some.mix_net, batch.features)
            pinball = _pinball(quantiles, batch.truths)
            is_inside = (batch.truths >= quantiles[:, 0]) & (batch.truths <= quantiles[:, 2])
            sums[2 * place] += (miss * batch.weights).sum().cpu()
            sums[2 * place + 1] += (pinball * batch.weights).sum().cpu()
            sums[4] += (is_inside & (batch.weights > 0)).sum().cpu() if some is networks else 0.0
    mae, wql, mix_mae, mix_wql, num_inside = sums.tolist()
    num_cells = int((origins.weights > 0).sum())
    return Verdict(mae / max(mix_mae, 1e-30), wql / max(mix_wql, 1e-30), num_inside / max(num_cells, 1))
