"""Oracle O1 and its kin: step x T = chunk = merge = reference, outputs and gradients, cut anywhere."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurrent_core.ops.entropy_equality import chunk, reference
from recurrent_core.ops.entropy_equality.merge import merge, single
from recurrent_core.ops.entropy_equality.moments import Moments, num_floats, pack, unpack
from recurrent_core.ops.entropy_equality.step import decay, relative_ridge, write
from recurrent_core.ops.run import Run
from tests.parity.recurrent_core.ops import samples
from tests.parity.recurrent_core.ops.samples import D_K, D_V, Read, Sample, furthest, largest, sample, walk

LENGTHS = (1, 63, 75, 500)

AFFINE_F64 = 1e-12
"""Sums of up to 500 numbers of order 1: 500 * 2e-16 = 1e-13 at worst; 6e-15 seen."""
RIDGE_F64 = 1e-11
"""The same times the condition number, at most d_k / r0 = 170; 1e-13 seen."""
AFFINE_F32 = 1e-5
"""Of an output sd of about 1: some hundred roundings of 6e-8; 1e-6 seen."""
RIDGE_F32 = 1e-4
"""The same times the condition number, of which a tenth shows; 1e-5 seen."""
GRADIENT_F64 = 1e-9
"""Relative to the largest gradient: backward passes sum over the run once more, and the ridge squares its condition."""

Attend = Callable[[Tensor, Run, Moments], tuple[Tensor, Moments]]


@pytest.fixture(autouse=True)
def _nan_filled_memory() -> Iterator[None]:
    """Fill all fresh memory with NaN, so that a forgotten write shows."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(1).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def _forms(name: str, *, is_past_only: bool) -> tuple[Read, Attend, Callable[[Tensor, Run], Tensor]]:
    """The step's read, the chunk form and the reference of a read-out."""
    if name == "ridge":
        forms = samples.by_ridge, chunk.attend_ridge, reference.attend_ridge
    elif name == "capped ridge":
        cap = 2.0 * D_K
        forms = (
            samples.by_capped_ridge,
            partial(chunk.attend_ridge, rho2=cap),
            partial(reference.attend_ridge, rho2=cap),
        )
    else:
        oracle = partial(reference.attend_affine, is_diagonal=name == "diagonal")
        forms = samples.by_affine, chunk.attend_affine, oracle
    read, attend, oracle = forms
    return read, partial(attend, is_past_only=is_past_only), partial(oracle, is_past_only=is_past_only)


def _tolerance(name: str) -> float:
    return RIDGE_F64 if "ridge" in name else AFFINE_F64


READ_OUTS = ("affine", "diagonal", "ridge", "capped ridge")


@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize("is_past_only", [False, True])
@pytest.mark.parametrize("name", READ_OUTS)
def test_o1_step_and_chunks_equal_the_reference(name: str, is_past_only: bool, time: int) -> None:
    given_sample = sample(time)
    run, u = given_sample.run(), given_sample.u
    read, attend, oracle = _forms(name, is_past_only=is_past_only)
    wanted = oracle(u, run)
    start = samples.empty(is_diagonal=name == "diagonal")
    last = reference.moments_along(run, is_diagonal=name == "diagonal").map(lambda field: field[:, -1])
    stepped, end = walk(run, u, start, read, is_past_only=is_past_only)
    assert largest(stepped, wanted) < _tolerance(name)
    assert furthest(end, last) < AFFINE_F64
    for chunk_size in {1, 7, 64, time} if time < 500 or name == "affine" else {64}:
        outputs, end = partial(attend, chunk_size=chunk_size)(u, run, start)
        assert largest(outputs, wanted) < _tolerance(name)
        assert furthest(end, last) < AFFINE_F64


@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize("name", READ_OUTS)
def test_o1_in_float32(name: str, time: int) -> None:
    narrow = sample(time).to(torch.float32)
    read, attend, oracle = _forms(name, is_past_only=False)
    wanted = oracle(narrow.u, narrow.run())
    start = samples.empty(is_diagonal=name == "diagonal", dtype=torch.float32)
    tolerance = RIDGE_F32 if "ridge" in name else AFFINE_F32
    for outputs, end in (walk(narrow.run(), narrow.u, start, read), attend(narrow.u, narrow.run(), start)):
        assert outputs.dtype == end.mass.dtype == torch.float32
        assert largest(outputs, wanted) < tolerance


@pytest.mark.parametrize("time", LENGTHS)
@pytest.mark.parametrize("name", READ_OUTS)
def test_o1_gradients_are_the_reference_s(name: str, time: int) -> None:
    read, attend, oracle = _forms(name, is_past_only=False)
    is_diagonal = name == "diagonal"
    start = samples.empty(is_diagonal=is_diagonal)

    def by_reference(leaves: Sample) -> tuple[Tensor, Moments]:
        along = reference.moments_along(leaves.run(), is_diagonal=is_diagonal)
        return oracle(leaves.u, leaves.run()), along.map(lambda field: field[:, -1])

    wanted = _gradients(sample(time), by_reference)
    for form in (
        lambda leaves: walk(leaves.run(), leaves.u, start, read),
        lambda leaves: partial(attend, chunk_size=32)(leaves.u, leaves.run(), start),
    ):
        for found, want in zip(_gradients(sample(time), form), wanted, strict=True):
            assert largest(found, want) < GRADIENT_F64 * max(1.0, float(want.abs().max()))


def _gradients(plain: Sample, form: Callable[[Sample], tuple[Tensor, Moments]]) -> list[Tensor]:
    """Gradients of a fixed mixture of all outputs and of the end state."""
    leaves = plain.with_gradients()
    outputs, end = form(leaves)
    mix = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = (outputs * mix).sum()
    for field in samples.FIELDS:
        loss = loss + getattr(end, field).sin().sum()
    return list(torch.autograd.grad(loss, leaves.leaves))


@given(cuts=st.lists(st.integers(1, 74), max_size=6), chunk_size=st.integers(1, 80), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_cut_anywhere_and_carried_on(cuts: list[int], chunk_size: int, seed: int) -> None:
    whole = sample(75, seed=seed)
    edges = [0, *sorted(set(cuts)), 75]
    for name in ("affine", "diagonal", "ridge"):
        read, attend, oracle = _forms(name, is_past_only=False)
        state, parts = samples.empty(is_diagonal=name == "diagonal"), []
        for index, (start, stop) in enumerate(pairwise(edges)):
            part, u = whole.run().part(start, stop), whole.u[:, start:stop]
            is_stepped = index % 2 == 1
            outputs, state = (
                walk(part, u, state, read) if is_stepped else partial(attend, chunk_size=chunk_size)(u, part, state)
            )
            parts.append(outputs)
        assert largest(torch.cat(parts, dim=1), oracle(whole.u, whole.run())) < _tolerance(name)


def test_a_run_nobody_reads_leaves_the_same_state() -> None:
    run, u = sample(75).run(), sample(75).u
    _, wanted = chunk.attend_affine(u, run, samples.empty(), chunk_size=10)
    found = chunk.advance(run, samples.empty(), chunk_size=10)
    assert furthest(found, wanted) == 0.0


@pytest.mark.parametrize("is_past_only", [False, True])
def test_moments_along_are_the_reference_s(is_past_only: bool) -> None:
    run = sample(63).run()
    found = chunk.moments_along(run, samples.empty(), is_past_only=is_past_only)
    assert furthest(found, reference.moments_along(run, is_past_only=is_past_only)) < AFFINE_F64


def _singles(run: Run) -> list[Moments]:
    run = run.masked()
    return [single(run.k[:, t], run.v[:, t], run.omega[:, t]) for t in range(run.num_readings)]


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_o1_any_tree_of_merges_is_the_reference(seed: int) -> None:
    run = sample(75, seed=seed).run()
    leaves, generator = _singles(run), torch.Generator().manual_seed(seed)

    def tree(start: int, stop: int) -> tuple[Moments, Tensor]:
        if stop - start == 1:
            return leaves[start], run.log_decay[:, start]
        middle = int(torch.randint(start + 1, stop, (), generator=generator))
        (earlier, before), (later, after) = tree(start, middle), tree(middle, stop)
        return merge(earlier, later, after), before + after

    found, _ = tree(0, 75)
    assert furthest(found, reference.moments_along(run).map(lambda field: field[:, -1])) < AFFINE_F64


@pytest.mark.parametrize("time", LENGTHS)
def test_o1_a_scan_of_merges_is_the_reference(time: int) -> None:
    run = sample(time).run()
    wanted = reference.moments_along(run)
    elements = list(zip(_singles(run), run.log_decay.unbind(1), strict=True))
    reach = 1
    while reach < time:
        elements = elements[:reach] + [
            (merge(left, right, after), before + after)
            for (left, before), (right, after) in zip(elements, elements[reach:], strict=False)
        ]
        reach *= 2
    for t, (found, _) in enumerate(elements):
        assert furthest(found, wanted.map(lambda field, at=t: field[:, at])) < AFFINE_F64


@pytest.mark.parametrize("name", READ_OUTS)
def test_a_batch_is_its_slots_one_by_one(name: str) -> None:
    many = sample(63, slots=7).to(torch.float32)
    read, attend, _ = _forms(name, is_past_only=False)
    is_diagonal = name == "diagonal"
    # Rows are summed in another order in a batch of one: float32 roundings, times the condition for the ridge.
    tolerance = RIDGE_F32 if "ridge" in name else AFFINE_F32
    for form in (lambda u, run, state: walk(run, u, state, read), attend):
        together, _ = form(many.u, many.run(), samples.empty(7, is_diagonal=is_diagonal, dtype=torch.float32))
        for slot in range(7):
            row = slice(slot, slot + 1)
            one = Sample(*(leaf[row] for leaf in many.leaves), many.is_written[row])
            alone, _ = form(one.u, one.run(), samples.empty(1, is_diagonal=is_diagonal, dtype=torch.float32))
            assert largest(together[row], alone) < tolerance


@pytest.mark.parametrize("is_diagonal", [False, True])
def test_rows_of_nan_beside_the_used_ones_stay_untouched(is_diagonal: bool) -> None:
    width = num_floats(D_K, D_V, is_diagonal=is_diagonal)
    slab, used = torch.full((9, width), torch.nan), torch.tensor([1, 6])
    slab[used] = pack(samples.empty(is_diagonal=is_diagonal, dtype=torch.float32))
    narrow = sample(75).to(torch.float32)
    run = narrow.run()
    for t in range(75):
        state = decay(unpack(slab[used], D_K, D_V, is_diagonal=is_diagonal), run.log_decay[:, t])
        slab[used] = pack(write(state, run.k[:, t], run.v[:, t], run.omega[:, t], run.is_written[:, t]))
    _, wanted = walk(run, narrow.u, samples.empty(is_diagonal=is_diagonal, dtype=torch.float32), samples.by_affine)
    assert torch.equal(slab[used], pack(wanted))
    assert slab[[0, 2, 3, 4, 5, 7, 8]].isnan().all()


def test_a_nan_slot_in_the_batch_does_not_touch_its_neighbours() -> None:
    narrow = sample(40, slots=3, has_holes=False).to(torch.float32)
    wanted, _ = walk(narrow.run(), narrow.u, samples.empty(3, dtype=torch.float32), samples.by_ridge)
    rows = pack(samples.empty(3, dtype=torch.float32))
    rows[1] = torch.nan
    found, _ = walk(narrow.run(), narrow.u, unpack(rows, D_K, D_V), samples.by_ridge)
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])


def test_the_ridge_of_the_chunk_form_may_depend_on_the_mass() -> None:
    given_sample = sample(63)

    def ridge(moments: Moments) -> Tensor:
        return relative_ridge(moments, 0.01 + 30.0 / (1.0 + moments.mass))

    def read(moments: Moments, q: Tensor) -> Tensor:
        return samples.read_ridge(moments, q, ridge(moments))

    stepped, _ = walk(given_sample.run(), given_sample.u, samples.empty(), read)
    chunked, _ = chunk.attend_ridge(given_sample.u, given_sample.run(), samples.empty(), ridge)
    assert largest(stepped, chunked) < RIDGE_F64


@pytest.mark.parametrize("offset", [100.0, 1e4])
def test_long_gaps_and_offsets_cost_no_digits_of_the_affine_read(offset: float) -> None:
    far = sample(500, offset=offset, has_holes=False)
    far.log_decay[1, 100] = -1e6
    wanted = reference.attend_affine(far.u, far.run())
    # The note's table: the error grows with offset / sd; 2e-10 at 1e4, 3e-12 at 100 after 100 000 steps.
    # Ages of 1e6 hold 1e-10 in float64, in the oracle's one sum of log decays.
    tolerance = 1e-13 * offset + 1e-10
    stepped, _ = walk(far.run(), far.u, samples.empty(), samples.by_affine)
    chunked, _ = chunk.attend_affine(far.u, far.run(), samples.empty())
    assert largest(stepped, wanted) < tolerance
    assert largest(chunked, wanted) < tolerance


@pytest.mark.parametrize("log_gap", [-4.0, -12.0, -20.0])
def test_a_long_gap_leaves_no_rounding_in_the_covariance(log_gap: float) -> None:
    """After a gap C is all but zero; what remains must be right relative to itself, for the ridge divides by it."""
    narrow = sample(40, has_holes=False).to(torch.float32)
    narrow.log_decay[:, -1] = log_gap
    wanted = reference.moments_along(narrow.run()).map(lambda field: field[:, -1])
    _, stepped = walk(narrow.run(), narrow.u, samples.empty(dtype=torch.float32), samples.by_affine)
    chunked = chunk.advance(narrow.run().part(0, 39), samples.empty(dtype=torch.float32))
    _, chunked = chunk.attend_affine(narrow.u[:, 39:], narrow.run().part(39, 40), chunked)
    for found in (stepped, chunked):
        # Some tens of float32 roundings, relative to the largest entry.
        assert largest(found.key_cov, wanted.key_cov) < 1e-5 * float(wanted.key_cov.abs().amax((-1, -2)).min())
        assert largest(found.cross_cov, wanted.cross_cov) < 1e-5 * float(wanted.cross_cov.abs().amax((-1, -2)).min())
