"""Layers and stacks of them: steps = sequence, whatever the rules, with convolution or without, cut anywhere."""

import pytest
import torch
from torch import Tensor

from recurrent_core.errors import ConfigError
from recurrent_core.layers.attention import AttentionLayer
from recurrent_core.layers.stack import LayerChoice, Stack
from recurrent_core.layers.temporal_conv import TemporalConv
from recurrent_core.ops.mechanism import Recurrence, State
from recurrent_core.ops.registry import MECHANISMS

D_MODEL, HEADS, SLOTS, TIME = 12, 3, 2, 40
F64 = 1e-9
"""Two layers of what the rules hold to 1e-10."""
STREAMING = [name for name, rule in MECHANISMS.items() if issubclass(rule, Recurrence)]
HYBRIDS = {
    "linear and a window": [LayerChoice("entropy_equality"), LayerChoice("softmax_window", choices={"window": 5})],
    "convolved": [LayerChoice("elu", conv_width=4), LayerChoice("gated_delta", conv_width=3, conv_dilation=4)],
    "one tap": [LayerChoice("ridge", conv_width=1)],
}


def stack(layers: list[LayerChoice]) -> Stack:
    """Always the same draw, in float64."""
    torch.manual_seed(2)
    return Stack(D_MODEL, HEADS, layers).double()


def sample(time: int = TIME) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden vectors, times since the last reading, and which are there."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(SLOTS, time, D_MODEL, generator=generator, dtype=torch.float64)
    elapsed = torch.rand(SLOTS, time, generator=generator, dtype=torch.float64) * 2
    return x, elapsed, torch.rand(SLOTS, time, generator=generator) > 0.2


def walk(made: Stack, x: Tensor, elapsed: Tensor, is_written: Tensor, state: State) -> tuple[Tensor, State]:
    """Step by step."""
    outputs = []
    for t in range(x.shape[1]):
        output, state = made.step(x[:, t], elapsed[:, t], is_written[:, t], state)
        outputs.append(output)
    return torch.stack(outputs, dim=1), state


def check(made: Stack) -> None:
    """Steps = sequence = cut and carried on; no look-ahead; the state as declared."""
    x, elapsed, is_written = sample()
    fresh = made.init_state(SLOTS, torch.float64)
    with torch.no_grad():
        whole, end = made.sequence(x, elapsed, is_written, fresh)
        stepped, last = walk(made, x, elapsed, is_written, fresh)
        first, state = made.sequence(x[:, :17], elapsed[:, :17], is_written[:, :17], fresh)
        second, _ = made.sequence(x[:, 17:], elapsed[:, 17:], is_written[:, 17:], state)
    assert float((stepped - whole).abs().max()) < F64
    assert float((torch.cat([first, second], dim=1) - whole).abs().max()) < F64
    assert {part: tuple(tensor.shape[1:]) for part, tensor in end.items()} == made.parts()
    assert sum(tensor[0].numel() for tensor in last.values()) == made.num_floats


@pytest.mark.parametrize("name", STREAMING)
def test_a_stack_of_every_rule_streams(name: str) -> None:
    check(stack([LayerChoice(name), LayerChoice(name, conv_width=3)]))


@pytest.mark.parametrize("name", HYBRIDS)
def test_hybrids_stream(name: str) -> None:
    check(stack(HYBRIDS[name]))


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_parameter_of_a_layer_learns(name: str) -> None:
    torch.manual_seed(3)
    layer = AttentionLayer(D_MODEL, HEADS, name, {"window": TIME} if name == "linformer" else {}).double()
    x, elapsed, is_written = sample()
    output = layer.attend(x, elapsed, is_written)
    assert output.shape == x.shape
    (output * torch.randn(x.shape, dtype=torch.float64)).sum().backward()
    still = [name for name, weight in layer.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert still == (["log_tau"] if name == "linformer" else []), "linformer knows no ages"


@pytest.mark.parametrize("name", [name for name, rule in MECHANISMS.items() if not rule.why_not_across])
def test_a_layer_reads_across_members(name: str) -> None:
    torch.manual_seed(3)
    layer = AttentionLayer(D_MODEL, HEADS, name, {"window": TIME} if name == "linformer" else {}).double()
    x, _, is_there = sample()
    output = layer.across(x, is_there)
    far = torch.where(is_there.unsqueeze(-1), x, torch.full_like(x, 1e3))
    there = is_there.unsqueeze(-1).expand(x.shape)
    assert torch.equal(layer.across(far, is_there)[there], output[there]), "nobody reads those who are not there"


@pytest.mark.parametrize(("width", "dilation"), [(1, 1), (3, 1), (4, 5)])
def test_convolution_is_the_sum_of_its_taps(width: int, dilation: int) -> None:
    conv = TemporalConv(D_MODEL, width, dilation).double()
    x, _, is_written = sample()
    fresh = {part: torch.zeros(SLOTS, *shape, dtype=torch.float64) for part, shape in conv.parts().items()}
    output, _ = conv.sequence(x, is_written, fresh)
    seen = x * is_written.unsqueeze(-1)
    for t in (0, 1, dilation, TIME - 1):
        taps = [(width - 1 - i, t - i * dilation) for i in range(width) if t >= i * dilation]
        wanted = conv.bias + sum(conv.weight[:, 0, tap] * seen[:, at] for tap, at in taps)
        assert float((output[:, t] - wanted).detach().abs().max()) < 1e-12


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"softmax cannot stream: .*softmax_window"):
        stack([LayerChoice("softmax")]).init_state(1)
    with pytest.raises(ConfigError, match=r"12 hidden channels do not divide into 5 heads"):
        Stack(12, 5, [LayerChoice("elu")])
    with pytest.raises(ConfigError, match=r"at least one"):
        Stack(12, 3, [])
    with pytest.raises(ConfigError, match=r"width 0"):
        TemporalConv(12, 0)
