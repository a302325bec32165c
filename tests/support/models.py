"""Models whose networks say something without having been trained."""

import torch
from torch import nn

from recurrent_core.models.elinformer.history_net import HistoryNet
from recurrent_core.models.elinformer.mix_net import MixNet
from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.models.elinformer.networks import Networks
from recurrent_core.models.elinformer.series_net import SeriesNets

UNTRAINED = Elinformer.untrained()


def with_random_network(seed: int, deviation: float = 0.3) -> Elinformer:
    """A default dress with a network of random weights."""
    return UNTRAINED.with_networks(Networks(_mix_net(seed, deviation)), "network", "1")


def with_series_nets(seed: int, known: Known, deviation: float = 0.3) -> Elinformer:
    """A trained dress with networks of random weights, which learnt from values of 50 ± 20."""
    with torch.random.fork_rng():
        torch.manual_seed(seed + 1)
        nets = SeriesNets(len(known.names))
        for net in (nets.levels, nets.shapes):
            nn.init.normal_(net.out.weight, std=deviation / 10)
        for one in (nets.group, nets.levels, nets.shapes):
            one.inlet.center.fill_(50.0)
            one.inlet.deviation.fill_(20.0)
    return UNTRAINED.with_networks(Networks(_mix_net(seed, deviation), nets), "series", "1", known)


def with_history(seed: int, known: Known, deviation: float, *rules: str) -> Elinformer:
    """The same, and series that attend to their own past by these rules."""
    plain = with_series_nets(seed, known, deviation)
    with torch.random.fork_rng():
        torch.manual_seed(seed + 2)
        net = HistoryNet(len(known.names), rules)
        nn.init.normal_(net.teller.out.weight, std=deviation / 10)
        for inlet in (net.inlet, net.teller.inlet):
            inlet.center.fill_(50.0)
            inlet.deviation.fill_(20.0)
    networks = Networks(_mix_net(seed, deviation), plain.series_nets, net)
    return UNTRAINED.with_networks(networks, "history", "1", known)


def _mix_net(seed: int, deviation: float) -> MixNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = MixNet()
        nn.init.normal_(network.last.weight, std=deviation)
    return network
