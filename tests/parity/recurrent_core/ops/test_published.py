"""Our rules beside published implementations of the same, where one installs: outputs on the same numbers.

fla's naive reference functions are loaded from their files, since the package itself wants a GPU's tools.
"""

import importlib.util
from collections.abc import Callable
from importlib.metadata import distribution
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from recurrent_core.feature_maps import unit_length
from recurrent_core.ops.mechanism import Mechanism, Recurrence
from recurrent_core.ops.registry import make_mechanism
from recurrent_core.ops.run import Run, make_run

D_K, D_V, HEADS, TIME = 8, 8, 2, 37
SLOTS = 3
F32 = 2e-5
"""The published functions compute in float32: sums of 37 numbers of order 1, with feature ratios up to ten."""


def pairs(time: int = TIME) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of [slots, heads, time, d] float32."""
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(SLOTS, HEADS, time, D_K, generator=generator) for _ in range(3))  # type: ignore[return-value]


def strengths(low: float, high: float, *shape: int) -> Tensor:
    """Numbers between low and high, [slots, heads, time, *shape]."""
    generator = torch.Generator().manual_seed(2)
    return low + (high - low) * torch.rand(SLOTS, HEADS, TIME, *shape, generator=generator)


def undecayed(k: Tensor, v: Tensor) -> Run:
    """A run in which nothing fades."""
    return make_run(k, v, torch.zeros(k.shape[:-1]))


def at_the_end(rule: Mechanism, q: Tensor, run: Run) -> Tensor:
    """Every query's reading of the state after the whole run: the bidirectional form."""
    assert isinstance(rule, Recurrence)
    _, state = rule.chunk(q, run, rule.init_state((SLOTS, HEADS)))
    return rule.read(q, state)


def fla(path: str) -> ModuleType:
    """A module of fla-core by its file, without its package."""
    file = distribution("fla-core").locate_file(f"fla/ops/{path}.py")
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), str(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def time_first(function: Callable[..., Any], *tensors: Tensor, **named: Any) -> Tensor:
    """Call a function that wants [slots, time, heads, ...], and turn its output back."""
    output: Tensor = function(*(tensor.transpose(1, 2) for tensor in tensors), **named)[0]
    return output.transpose(1, 2)


def furthest(left: Tensor, right: Tensor) -> float:
    """max |left - right|."""
    return float((left - right).detach().abs().max())


def test_elu_and_linear_attention_of_fla() -> None:
    q, k, v = pairs()
    rule = make_mechanism("elu", D_K, D_V)
    features = (torch.nn.functional.elu(q) + 1, torch.nn.functional.elu(k) + 1, v)
    wanted = time_first(fla("linear_attn/naive").naive_recurrent_linear_attn, *features, normalize=True)
    assert furthest(rule.attend(q, undecayed(k, v)), wanted) < F32


def test_lightning_and_simple_gla_of_fla() -> None:
    q, k, v = pairs()
    log_decay = strengths(-0.5, 0.0)
    published = fla("simple_gla/naive").naive_chunk_simple_gla
    wanted = published(*(x.transpose(1, 2) for x in (q, k, v, log_decay)), scale=1.0, chunk_size=16)[0].transpose(1, 2)
    assert furthest(make_mechanism("lightning", D_K, D_V).attend(q, make_run(k, v, log_decay)), wanted) < 5 * F32


def test_gla_and_fla_s() -> None:
    q, k, v = pairs()
    gate = strengths(-0.5, 0.0, D_K)
    wanted = time_first(fla("gla/naive").naive_recurrent_gla, q, k, v, gate)
    run = make_run(k, v, torch.zeros(k.shape[:-1]), log_gate=gate)
    assert furthest(make_mechanism("gla", D_K, D_V).attend(q, run), wanted) < F32


def test_gated_delta_and_fla_s() -> None:
    q, k, v = pairs()
    log_decay, beta = strengths(-0.5, 0.0), strengths(0.1, 0.9)
    published = fla("gated_delta_rule/naive").naive_recurrent_gated_delta_rule
    wanted = time_first(published, unit_length(q), unit_length(k), v, beta, log_decay)
    run = make_run(k, v, log_decay, beta)
    assert furthest(make_mechanism("gated_delta", D_K, D_V).attend(q, run), wanted) < F32


def test_memory_slots_and_abc_of_fla() -> None:
    q, k, v = pairs()
    rule = make_mechanism("memory_slots", D_K, D_V, num_slots=4)
    let_in = unit_length(k) @ rule.control.detach().T
    wanted = fla("abc/naive").naive_recurrent_abc(q, k, v, let_in)[0]
    assert furthest(rule.attend(q, undecayed(k, v)), wanted) < F32


def test_performer_and_performer_pytorch() -> None:
    published = pytest.importorskip("performer_pytorch.performer_pytorch")
    q, k, v = pairs()
    rule = make_mechanism("performer", D_K, D_V, num_features=24)
    named = {"projection_matrix": rule.directions, "eps": 0.0}
    phi_q = published.softmax_kernel(q, is_query=True, **named)
    phi_k = published.softmax_kernel(k, is_query=False, **named)
    wanted = published.linear_attention(phi_q, phi_k, v)
    assert furthest(at_the_end(rule, q, undecayed(k, v)), wanted) < F32


def test_performer_comes_close_to_softmax_with_many_features() -> None:
    q, k, v = (0.5 * x for x in pairs())
    torch.manual_seed(4)
    rule = make_mechanism("performer", D_K, D_V, num_features=4096)
    found, wanted = (r.attend(q, undecayed(k, v)) for r in (rule, make_mechanism("softmax", D_K, D_V)))
    few = make_mechanism("performer", D_K, D_V, num_features=8).attend(q, undecayed(k, v))
    error, coarse = ((output - wanted).square().mean() for output in (found, few))
    assert error < 1e-4, "a hundredth of the outputs' size"
    assert error < coarse / 8, "the variance falls as 1/m"


def test_linformer_and_the_package() -> None:
    published = pytest.importorskip("linformer.linformer")
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(SLOTS, TIME, HEADS * D_K, generator=generator)
    other = published.LinformerSelfAttention(HEADS * D_K, TIME, k=5, heads=HEADS)
    other.to_out = torch.nn.Identity()
    rule = make_mechanism("linformer", D_K, D_V, window=TIME, rank=5)
    with torch.no_grad():
        rule.key_projection.copy_(other.proj_k.T)
        rule.value_projection.copy_(other.proj_v.T)
        q, k, v = (
            to(x).reshape(SLOTS, TIME, HEADS, D_K).transpose(1, 2) for to in (other.to_q, other.to_k, other.to_v)
        )
        found = rule.attend(q, undecayed(k, v)).transpose(1, 2).reshape(SLOTS, TIME, -1)
        assert furthest(found, other(x)) < F32


def test_softmax_window_and_local_attention() -> None:
    published = pytest.importorskip("local_attention")
    q, k, v = pairs()
    other = published.LocalAttention(
        window_size=6, causal=True, autopad=True, exact_windowsize=True, use_rotary_pos_emb=False
    )
    rule = make_mechanism("softmax_window", D_K, D_V, window=7)
    assert furthest(rule.attend(q, undecayed(k, v)), other(q, k, v)) < F32


def test_softmax_and_torch_s() -> None:
    q, k, v = pairs()
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert furthest(make_mechanism("softmax", D_K, D_V).attend(q, undecayed(k, v)), wanted) < F32
