"""The networks that know series."""

from dataclasses import replace

import torch

from recurrent_core.models.elinformer.features import NUM_FEATURES, NUM_LENGTHS, OF_NEWEST
from recurrent_core.models.elinformer.group_net import NUM_HEARD
from recurrent_core.models.elinformer.inlet import LEAST_SCALE, MOST_UNITS
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.made import Shown
from recurrent_core.models.elinformer.series_net import SeriesNet

NUM = 40


NOTHING = torch.zeros(NUM, NUM_HEARD)


def shown(seed: int) -> Shown:
    """Some origins."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(NUM, NUM_FEATURES, generator=draw)
    newest = 50.0 + 20.0 * torch.randn(NUM, generator=draw).double()
    return Shown(features, newest, 1.0 + torch.rand(NUM, generator=draw).double(), torch.arange(NUM) % 4)


def spoken(sees_levels: bool) -> SeriesNet:
    """A network that says something, standardised on some origins."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = SeriesNet(3, sees_levels).eval()
        torch.nn.init.normal_(net.out.weight, std=0.2)
    net.inlet.standardise(shown(2))
    return net.requires_grad_(False)


def test_a_newborn_says_nothing() -> None:
    for sees_levels in (True, False):
        assert not SeriesNet(3, sees_levels)(shown(1), NOTHING).any()


def test_each_series_is_heard_apart_and_numbers_beyond_those_learnt_are_unknown() -> None:
    origins = shown(1)
    for sees_levels in (True, False):
        net = spoken(sees_levels)
        numbers = [torch.full_like(origins.series, number) for number in (0, 1, 2, 3, 4, 10**6)]
        said = [net(replace(origins, series=series), NOTHING) for series in numbers]
        assert said[0].shape == (NUM, NUM_LEADS)
        assert torch.equal(said[4], said[0])
        assert torch.equal(said[5], said[0])
        assert all((said[left] - said[right]).abs().max() > 1e-3 for left, right in ((0, 1), (1, 2), (2, 3)))


def test_shapes_do_not_depend_on_the_level_and_levels_do() -> None:
    origins = shown(1)
    lifted = replace(origins, newest=origins.newest + 30.0)
    for sees_levels in (True, False):
        net = spoken(sees_levels)
        apart = (net(origins, NOTHING) - net(lifted, NOTHING)).abs().max()
        assert (apart > 1e-2) == sees_levels


def test_a_net_of_levels_sees_the_values_themselves() -> None:
    """Origins of equal values say the same, whatever scale their lengths are told in."""
    origins = shown(1)
    inlet = spoken(sees_levels=True).inlet
    halved = origins.features.clone()
    halved[:, :NUM_LENGTHS] *= 0.5
    inputs, again = inlet(origins), inlet(replace(origins, features=halved, scale=2.0 * origins.scale))
    assert torch.allclose(inputs[:, :NUM_LENGTHS], again[:, :NUM_LENGTHS], atol=1e-5)
    ring = origins.features[:, OF_NEWEST[0]].double() * origins.scale[:, None] + origins.newest[:, None]
    levels = (ring - inlet.center) / inlet.deviation
    assert torch.allclose(inputs[:, OF_NEWEST[0]].double(), levels.clamp(-MOST_UNITS, MOST_UNITS), atol=1e-5)


def test_shifts_are_bounded_for_wild_inputs() -> None:
    origins = shown(1)
    wild = Shown(1e4 * origins.features, 1e6 * origins.newest, torch.zeros_like(origins.scale), origins.series)
    for sees_levels in (True, False):
        net = spoken(sees_levels)
        said = net(wild, NOTHING)
        unit = float(net.inlet.deviation) * (1.0 if sees_levels else LEAST_SCALE)
        assert said.abs().max() <= MOST_UNITS * unit * 1.001
