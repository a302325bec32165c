"""Distilling: the teacher is the mean, its word moves the network that learns from it, and the hour can be hidden."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recurrent_core.models.elinformer.features import DAY_SINE
from recurrent_core.models.elinformer.mix_net import MixNet
from recurrent_core.models.elinformer.model import Elinformer
from stream_engine.backtest.history import Choice
from stream_engine.localtime import Calendar
from stream_engine.training.distil import MeanTeacher, learn_distilled, teachers_of, teachers_state
from stream_engine.training.fit import Course, Regimen, spoken, turned
from stream_engine.training.harvest import Origins, Sampling, harvest
from stream_engine.training.material import Cuts, read_parts
from stream_engine.training.passages import as_it_came
from tests.unit.stream_engine.training.histories import tide, write_wide


@pytest.fixture
def origins(tmp_path: Path) -> Origins:
    path = write_wide(tmp_path / "tide.csv", *tide())
    (part,) = read_parts([path], Choice(), Cuts("216", "264"), Calendar())
    return harvest(part, as_it_came(part, 216), Elinformer.untrained(), Sampling(), np.random.default_rng(1))


def bent(seed: int) -> MixNet:
    """A network that says something of its own."""
    network = MixNet()
    with torch.no_grad():
        network.last.weight.copy_(0.1 * torch.randn(network.last.weight.shape, generator=torch.manual_seed(seed)))
    return network


def test_the_teacher_says_the_mean_of_its_networks(origins: Origins) -> None:
    networks = [bent(1), bent(2)]
    quantiles, mean = MeanTeacher(networks)(origins.features)
    one, other = (spoken(network, origins.features) for network in networks)
    assert torch.allclose(quantiles, (one[0] + other[0]) / 2)
    assert torch.allclose(mean, (one[1] + other[1]) / 2)
    assert not torch.allclose(one[0], other[0])


def test_one_who_is_taught_comes_nearer_to_the_teacher(origins: Origins) -> None:
    teacher = MeanTeacher([bent(1)])
    regimen = Regimen(num_steps=60, batch=256, rate=5e-3)

    def apart(course: Course) -> float:
        course.learn(60)
        said, _ = spoken(course.averaged.mix_net, origins.features)
        return float((said - teacher(origins.features)[0]).abs().mean())

    assert apart(Course([origins], regimen, 1, teacher=teacher)) < 0.8 * apart(Course([origins], regimen, 1))


def test_one_seed_is_a_plain_course_and_two_are_another(origins: Origins) -> None:
    regimen = Regimen(num_steps=5, batch=64)
    plain = Course([origins], regimen, 3)
    plain.learn(5)
    alone, two = (learn_distilled([origins], regimen, 3, num).averaged.mix_net for num in (1, 2))
    assert torch.equal(alone.last.weight, plain.averaged.mix_net.last.weight)
    assert not torch.equal(two.last.weight, alone.last.weight)


def test_teachers_come_back_from_their_tensors() -> None:
    networks = [bent(1), bent(2)]
    back = teachers_of(teachers_state(networks) | {"step": torch.zeros(1)})
    assert [torch.equal(a.last.weight, b.last.weight) for a, b in zip(networks, back, strict=True)] == [True, True]
    assert teachers_of({}) == []


def test_a_clock_turned_whole_turns_is_the_same_and_half_a_turn_the_other_side(origins: Origins) -> None:
    ones = torch.ones(len(origins))
    assert torch.allclose(turned(origins.features, ones), origins.features, atol=1e-5)
    half = turned(origins.features, 0.5 * ones)
    hour = slice(DAY_SINE, DAY_SINE + 2)
    assert torch.allclose(half[:, hour], -origins.features[:, hour], atol=1e-5)
    half[:, hour] = origins.features[:, hour]
    assert torch.equal(half, origins.features)


def test_what_hides_the_hour_learns_otherwise(origins: Origins) -> None:
    hidden, shown = (
        Course([origins], Regimen(num_steps=5, batch=64, is_hour_hidden=is_so), 1) for is_so in (True, False)
    )
    hidden.learn(5)
    shown.learn(5)
    assert not torch.equal(hidden.averaged.mix_net.last.weight, shown.averaged.mix_net.last.weight)
