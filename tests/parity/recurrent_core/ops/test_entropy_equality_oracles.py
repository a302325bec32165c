"""Oracles O2 to O8 of the design note: what entropy-equality attention must be, whatever computes it."""

import math

import pytest
import torch
from torch import Tensor

from recurrent_core.gates import log_decay
from recurrent_core.ops.entropy_equality import chunk, reference
from recurrent_core.ops.entropy_equality.merge import merge, single
from recurrent_core.ops.entropy_equality.moments import Moments, zeros
from recurrent_core.ops.entropy_equality.step import (
    decay,
    read_affine,
    read_positive,
    read_ridge,
    relative_ridge,
    write,
)
from recurrent_core.ops.run import make_run
from tests.parity.recurrent_core.ops import samples
from tests.parity.recurrent_core.ops.samples import D_K, D_V, furthest, largest, sample, walk

ROUNDING = 1e-13
"""Float64 sums of some tens of numbers of order 1."""


def _state_of(k: Tensor, v: Tensor, *, is_diagonal: bool = False) -> Moments:
    """The moments of n pairs of weight 1: k [n, d_k], v [n, d_v], float64."""
    start = zeros((), k.shape[-1], v.shape[-1], is_diagonal=is_diagonal, dtype=torch.float64)
    return chunk.advance(make_run(k, v, torch.zeros(len(k), dtype=torch.float64)), start, chunk_size=256)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _softmax(u: Tensor, k: Tensor) -> Tensor:
    return torch.softmax(k @ u, dim=-1)


# O2: the weights


def test_o2_weights_sum_to_one_keep_the_ranking_and_give_the_output() -> None:
    given_sample = sample(63)
    run, u = given_sample.run(), given_sample.u
    w = reference.affine_weights(u, run)
    pi, mass = reference.prior_weights(run)
    has_any = mass > 0
    assert largest(w.sum(-1)[has_any], torch.ones_like(mass)[has_any]) < ROUNDING
    stepped, _ = walk(run, u, samples.empty(), samples.by_affine)
    assert largest(w @ run.masked().v, stepped) < ROUNDING
    s = u @ run.masked().k.mT
    tilt = torch.where(pi > 0, w / pi.clamp(min=1e-300), torch.nan)[0, -1]
    seen = tilt.isfinite()
    assert torch.equal(tilt[seen].argsort(), s[0, -1][seen].argsort())


def test_o2_theta_form_and_chi_square() -> None:
    k, v, u = _normal(40, D_K), _normal(40, D_V, seed=1), _normal(D_K, seed=2)
    run = make_run(k, v, torch.full((40,), -0.1, dtype=torch.float64))
    w = reference.affine_weights(u.expand(40, D_K), run)[-1]
    pi = reference.prior_weights(run)[0][-1]
    s = k @ u
    m = pi @ s
    x = pi @ (s - m).square()
    a = (1.0 + x / 2.0).rsqrt()
    theta = 1.0 / a - m
    assert largest(w, pi * (theta + s) / (theta + m)) < ROUNDING
    assert largest(((w - pi).square() / pi).sum(), a.square() * x) < ROUNDING


# O3: invariances


@pytest.mark.parametrize("read", [samples.by_affine, samples.by_ridge])
def test_o3_shifts_and_linear_maps(read: samples.Read) -> None:
    k, v, u = _normal(30, D_K), _normal(30, D_V, seed=1), _normal(D_K, seed=2)
    shift_k, shift_v, turn = _normal(D_K, seed=3), _normal(D_V, seed=4), _normal(D_V, 3, seed=5)
    plain = read(_state_of(k, v), u)
    moved_query = u + shift_k if read is samples.by_ridge else u  # the ridge's query lives where the keys live
    # Times the condition of the ridge, at most d_k / r0 = 170.
    assert largest(read(_state_of(k + shift_k, v), moved_query), plain) < 170 * ROUNDING
    assert largest(read(_state_of(k, v + shift_v), u), plain + shift_v) < 170 * ROUNDING
    assert largest(read(_state_of(k, v @ turn), u), plain @ turn) < 170 * ROUNDING


def test_o3_order_of_writes_at_equal_times_does_not_matter() -> None:
    k, v = _normal(30, D_K), _normal(30, D_V, seed=1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert furthest(_state_of(k, v), _state_of(k[order], v[order])) < ROUNDING


def test_o3_decays_add_up_and_empty_is_the_identity() -> None:
    state = _state_of(_normal(30, D_K), _normal(30, D_V, seed=1))
    minus = torch.tensor([-0.3, -1.7], dtype=torch.float64)
    twice, once = decay(decay(state, minus[0]), minus[1]), decay(state, minus.sum())
    assert furthest(twice, once) < ROUNDING
    nothing = zeros((), D_K, D_V, dtype=torch.float64)
    no_time = torch.zeros((), dtype=torch.float64)
    assert furthest(merge(nothing, state, no_time), state) == 0.0
    assert furthest(merge(state, nothing, no_time), state) == 0.0
    assert furthest(merge(nothing, nothing, no_time), nothing) == 0.0


@pytest.mark.parametrize("is_diagonal", [False, True])
def test_o3_a_pair_written_twice_is_one_of_weight_two(is_diagonal: bool) -> None:
    state = _state_of(_normal(30, D_K), _normal(30, D_V, seed=1), is_diagonal=is_diagonal)
    k, v = _normal(D_K, seed=6), _normal(D_V, seed=7)
    twice, once = write(write(state, k, v), k, v), write(state, k, v, 2.0)
    for name in samples.FIELDS:
        if name != "nu":
            assert largest(getattr(twice, name), getattr(once, name)) < ROUNDING
    assert twice.nu < once.nu


@pytest.mark.parametrize("is_diagonal", [False, True])
def test_o3_merging_a_single_pair_is_a_write(is_diagonal: bool) -> None:
    state = _state_of(_normal(30, D_K), _normal(30, D_V, seed=1), is_diagonal=is_diagonal)
    k, v, omega = _normal(D_K, seed=6), _normal(D_V, seed=7), torch.tensor(0.7, dtype=torch.float64)
    gap = torch.tensor(-0.4, dtype=torch.float64)
    merged = merge(state, single(k, v, omega, is_diagonal=is_diagonal), gap)
    assert furthest(merged, write(decay(state, gap), k, v, omega)) < ROUNDING


# O4: the bound


@pytest.mark.parametrize("is_diagonal", [False, True])
@pytest.mark.parametrize("rho2", [2.0, 8.0])
def test_o4_outputs_stay_within_rho_standard_deviations(is_diagonal: bool, rho2: float) -> None:
    k, v = _normal(256, D_K), _normal(256, D_V, seed=1)
    v[:, 0] = k[:, 0]  # the worst case: a value that is a key
    state = _state_of(k, v, is_diagonal=is_diagonal)
    bound = math.sqrt(rho2 * (D_K if is_diagonal else 1)) * v.std(0, correction=0)
    directions = torch.cat([_normal(64, D_K, seed=2), torch.eye(D_K, dtype=torch.float64)])
    for scale in (1e-3, 1.0, 1e3, 1e12):
        shift = read_affine(state, scale * directions, rho2) - state.value_mean
        assert bool((shift.abs() <= bound * (1.0 + 1e-9)).all())
    assert float((shift / bound).abs().max()) > (0.3 if is_diagonal else 0.9)  # and the bound is no idle one


# O5: agreement with softmax


def _order(error: list[float]) -> float:
    return math.log2(error[0] / error[1])


def _kl(p: Tensor, n: int) -> Tensor:
    return (p * (p * n).log()).sum()


def test_o5_the_output_error_falls_with_the_square_of_the_query() -> None:
    k, v, u = _normal(256, D_K), _normal(256, D_V, seed=1), _normal(D_K, seed=2)
    v[:, 0] = torch.tanh(k[:, 0])
    state = _state_of(k, v)
    errors = [
        float((read_affine(state, scale * u) - _softmax(scale * u, k) @ v).square().mean().sqrt())
        for scale in (0.04, 0.02)
    ]
    assert 1.9 < _order(errors) < 2.1


def test_o5_the_entropy_gap_falls_with_the_third_power_and_the_fourth_if_symmetric() -> None:
    skewed, u = _normal(256, D_K).square(), _normal(D_K, seed=2).abs()
    symmetric = torch.cat([_normal(128, D_K), -_normal(128, D_K)])
    for keys, rho2, lower, upper in ((skewed, 2.0, 2.8, 3.2), (symmetric, 1e18, 3.9, 4.1)):
        gaps = []
        for scale in (0.02, 0.01):
            run = make_run(keys, keys, torch.zeros(256, dtype=torch.float64))
            w = reference.affine_weights((scale * u).expand(256, D_K), run, rho2)[-1]
            gaps.append(float((_kl(w, 256) - _kl(_softmax(scale * u, keys), 256)).abs()))
        assert lower < _order(gaps) < upper


# O6: edges


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_o6_nothing_written_reads_zero_and_one_pair_reads_its_value(dtype: torch.dtype) -> None:
    state = zeros((2,), D_K, D_V, dtype=dtype)
    q, k, v = (_normal(2, size, seed=size).to(dtype) for size in (D_K, D_K, D_V))
    for read in (samples.by_affine, samples.by_ridge, samples.by_capped_ridge):
        assert torch.equal(read(state, q), torch.zeros(2, D_V, dtype=dtype))
        assert torch.equal(read(write(state, k, v), q), v)


def test_o6_keys_that_do_not_vary_read_the_mean() -> None:
    k, v = _normal(1, D_K).expand(20, D_K), _normal(20, D_V, seed=1)
    state = _state_of(k, v)
    for read in (samples.by_affine, samples.by_ridge):
        # The ridge divides what rounding left in C_kv, 1e-17, by its eps of 1e-6.
        assert largest(read(state, _normal(D_K, seed=2)), v.mean(0)) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_o6_after_a_huge_gap_the_memory_starts_anew(dtype: torch.dtype) -> None:
    state = _state_of(_normal(30, D_K), _normal(30, D_V, seed=1)).map(lambda field: field.to(dtype))
    k, v, u = (_normal(size, seed=size).to(dtype) for size in (D_K, D_V, D_K))
    gone = decay(state, torch.tensor(-1e6, dtype=torch.float64))
    assert gone.mass == 0.0
    assert torch.equal(read_affine(gone, u), read_affine(state, u))  # in between, the last means hold
    fresh = write(zeros((), D_K, D_V, dtype=dtype), k, v)
    assert furthest(write(gone, k, v), fresh) == 0.0
    run = make_run(k[None], v[None], torch.tensor([-1e6], dtype=dtype))
    assert furthest(chunk.advance(run, state), fresh) < (1e-6 if dtype == torch.float32 else 1e-15)  # one rounding


@pytest.mark.parametrize("is_diagonal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_o6_nan_that_is_not_written_leaves_the_state_to_the_bit(is_diagonal: bool, dtype: torch.dtype) -> None:
    state = _state_of(_normal(30, D_K), _normal(30, D_V, seed=1), is_diagonal=is_diagonal)
    both = state.map(lambda field: torch.stack([field, torch.zeros_like(field)]).to(dtype))
    nan = torch.full((2,), torch.nan, dtype=dtype)
    kept = write(both, nan[:, None].expand(2, D_K), nan[:, None].expand(2, D_V), nan, torch.tensor([False, False]))
    for name in samples.FIELDS:
        bits = torch.int32 if dtype == torch.float32 else torch.int64
        assert torch.equal(getattr(kept, name).view(bits), getattr(both, name).view(bits))


def test_o6_a_weight_of_zero_writes_nothing() -> None:
    state = _state_of(_normal(30, D_K), _normal(30, D_V, seed=1))
    k, v = _normal(D_K, seed=6), _normal(D_V, seed=7)
    assert furthest(write(state, k, v, 0.0), state) == 0.0
    nothing = zeros((), D_K, D_V, dtype=torch.float64)
    kept = write(nothing, k, v, 0.0)
    assert kept.mass == kept.nu == 0.0
    assert all(bool(getattr(kept, name).isfinite().all()) for name in samples.FIELDS)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e3, 1e12])
def test_o6_gradients_are_finite_at_no_spread_and_at_any_scale(scale: float) -> None:
    u = (scale * _normal(D_K, seed=2)).float().requires_grad_()
    for keys in (_normal(20, D_K), torch.ones(20, D_K, dtype=torch.float64)):
        state = _state_of(keys, _normal(20, D_V, seed=1)).map(Tensor.float)
        for is_diagonal in (False, True):
            key_cov = state.key_cov.diagonal() if is_diagonal else state.key_cov
            variant = Moments(state.mass, state.nu, state.key_mean, state.value_mean, key_cov, state.cross_cov)
            output = read_affine(variant, u)
            (gradient,) = torch.autograd.grad(output.sum(), u)
            assert bool(output.isfinite().all())
            assert bool(gradient.isfinite().all())


def test_o6_gradients_reach_through_holes_and_an_empty_start() -> None:
    leaves = sample(20).to(torch.float32).with_gradients()
    for read in (samples.by_affine, samples.by_ridge):
        outputs, _ = walk(leaves.run(), leaves.u, samples.empty(dtype=torch.float32), read)
        for gradient in torch.autograd.grad(outputs.square().sum(), leaves.leaves):
            assert bool(gradient.isfinite().all())


# O7: derivatives


@pytest.mark.parametrize("name", ["affine", "diagonal", "ridge"])
def test_o7_gradcheck_over_two_chained_chunks_and_a_long_gap(name: str) -> None:
    d_k, d_v, time = 3, 2, 7
    start = zeros((), d_k, d_v, is_diagonal=name == "diagonal", dtype=torch.float64)
    elapsed = torch.tensor([0.0, 1.0, 1.0, 2.0, 60.0, 0.5, 1.0], dtype=torch.float64)

    def outputs(q: Tensor, k: Tensor, v: Tensor, log_tau: Tensor, rho2: Tensor) -> Tensor:
        run = make_run(k, v, log_decay(elapsed, log_tau))
        if name == "ridge":
            found, end = chunk.attend_ridge(q, run, start, chunk_size=4)
        else:
            found, end = chunk.attend_affine(q, run, start, rho2, chunk_size=4)
        return torch.cat([found.flatten(), end.mass[None], end.nu[None], end.cross_cov.flatten()])

    leaves = [_normal(time, size, seed=size + 9).requires_grad_() for size in (d_k, d_k, d_v)]
    log_tau = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    rho2 = torch.tensor(2.0, dtype=torch.float64, requires_grad=name != "ridge")
    # Differences of 1e-6 leave 1e-10 / 1e-6 = 1e-4 of relative error at worst in the numerical derivative.
    assert torch.autograd.gradcheck(outputs, (*leaves, log_tau, rho2), atol=1e-6, rtol=1e-4)


# O8: the ridge


def test_o8_without_a_ridge_it_is_least_squares_with_an_intercept() -> None:
    k, v, q = _normal(50, D_K), _normal(50, D_V, seed=1), _normal(D_K, seed=2)
    state = _state_of(k, v)
    design = torch.cat([torch.ones(50, 1, dtype=torch.float64), k], dim=-1)
    wanted = torch.cat([torch.ones(1, dtype=torch.float64), q]) @ torch.linalg.lstsq(design, v).solution
    assert largest(read_ridge(state, q, 1e-14), wanted) < 1e-11  # r itself, over the least eigenvalue, and rounding


def test_o8_weighted_least_squares_under_decay() -> None:
    k, v, q = _normal(50, D_K), _normal(50, D_V, seed=1), _normal(D_K, seed=2)
    run = make_run(k, v, torch.full((50,), -0.05, dtype=torch.float64))
    state = chunk.advance(run, zeros((), D_K, D_V, dtype=torch.float64))
    root = torch.exp(-0.05 * torch.arange(49, -1, -1, dtype=torch.float64)).sqrt().unsqueeze(-1)
    design = torch.cat([torch.ones(50, 1, dtype=torch.float64), k], dim=-1)
    solution = torch.linalg.lstsq(root * design, root * v).solution
    wanted = torch.cat([torch.ones(1, dtype=torch.float64), q]) @ solution
    assert largest(read_ridge(state, q, 1e-14), wanted) < 1e-11


def test_o8_under_a_huge_ridge_it_is_the_affine_shift() -> None:
    state = _state_of(_normal(50, D_K), _normal(50, D_V, seed=1))
    q, r = _normal(D_K, seed=2), 1e8
    wanted = (q - state.key_mean) @ state.cross_cov
    # r (o - vbar) differs by |C_kk| / r, and o - vbar of 1e-8 holds eight digits.
    assert largest(r * (read_ridge(state, q, r) - state.value_mean), wanted) < 1e-6
    as_it_is = r * (read_ridge(state, q, r, is_key_like=False) - state.value_mean)
    assert largest(as_it_is, q @ state.cross_cov) < 1e-6


@pytest.mark.parametrize("num_queries", [1, 3, 9])
def test_many_queries_are_read_as_one_by_one(num_queries: int) -> None:
    state = _state_of(_normal(50, D_K), _normal(50, D_V, seed=1)).map(lambda field: field.expand(2, *field.shape))
    queries = _normal(2, num_queries, D_K, seed=2)
    for read in (samples.by_affine, samples.by_ridge, samples.by_capped_ridge):
        single_reads = [read(state, queries[:, i]) for i in range(num_queries)]
        assert largest(read(state, queries), torch.stack(single_reads, dim=1)) < 170 * ROUNDING


def test_the_cap_bounds_the_ridge() -> None:
    k, v = _normal(50, D_K), _normal(50, D_V, seed=1)
    state = _state_of(k, v)
    far = read_ridge(state, 1e6 * _normal(20, D_K, seed=2), relative_ridge(state), rho2=8.0)
    assert bool(((far - state.value_mean).abs() <= math.sqrt(8.0) * v.std(0, correction=0) * (1 + 1e-9)).all())


def test_keys_and_queries_of_unit_length_have_weights_of_one_sign() -> None:
    k = torch.nn.functional.normalize(_normal(40, D_K), dim=-1)
    u = 0.9 * torch.nn.functional.normalize(_normal(20, D_K, seed=2), dim=-1)
    marks = torch.eye(40, dtype=torch.float64)  # each value marks its pair, so that the output is the weights
    weights = read_positive(_state_of(k, marks), u, 0.9)
    assert float(weights.min()) >= -1e-15
    assert largest(weights.sum(-1), torch.ones(20)) < ROUNDING
    assert largest(weights, torch.softmax(u @ k.mT, dim=-1)) < 0.03  # 1 / n = 0.025: close to softmax, as it is mild
