"""Models whose networks say something without having been trained."""

import torch
from torch import nn

from recurrent_core.models.elinformer.mix_net import MixNet
from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.models.elinformer.series_net import SeriesNet

UNTRAINED = Elinformer.untrained()


def with_random_network(seed: int, deviation: float = 0.3) -> Elinformer:
    """A default dress with a network of random weights."""
    return UNTRAINED.with_networks([_mix_net(seed, deviation)], "network", "1")


def with_series_nets(seed: int, known: Known, deviation: float = 0.3) -> Elinformer:
    """A trained dress with networks of random weights, which learnt from values of 50 ± 20."""
    nets: list[nn.Module] = [_mix_net(seed, deviation)]
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        for sees_levels in (True, False):
            net = SeriesNet(len(known.names), sees_levels)
            nn.init.normal_(net.out.weight, std=deviation / 10)
            net.center.fill_(50.0)
            net.deviation.fill_(20.0)
            nets.append(net)
    return UNTRAINED.with_networks(nets, "series", "1", known)


def _mix_net(seed: int, deviation: float) -> MixNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = MixNet()
        nn.init.normal_(network.last.weight, std=deviation)
    return network
