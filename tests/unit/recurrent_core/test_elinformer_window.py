"""The windowed model: every rule in the place of attention, its weights, and what does not fit."""

import pytest
import torch

from recurrent_core.errors import ConfigError, ShapeError
from recurrent_core.models.elinformer_window.model import NUM_IN, NUM_OUT, STAND_IN, ElinformerWindow
from recurrent_core.ops.registry import MECHANISMS
from recurrent_core.ops.softmax import reference

SENSORS = 5


def window(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values, which are readings, and the second of the week."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(batch, NUM_IN, SENSORS, generator=generator)
    return values, torch.rand(values.shape, generator=generator) > 0.1, torch.tensor([0, 86_399, 604_799][:batch])


@pytest.mark.parametrize("rule", MECHANISMS)
def test_every_rule_forecasts_and_learns(rule: str) -> None:
    torch.manual_seed(1)
    net = ElinformerWindow(SENSORS, rule)
    output = net(*window())
    assert output.shape == (3, NUM_OUT, SENSORS)
    output.square().sum().backward()
    still = {name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()}
    ageless = {f"over_sensors.attention.{name}" for name in ("log_tau", "gate.weight", "gate.bias")}
    ageless |= {"over_time.attention.log_tau"} if rule == "linformer" else set()
    assert still <= ageless, "among sensors, and to linformer, there are no ages"
    across = net.over_sensors.attention.rule.name
    assert across == (STAND_IN if MECHANISMS[rule].why_not_across else rule)


@pytest.mark.parametrize("rule", [name for name, rule in MECHANISMS.items() if rule.is_normalised])
def test_weights_over_time_have_the_sum_one(rule: str) -> None:
    torch.manual_seed(1)
    weights = ElinformerWindow(SENSORS, rule).weights_over_time(*window()[:2])
    if rule in ("diagonal", "linformer"):
        assert weights is None or rule == "linformer", "linformer's projections of values need not sum to one"
        return
    assert weights is not None
    assert weights.shape == (3 * SENSORS, 2, NUM_IN)
    assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)


def test_softmax_s_weights_are_those_of_its_reference() -> None:
    torch.manual_seed(1)
    net = ElinformerWindow(SENSORS, "softmax")
    attention, x = net.over_time.attention, torch.randn(4, NUM_IN, 16)
    ones = torch.ones(4, NUM_IN)
    q, run = attention._run(x, ones, ones.bool())
    found = attention.weights(x, ones, ones.bool())
    assert found is not None
    assert torch.allclose(found.double(), reference.weights(q, run), atol=1e-6)


def test_a_sensor_hears_the_others_and_no_other_window() -> None:
    torch.manual_seed(1)
    net = ElinformerWindow(SENSORS, "entropy_equality")
    values, is_there, second = window()
    changed = values.clone()
    changed[0, :, 1] += 1.0
    before, after = net(values, is_there, second), net(changed, is_there, second)
    assert not torch.equal(before[0, :, 0], after[0, :, 0])
    assert torch.allclose(before[1:], after[1:])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"wanted \[batch, 12, 5\]"):
        ElinformerWindow(SENSORS, "elu")(torch.zeros(1, 11, SENSORS), torch.ones(1, 11, SENSORS), torch.zeros(1))
    with pytest.raises(ConfigError, match=r"did you mean elu\?"):
        ElinformerWindow(SENSORS, "eluu")
    with pytest.raises(ConfigError, match=r"at least 1"):
        ElinformerWindow(0, "elu")
