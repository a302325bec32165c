"""One list of promises, run against every rule of attention: `pytest -v` prints it rule by rule."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from recurrent_core.errors import ConfigError, ShapeError
from recurrent_core.ops.mechanism import Mechanism, Recurrence, State
from recurrent_core.ops.rala.reference import attend_whole
from recurrent_core.ops.registry import MECHANISMS, make_mechanism
from recurrent_core.ops.run import Run, make_run

D = 4
"""One size of keys and values, for the rules that want it so."""
SLOTS = 2
WINDOW = 12
"""Linformer's."""

F64 = 1e-10
"""Sums of up to 131 numbers of order 1, times the ridge's condition (170): 131 * 170 * 2e-16 = 5e-12 at worst."""
F32 = 2e-4
"""The same in float32, where the ridge's condition shows; all others stay below 1e-5 on these runs."""
CHOICES: dict[str, dict[str, int]] = {
    "softmax_window": {"window": 5},
    "longformer": {"window": 4, "dilation": 3, "num_global": 2},
    "linformer": {"window": WINDOW, "rank": 3},
    "memory_slots": {"num_slots": 3},
    "performer": {"num_features": 6},
}
STREAMING = [name for name, rule in MECHANISMS.items() if issubclass(rule, Recurrence)]
CAUSAL = [name for name, rule in MECHANISMS.items() if rule.is_causal]


@pytest.fixture(autouse=True)
def _nan_filled_memory() -> Iterator[None]:
    """Fill all fresh memory with NaN, so that a forgotten write shows."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def made(name: str) -> Mechanism:
    """The rule, its draws always the same, in float64."""
    torch.manual_seed(3)
    return make_mechanism(name, D, D, **CHOICES.get(name, {})).double()


def streaming(name: str) -> Recurrence:
    """The same of a rule with a state."""
    rule = made(name)
    assert isinstance(rule, Recurrence)
    return rule


def leaves(rule: Mechanism, time: int, seed: int = 0, slots: int = SLOTS) -> list[Tensor]:
    """q, k, v, log_decay, omega and, where the rule takes them, gates: irregular times, one long gap, float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q, k, v = (normal(slots, time, D) for _ in range(3))
    log_decay = -torch.rand(slots, time, generator=generator, dtype=torch.float64) / 20.0
    log_decay[0, time // 2] = -30.0
    omega = 0.1 + 0.8 * torch.rand(slots, time, generator=generator, dtype=torch.float64)
    gates = [-torch.rand(slots, time, D, generator=generator, dtype=torch.float64) / 5.0] if rule.is_gated else []
    return [q, k, v, log_decay, omega, *gates]


def run_of(parts: list[Tensor], seed: int = 0, *, has_holes: bool = True) -> tuple[Tensor, Run]:
    """Queries and the run of such leaves; a fifth of the pairs is not written, and NaN."""
    q, k, v, log_decay, omega, *gates = parts
    generator = torch.Generator().manual_seed(seed + 1)
    is_written = torch.rand(log_decay.shape, generator=generator) > (0.2 if has_holes else -1.0)
    hole = torch.where(is_written, 0.0, torch.nan).unsqueeze(-1).to(k.dtype)
    return q, make_run(k + hole, v + hole, log_decay, omega, is_written, *gates)


def sample(rule: Mechanism, time: int, *, has_holes: bool = True) -> tuple[Tensor, Run]:
    """Queries and a run."""
    return run_of(leaves(rule, time), has_holes=has_holes)


def walk(rule: Recurrence, q: Tensor, run: Run, state: State) -> tuple[Tensor, State]:
    """The step form, reading by reading."""
    outputs = []
    for t in range(run.num_readings):
        output, state = rule.step(q[:, t], run.at(t), state)
        outputs.append(output)
    return torch.stack(outputs, dim=1), state


def apart(left: Tensor, right: Tensor) -> float:
    """max |left - right|, NaN if either holds one."""
    return float((left.detach().double() - right.detach().double()).abs().max())


def to_float32(q: Tensor, run: Run) -> tuple[Tensor, Run]:
    """The same numbers, rounded."""
    gate = None if run.log_gate is None else run.log_gate.float()
    return q.float(), Run(run.k.float(), run.v.float(), run.log_decay.float(), run.omega.float(), run.is_written, gate)


@pytest.mark.parametrize("name", MECHANISMS)
def test_attend_equals_the_reference(name: str) -> None:
    rule = made(name)
    for time in (WINDOW,) if name == "linformer" else (1, 7, 64, 131):
        q, run = sample(rule, time)
        wanted = rule.reference(q, run)
        assert wanted.dtype == torch.float64
        assert wanted.isfinite().all()
        assert apart(rule.attend(q, run), wanted) < F64


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize("time", [1, 13, 131])
def test_steps_and_chunks_equal_the_reference(name: str, time: int) -> None:
    rule = streaming(name)
    q, run = sample(rule, time)
    wanted = rule.reference(q, run)
    stepped, end = walk(rule, q, run, rule.init_state((SLOTS,), torch.float64))
    assert apart(stepped, wanted) < F64
    for size in (1, 7, 32, time):
        output, last = rule.chunk(q, run, rule.init_state((SLOTS,), torch.float64), chunk_size=size)
        assert apart(output, wanted) < F64
        assert apart(rule.read(q[:, -1:], last), rule.read(q[:, -1:], end)) < F64


@pytest.mark.parametrize("name", STREAMING)
def test_in_float32(name: str) -> None:
    rule = streaming(name)
    q, run = sample(rule, 131)
    wanted = rule.reference(q, run)
    narrow_q, narrow = to_float32(q, run)
    stepped, _ = walk(rule, narrow_q, narrow, rule.init_state((SLOTS,)))
    chunked, _ = rule.chunk(narrow_q, narrow, rule.init_state((SLOTS,)))
    assert stepped.dtype == chunked.dtype == torch.float32
    assert apart(stepped, wanted) < F32
    assert apart(chunked, wanted) < F32


@pytest.mark.parametrize("name", STREAMING)
def test_a_long_gap_within_a_run_costs_what_comes_after_it_no_digits(name: str) -> None:
    """In float32: beside a gap of a million decay times the ages after it are small, and must be right themselves."""
    rule = streaming(name)
    parts = leaves(rule, 40)
    parts[3][:, 20] = -1e6
    q, run = run_of(parts, has_holes=False)
    wanted = rule.reference(q, run)
    narrow_q, narrow = to_float32(q, run)
    first, state = rule.chunk(narrow_q[:, :30], narrow.part(0, 30), rule.init_state((SLOTS,)))
    second, _ = rule.chunk(narrow_q[:, 30:], narrow.part(30, 40), state)
    stepped, _ = walk(rule, narrow_q, narrow, rule.init_state((SLOTS,)))
    assert apart(torch.cat([first, second], dim=1), wanted) < 10 * F32
    assert apart(stepped, wanted) < 10 * F32


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize("cut", [1, 20, 39])
def test_cut_anywhere_and_carried_on(name: str, cut: int) -> None:
    rule = streaming(name)
    q, run = sample(rule, 40)
    whole, _ = rule.chunk(q, run, rule.init_state((SLOTS,), torch.float64))
    first, state = rule.chunk(q[:, :cut], run.part(0, cut), rule.init_state((SLOTS,), torch.float64))
    second, _ = rule.chunk(q[:, cut:], run.part(cut, 40), state)
    stepped, _ = walk(rule, q[:, cut:], run.part(cut, 40), state)
    assert apart(torch.cat([first, second], dim=1), whole) < F64
    assert apart(stepped, whole[:, cut:]) < F64


def _gradients(rule: Mechanism, form: Callable[[Tensor, Run], Tensor], parts: list[Tensor]) -> list[Tensor]:
    inputs = [part.detach().clone().requires_grad_() for part in parts]
    q, run = run_of(inputs)
    output = form(q, run)
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    wanted = [*inputs, *rule.parameters()]
    found = torch.autograd.grad((output * weight).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(wanted, found, strict=True)]


@pytest.mark.parametrize("name", MECHANISMS)
def test_gradients_equal_the_reference_s(name: str) -> None:
    """Of queries, keys, values, decay, weights, gates and what the rule learns; through steps and recomputed chunks."""
    rule = made(name)
    parts = leaves(rule, WINDOW)
    wanted = _gradients(rule, rule.reference, parts)
    forms: list[Callable[[Tensor, Run], Tensor]] = [rule.attend]
    if isinstance(rule, Recurrence):
        walked, fresh = rule, rule.init_state((SLOTS,), torch.float64)
        forms = [
            lambda q, run: walk(walked, q, run, fresh)[0],
            lambda q, run: walked.chunk(q, run, fresh, chunk_size=5)[0],
        ]
    largest = max(float(gradient.abs().max()) for gradient in wanted)
    assert largest > 0
    for form in forms:
        for found, right in zip(_gradients(rule, form, parts), wanted, strict=True):
            assert apart(found, right) < 10 * F64 * max(1.0, largest)


@pytest.mark.parametrize("name", MECHANISMS)
def test_gradcheck(name: str) -> None:
    rule = made(name)
    inputs = [part.requires_grad_() for part in leaves(rule, WINDOW, slots=1)]

    def output(*parts: Tensor) -> Tensor:
        q, run = run_of(list(parts))
        if isinstance(rule, Recurrence):
            return rule.chunk(q, run, rule.init_state((1,), torch.float64), chunk_size=5)[0]
        return rule.attend(q, run)

    assert torch.autograd.gradcheck(output, inputs, fast_mode=True)


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_batch_is_its_slots_one_by_one(name: str) -> None:
    rule = made(name)
    q, run = sample(rule, WINDOW)
    together = rule.attend(q, run)
    for slot in range(SLOTS):
        alone = slice(slot, slot + 1)
        gate = None if run.log_gate is None else run.log_gate[alone]
        part = Run(run.k[alone], run.v[alone], run.log_decay[alone], run.omega[alone], run.is_written[alone], gate)
        assert apart(rule.attend(q[alone], part), together[alone]) < F64


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("time", [1, 17, 63])
def test_no_output_depends_on_a_later_reading(name: str, time: int) -> None:
    rule = made(name)
    parts = leaves(rule, 80)
    changed = [part.clone() for part in parts]
    for part, other in zip(changed, leaves(rule, 80, seed=9), strict=True):
        part[:, time:] = other[:, time:]
    before, after = (rule.attend(*run_of(these)) for these in (parts, changed))
    assert torch.equal(before[:, :time], after[:, :time])
    assert not torch.equal(before[:, time:], after[:, time:])


@pytest.mark.parametrize("name", STREAMING)
def test_the_state_is_as_declared_however_long_the_run(name: str) -> None:
    rule = streaming(name)
    for time in (1, 50):
        q, run = sample(rule, time)
        _, state = rule.chunk(q, run, rule.init_state((SLOTS,)))
        assert {part: tuple(tensor.shape[1:]) for part, tensor in state.items()} == dict(rule.parts())
        assert sum(tensor[0].numel() for tensor in state.values()) == rule.num_floats
        assert all(tensor.isfinite().all() for tensor in state.values())


@pytest.mark.parametrize("name", STREAMING)
def test_arguments_are_left_unchanged(name: str) -> None:
    rule = streaming(name)
    q, run = sample(rule, 20)
    _, state = rule.chunk(q, run, rule.init_state((SLOTS,), torch.float64))
    kept = {part: tensor.clone() for part, tensor in state.items()}
    rule.step(q[:, 0], run.at(0), state)
    rule.chunk(q, run, state)
    rule.read(q, state)
    assert all(torch.equal(tensor, kept[part]) for part, tensor in state.items())


@pytest.mark.parametrize("name", STREAMING)
def test_a_fresh_state_is_zeros_and_reads_zero(name: str) -> None:
    rule = streaming(name)
    fresh = rule.init_state((SLOTS,))
    assert not any(tensor.any() for tensor in fresh.values())
    assert not rule.read(torch.ones(SLOTS, 3, D), fresh).any()


@pytest.mark.parametrize("name", STREAMING)
def test_an_unwritten_pair_passes_time_and_no_more(name: str) -> None:
    """Nothing written, no time passed: the state keeps its bits, but for what a rule learns of queries (rala)."""
    rule = streaming(name)
    q, run = sample(rule, 20)
    _, state = rule.chunk(q, run, rule.init_state((SLOTS,), torch.float64))
    nothing = torch.full((SLOTS, 1, D), torch.nan, dtype=torch.float64)
    gate = torch.zeros(SLOTS, 1, D, dtype=torch.float64) if rule.is_gated else None
    none, still = torch.zeros(SLOTS, 1, dtype=torch.bool), torch.zeros(SLOTS, 1, dtype=torch.float64)
    idle = make_run(nothing, nothing, still, still * torch.nan, none, gate)
    for _, after in (rule.step(q[:, 0], idle.at(0), state), rule.chunk(q[:, :1], idle, state)):
        for part, tensor in after.items():
            if not part.startswith("query"):
                assert torch.equal(tensor, state[part]), part


@pytest.mark.parametrize("name", STREAMING)
def test_a_gap_is_the_sum_of_its_parts_and_a_long_one_harmless(name: str) -> None:
    rule = streaming(name)
    q, run = sample(rule, 20)
    _, state = rule.chunk(q, run, rule.init_state((SLOTS,)))

    def idled(*gaps: float) -> State:
        nothing = torch.full((SLOTS, len(gaps), D), torch.nan)
        none = torch.zeros(SLOTS, len(gaps), dtype=torch.bool)
        gate = torch.zeros(SLOTS, len(gaps), D) if rule.is_gated else None
        idle = make_run(nothing, nothing, torch.tensor(gaps).expand(SLOTS, -1), is_written=none, log_gate=gate)
        return walk(rule, torch.zeros(SLOTS, len(gaps), D), idle, state)[1]

    u = q[:, :3].float()
    assert apart(rule.read(u, idled(-2.0, -3.0)), rule.read(u, idled(-5.0))) < F32
    far = idled(-1e6)
    assert rule.read(u, far).isfinite().all()
    pair, still = torch.ones(SLOTS, 1, D), torch.zeros(SLOTS, 1)
    one = make_run(pair, pair, still, log_gate=pair * 0.0 if rule.is_gated else None)
    again, _ = rule.chunk(u[:, :1], one, far)
    fresh, _ = rule.chunk(u[:, :1], one, rule.init_state((SLOTS,)))
    assert apart(again, fresh) < F32, "after a million of decay times the first pair stands alone"


@pytest.mark.parametrize("name", ["softmax_window", "longformer"])
def test_nan_in_unused_memory_does_not_matter(name: str) -> None:
    rule = streaming(name)
    q, run = sample(rule, 40)
    fresh = rule.init_state((SLOTS,), torch.float64)
    filled = {
        part: tensor if part == "num_written" else torch.full_like(tensor, torch.nan) for part, tensor in fresh.items()
    }
    wanted, _ = rule.chunk(q, run, fresh)
    for output, state in (walk(rule, q, run, filled), rule.chunk(q, run, filled, chunk_size=3)):
        assert apart(output, wanted) < F64
        assert rule.read(q, state).isfinite().all()


ACROSS = [name for name, rule in MECHANISMS.items() if not rule.why_not_across]


@pytest.mark.parametrize("name", ACROSS)
def test_across_reads_all_that_is_there_in_any_order(name: str) -> None:
    rule = made(name)
    q, k, v, *_ = leaves(rule, WINDOW)
    is_there = torch.rand(SLOTS, WINDOW, generator=torch.Generator().manual_seed(8)) > 0.3
    hole = torch.where(is_there, 0.0, torch.nan).unsqueeze(-1)
    output = rule.across(q, k + hole, v + hole, is_there)
    order = torch.randperm(WINDOW, generator=torch.Generator().manual_seed(9))
    shuffled = rule.across(q[:, order], (k + hole)[:, order], (v + hole)[:, order], is_there[:, order])
    assert output.isfinite().all()
    if name != "linformer":
        assert apart(shuffled, output[:, order]) < F64
    alone = rule.across(q, k, v, torch.zeros(SLOTS, WINDOW, dtype=torch.bool))
    assert not alone.any(), "nobody there reads 0"
    if isinstance(rule, Recurrence) and name != "rala":
        run = make_run(k + hole, v + hole, torch.zeros(SLOTS, WINDOW, dtype=torch.float64), is_written=is_there)
        assert apart(rule.reference(q, run)[:, -1], output[:, -1]) < F64, "the last one of a run has seen all"


def test_rala_across_is_as_printed() -> None:
    rule = made("rala")
    q, k, v, *_ = leaves(rule, WINDOW)
    assert apart(rule.across(q, k, v), attend_whole(q, k, v)) < F64


@pytest.mark.parametrize("name", [name for name in MECHANISMS if name not in ACROSS])
def test_a_rule_that_lives_on_the_order_says_so(name: str) -> None:
    rule = made(name)
    q, k, v, *_ = leaves(rule, WINDOW)
    with pytest.raises(ConfigError, match=r"order; *use"):
        rule.across(q, k, v)


@pytest.mark.parametrize("name", [name for name in MECHANISMS if name not in STREAMING])
def test_a_rule_without_a_state_says_why_and_what_to_use(name: str) -> None:
    why = MECHANISMS[name].why_not_streaming
    assert name in why
    assert any(other in why for other in STREAMING)


@pytest.mark.parametrize("name", MECHANISMS)
def test_what_does_not_fit_is_refused(name: str) -> None:
    rule = made(name)
    q, run = sample(rule, WINDOW, has_holes=False)
    with pytest.raises(ShapeError, match=r"q has shape"):
        rule.attend(q[..., :-1], run)
    with pytest.raises(ConfigError, match=r"at least 1"):
        make_mechanism(name, 0, D)
    with pytest.raises(ConfigError, match=rf"{name} knows no colour"):
        make_mechanism(name, D, D, colour=3)
    if not rule.is_gated:
        with pytest.raises(ConfigError, match=r"takes no log_gate"):
            rule.attend(q, make_run(run.k, run.v, run.log_decay, log_gate=torch.zeros_like(run.k)))


@pytest.mark.parametrize(
    ("name", "choices", "what"),
    [
        ("linformer", {"window": 3, "rank": 4}, r"smaller rank or a longer window"),
        ("longformer", {"window": 0}, r"window and dilation of at least 1"),
        ("performer", {"num_features": 0}, r"at least 1"),
        ("memory_slots", {"num_slots": 0}, r"at least 1"),
        ("entropy_equality", {"rho2": 0.0}, r"2 for Shannon"),
        ("ridge", {"r0": 0.0}, r"at least 0.01"),
        ("entropy_equallity", {}, r"did you mean entropy_equality\?"),
        ("lineformer", {}, r"did you mean linformer\?"),
        ("xyz", {}, r"Known are entropy_equality, ridge"),
    ],
)
def test_choices_that_can_never_work_are_refused(name: str, choices: dict[str, float], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        make_mechanism(name, D, D, **choices)


def test_diagonal_wants_one_size() -> None:
    with pytest.raises(ConfigError, match=r"d_k is 4, d_v 5"):
        make_mechanism("diagonal", 4, 5)
