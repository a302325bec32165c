"""The networks that know series."""

import torch

from recurrent_core.models.elinformer.features import NUM_FEATURES, NUM_LENGTHS, OF_NEWEST
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.series_net import LEAST_SCALE, MOST_UNITS, SeriesNet

NUM = 40


def shown(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, newest values, scales and numbers of some origins."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(NUM, NUM_FEATURES, generator=draw)
    newest = 50.0 + 20.0 * torch.randn(NUM, generator=draw).double()
    return features, newest, 1.0 + torch.rand(NUM, generator=draw).double(), torch.arange(NUM) % 4


def spoken(sees_levels: bool) -> SeriesNet:
    """A network that says something, standardised on some origins."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = SeriesNet(3, sees_levels).eval()
        torch.nn.init.normal_(net.out.weight, std=0.2)
    features, newest, _, _ = shown(2)
    net.standardise(features, newest)
    return net.requires_grad_(False)


def test_a_newborn_says_nothing() -> None:
    for sees_levels in (True, False):
        assert not SeriesNet(3, sees_levels)(*shown(1)).any()


def test_each_series_is_heard_apart_and_numbers_beyond_those_learnt_are_unknown() -> None:
    features, newest, scale, series = shown(1)
    for sees_levels in (True, False):
        net = spoken(sees_levels)
        said = [net(features, newest, scale, torch.full_like(series, number)) for number in (0, 1, 2, 3, 4, 10**6)]
        assert said[0].shape == (NUM, NUM_LEADS)
        assert torch.equal(said[4], said[0])
        assert torch.equal(said[5], said[0])
        assert all((said[left] - said[right]).abs().max() > 1e-3 for left, right in ((0, 1), (1, 2), (2, 3)))


def test_shapes_do_not_depend_on_the_level_and_levels_do() -> None:
    features, newest, scale, series = shown(1)
    for sees_levels in (True, False):
        net = spoken(sees_levels)
        apart = (net(features, newest, scale, series) - net(features, newest + 30.0, scale, series)).abs().max()
        assert (apart > 1e-2) == sees_levels


def test_a_net_of_levels_sees_the_values_themselves() -> None:
    """Origins of equal values say the same, whatever scale their lengths are told in."""
    features, newest, scale, _ = shown(1)
    net = spoken(sees_levels=True)
    other = 2.0 * scale
    halved = features.clone()
    halved[:, :NUM_LENGTHS] *= 0.5
    inputs, again = net._inputs(features, newest, scale), net._inputs(halved, newest, other)
    assert torch.allclose(inputs[:, :NUM_LENGTHS], again[:, :NUM_LENGTHS], atol=1e-5)
    ring = features[:, OF_NEWEST[0]].double() * scale[:, None] + newest[:, None]
    levels = (ring - net.center) / net.deviation
    assert torch.allclose(inputs[:, OF_NEWEST[0]].double(), levels.clamp(-MOST_UNITS, MOST_UNITS), atol=1e-5)


def test_shifts_are_bounded_for_wild_inputs() -> None:
    features, newest, scale, series = shown(1)
    for sees_levels in (True, False):
        net = spoken(sees_levels)
        said = net(1e4 * features, 1e6 * newest, torch.zeros_like(scale), series)
        unit = float(net.deviation) * (1.0 if sees_levels else LEAST_SCALE)
        assert said.abs().max() <= MOST_UNITS * unit * 1.001
