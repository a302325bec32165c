"""The packed rows of the moments, and the errors a wrong shape meets."""

import pytest
import torch
from torch import Tensor

from recurrent_core.errors import ShapeError
from recurrent_core.ops.entropy_equality import chunk
from recurrent_core.ops.entropy_equality.merge import merge
from recurrent_core.ops.entropy_equality.moments import Moments, num_floats, pack, select, unpack, zeros
from recurrent_core.ops.entropy_equality.step import decay, read_affine, read_ridge, write
from recurrent_core.ops.run import make_run

FIELDS = ("mass", "nu", "key_mean", "value_mean", "key_cov", "cross_cov")


def _written(*batch: int, is_diagonal: bool = False) -> Moments:
    generator = torch.Generator().manual_seed(0)
    state = zeros(batch, 3, 2, is_diagonal=is_diagonal)
    for _ in range(4):
        k, v = torch.randn(*batch, 3, generator=generator), torch.randn(*batch, 2, generator=generator)
        state = write(state, k, v, 0.5)
    return state


@pytest.mark.parametrize(("d_k", "d_v", "full", "diagonal"), [(16, 16, 426, 306), (32, 32, 1618, 1122), (3, 2, 19, 16)])
def test_a_row_has_the_floats_of_the_note(d_k: int, d_v: int, full: int, diagonal: int) -> None:
    assert num_floats(d_k, d_v) == full
    assert num_floats(d_k, d_v, is_diagonal=True) == diagonal


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
@pytest.mark.parametrize("is_diagonal", [False, True])
def test_unpacking_gives_back_every_bit(batch: tuple[int, ...], is_diagonal: bool) -> None:
    state = _written(*batch, is_diagonal=is_diagonal)
    rows = pack(state)
    assert rows.dtype == torch.float32
    assert rows.shape == (*batch, num_floats(3, 2, is_diagonal=is_diagonal))
    back = unpack(rows, 3, 2, is_diagonal=is_diagonal)
    assert back.is_diagonal == is_diagonal
    assert all(torch.equal(getattr(back, name), getattr(state, name)) for name in FIELDS)
    assert torch.equal(pack(back), rows)


def test_the_layout_of_a_row_is_fixed() -> None:
    cov = torch.tensor([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]])
    state = Moments(
        mass=torch.tensor(10.0),
        nu=torch.tensor(0.5),
        key_mean=torch.tensor([11.0, 12.0, 13.0]),
        value_mean=torch.tensor([14.0, 15.0]),
        key_cov=cov,
        cross_cov=torch.arange(20.0, 26.0).reshape(3, 2),
    )
    wanted = [10.0, 0.5, 11, 12, 13, 14, 15, 1, 2, 3, 4, 5, 6, 20, 21, 22, 23, 24, 25]
    assert pack(state).tolist() == wanted


def test_select_takes_whole_states() -> None:
    left, right = _written(3), zeros((3,), 3, 2)
    mixed = select(torch.tensor([True, False, True]), left, right)
    rows, wanted = pack(mixed), pack(left)
    assert torch.equal(rows[[0, 2]], wanted[[0, 2]])
    assert torch.equal(rows[1], torch.zeros_like(rows[1]))


def test_steps_leave_their_arguments_unchanged() -> None:
    state = _written(2)
    before = pack(state)
    k, v, omega = torch.randn(2, 3), torch.randn(2, 2), torch.ones(2)
    copies = [x.clone() for x in (k, v, omega)]
    write(decay(state, torch.tensor(-1.0)), k, v, omega, torch.tensor([True, False]))
    read_affine(state, k)
    read_ridge(state, k, 0.1, rho2=6.0)
    assert torch.equal(pack(state), before)
    assert all(torch.equal(x, copy) for x, copy in zip((k, v, omega), copies, strict=True))


def test_inputs_in_half_precision_are_computed_in_the_state_s() -> None:
    state = _written(2)
    k, v = torch.randn(2, 3).bfloat16(), torch.randn(2, 2).bfloat16()
    assert torch.equal(pack(write(state, k, v)), pack(write(state, k.float(), v.float())))
    assert read_affine(state, k).dtype == torch.float32


STATE = zeros((2,), 3, 2)
K, V = torch.zeros(2, 3), torch.zeros(2, 2)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: zeros((2,), 3, 2, dtype=torch.bfloat16), "the state is torch.bfloat16"),
        (lambda: unpack(torch.zeros(4, 18), 3, 2), r"rows has shape \[4, 18\], wanted \[4, 19\]"),
        (lambda: write(STATE, torch.zeros(2, 4), V), r"k has shape \[2, 4\], wanted \[2, 3\]"),
        (lambda: write(STATE, K, torch.zeros(3, 2)), r"v has shape \[3, 2\], wanted \[2, 2\]"),
        (lambda: write(STATE, K, V, torch.ones(3)), "omega has shape"),
        (lambda: write(STATE, K, V, 1.0, torch.ones(2)), "is_written is torch.float32, wanted torch.bool"),
        (lambda: write(STATE, K.to("meta"), V), "k lives on meta, wanted cpu"),
        (lambda: decay(STATE, torch.zeros(2, 1)), "log_decay has shape"),
        (lambda: read_affine(STATE, torch.zeros(2, 5)), "queries has shape"),
        (lambda: read_ridge(zeros((2,), 3, 2, is_diagonal=True), K, 0.1), "key_cov has shape"),
        (lambda: merge(STATE, zeros((2,), 3, 4), torch.zeros(2)), "later.value_mean has shape"),
        (lambda: make_run(torch.zeros(2, 5, 3), torch.zeros(2, 6, 2), torch.zeros(2, 5)), "v has shape"),
        (
            lambda: chunk.attend_affine(torch.zeros(3, 5, 3), _run(3), STATE),
            r"queries has shape \[3, 5, 3\], wanted \[2, 5, 3\]",
        ),
        (lambda: chunk.advance(_run(3), STATE), r"k has shape \[3, 5, 3\], wanted \[2, 5, 3\]"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(call: object, sentence: str) -> None:
    assert callable(call)
    with pytest.raises(ShapeError, match=sentence):
        call()


def _run(slots: int) -> chunk.Run:
    def field(*shape: int) -> Tensor:
        return torch.zeros(slots, 5, *shape)

    return make_run(field(3), field(2), field())
