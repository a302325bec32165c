"""Oracle O9: after any number of exchanges the group's moments are the direct sums over its pairs."""

import math

import pytest
import torch
from torch import Tensor

from recurrent_core.ops.entropy_equality.moments import Moments, zeros
from recurrent_core.ops.entropy_equality.step import decay, read_affine, write
from recurrent_core.ops.group_moments.equal import EqualGroup, empty_group, exchange, join, replace
from recurrent_core.ops.group_moments.pairs import Pair, sum_pairs
from recurrent_core.ops.group_moments.removal import read_others, remove, replace_aged
from tests.parity.recurrent_core.ops.samples import furthest, largest

D_K, D_V = 4, 3


class Desk:
    """Groups of members with their stored pairs; exchanges a random member of each group at every event."""

    def __init__(self, groups: int, members: int, *, is_diagonal: bool = False, dtype: torch.dtype = torch.float64):
        self.generator = torch.Generator().manual_seed(0)
        self.dtype, self.rows, self.is_diagonal = dtype, torch.arange(groups), is_diagonal
        self.k, self.v = self.normal(groups, members, D_K), self.normal(groups, members, D_V)
        group = empty_group((groups,), D_K, D_V, is_diagonal=is_diagonal, dtype=dtype)
        for member in range(members):
            group = join(group, Pair(self.k[:, member], self.v[:, member]))
        self.group = group

    def normal(self, *shape: int) -> Tensor:
        """Gaussian numbers of the desk's dtype."""
        return torch.randn(*shape, generator=self.generator, dtype=self.dtype)

    def at(self, member: Tensor) -> Pair:
        """The pair each group's member has stored."""
        return Pair(self.k[self.rows, member], self.v[self.rows, member])

    def event(self, scale: float = 1.0) -> None:
        """A new pair for one member of every group."""
        member = torch.randint(self.k.shape[1], (len(self.rows),), generator=self.generator)
        old = self.at(member)
        new = Pair(scale * self.normal(len(self.rows), D_K), scale * self.normal(len(self.rows), D_V))
        self.k[self.rows, member], self.v[self.rows, member] = new.k, new.v
        self.group = replace(self.group, member, old, new, self.at(self.group.pointer))

    def error(self) -> float:
        """How far the live moments are from the direct sums in float64."""
        ones = torch.ones(self.k.shape[:2], dtype=torch.float64)
        wanted = sum_pairs(self.k.double(), self.v.double(), ones, is_diagonal=self.is_diagonal)
        return furthest(self.group.live, wanted)


@pytest.mark.parametrize(
    ("dtype", "is_diagonal", "tolerance"),
    # The note's O9. Rounding is never older than two rounds of the members: 1e-15 and 7e-7 seen.
    [(torch.float64, False, 1e-11), (torch.float64, True, 1e-11), (torch.float32, False, 1e-5)],
)
def test_o9_after_100_000_exchanges_the_moments_are_the_direct_sums(
    dtype: torch.dtype, is_diagonal: bool, tolerance: float
) -> None:
    desk = Desk(groups=50, members=9, is_diagonal=is_diagonal, dtype=dtype)
    for _ in range(2000):
        desk.event()
    assert desk.error() < tolerance


@pytest.mark.parametrize("members", [1, 2, 64])
def test_o9_groups_of_any_size(members: int) -> None:
    desk = Desk(groups=3, members=members)
    for _ in range(150):
        desk.event()
        assert desk.error() < 1e-11


def test_the_shadow_forgets_what_an_outlier_left_behind() -> None:
    desk = Desk(groups=20, members=8, dtype=torch.float32)
    desk.event(scale=1e4)
    for _ in range(200):  # the outlier is replaced, and then two rounds of the shadow pass
        desk.event()
    # Rounding of an outlier of 1e4 is 6e-8 * 1e8 / 8 = 0.7; of what came after it, 1e-6.
    assert desk.error() < 1e-5


def test_without_the_shadow_the_outlier_s_rounding_would_stay() -> None:
    desk = Desk(groups=20, members=8, dtype=torch.float32)
    outlier = Pair(1e4 * desk.normal(20, D_K), 1e4 * desk.normal(20, D_V))
    first = desk.at(torch.zeros(20, dtype=torch.int64))
    scarred = exchange(exchange(desk.group.live, first, outlier), outlier, first)
    assert furthest(scarred, desk.group.live) > 1e-2


def test_members_may_join_in_the_middle_of_a_round() -> None:
    desk = Desk(groups=4, members=6)
    for _ in range(3):
        desk.event()
    new = Pair(desk.normal(4, D_K), desk.normal(4, D_V))
    desk.k, desk.v = torch.cat([desk.k, new.k.unsqueeze(1)], dim=1), torch.cat([desk.v, new.v.unsqueeze(1)], dim=1)
    desk.group = join(desk.group, new)
    for _ in range(40):
        desk.event()
        assert desk.error() < 1e-12


def test_groups_of_a_batch_are_the_groups_one_by_one() -> None:
    desk = Desk(groups=5, members=7)
    before = desk.group
    member = torch.tensor([0, 3, 6, 2, 1])
    old, new = desk.at(member), Pair(desk.normal(5, D_K), desk.normal(5, D_V))
    due = Pair(
        torch.where((member == 0)[:, None], new.k, desk.k[:, 0]),
        torch.where((member == 0)[:, None], new.v, desk.v[:, 0]),
    )
    together = replace(before, member, old, new, due)
    for row in range(5):
        one = slice(row, row + 1)

        def cut(pair: Pair, at: slice = one) -> Pair:
            return Pair(pair.k[at], pair.v[at])

        state = EqualGroup(
            before.live.map(lambda x, at=one: x[at]), before.shadow.map(lambda x, at=one: x[at]), before.pointer[one]
        )
        alone = replace(state, member[one], cut(old), cut(new), cut(due))
        assert furthest(together.live.map(lambda x, at=one: x[at]), alone.live) == 0.0
        assert furthest(together.shadow.map(lambda x, at=one: x[at]), alone.shadow) == 0.0


@pytest.mark.parametrize("is_diagonal", [False, True])
def test_o9_all_others_but_one(is_diagonal: bool) -> None:
    desk = Desk(groups=3, members=6, is_diagonal=is_diagonal)
    for _ in range(50):
        desk.event()
    weight = torch.ones(3, 6, dtype=torch.float64)
    one, u = torch.ones(3, dtype=torch.float64), desk.normal(3, D_K)
    for member in range(6):
        own = desk.at(torch.full((3,), member))
        weight[:, member] = 0.0
        wanted = sum_pairs(desk.k, desk.v, weight, is_diagonal=is_diagonal)
        weight[:, member] = 1.0
        assert furthest(remove(desk.group.live, own, one), wanted) < 1e-12  # O9: leave-one-out
        # Read in float32: some roundings of 6e-8.
        assert largest(read_others(desk.group.live, own, one, u), read_affine(wanted, u)) < 1e-5


def test_a_member_alone_sees_nobody() -> None:
    desk = Desk(groups=2, members=1)
    own, one = desk.at(torch.zeros(2, dtype=torch.int64)), torch.ones(2, dtype=torch.float64)
    assert furthest(remove(desk.group.live, own, one), zeros((2,), D_K, D_V, dtype=torch.float64)) == 0.0
    assert torch.equal(read_others(desk.group.live, own, one, desk.normal(2, D_K)), torch.zeros(2, D_V))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # The note's section 8: removal amplifies rounding by 10 eps / (remaining fraction), at worst at the guard.
    [(torch.float64, 10 * 2.2e-16 / 1e-4), (torch.float32, 10 * 1.2e-7 / 1e-2)],
)
def test_o9_members_weighed_by_age(dtype: torch.dtype, tolerance: float) -> None:
    groups, members, generator = 20, 5, torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    k, v, rows = normal(groups, members, D_K), normal(groups, members, D_V), torch.arange(groups)
    weight = torch.ones(groups, members, dtype=dtype)
    moments = sum_pairs(k, v, weight)
    rebuilt = 0
    for event in range(400):
        gap = 30.0 if event % 50 == 49 else 0.3 * float(torch.rand((), generator=generator))
        moments, weight = decay(moments, torch.tensor(-gap, dtype=torch.float64)), weight * math.exp(-gap)
        member = torch.randint(members, (groups,), generator=generator)
        old, omega = Pair(k[rows, member], v[rows, member]), weight[rows, member]
        weight[rows, member] = 0.0
        others = (k.clone(), v.clone(), weight.clone())

        def rebuild(pairs: tuple[Tensor, Tensor, Tensor] = others) -> Moments:
            nonlocal rebuilt
            rebuilt += 1
            return sum_pairs(*pairs)

        left_out = remove(moments, old, omega, rebuild)
        assert furthest(left_out, sum_pairs(*others)) < tolerance
        new = Pair(normal(groups, D_K), normal(groups, D_V))
        moments = replace_aged(moments, old, new, omega, rebuild)
        k[rows, member], v[rows, member], weight[rows, member] = new.k, new.v, 1.0
        assert furthest(moments, sum_pairs(k, v, weight)) < tolerance
    assert 0 < rebuilt < 800  # the guard trips now and then, not always


def test_taking_out_a_pair_undoes_its_write() -> None:
    state = zeros((), D_K, D_V, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    k, v = (torch.randn(10, size, generator=generator, dtype=torch.float64) for size in (D_K, D_V))
    for i in range(9):
        state = write(state, k[i], v[i], 0.5 + i)
    omega = torch.tensor(0.7, dtype=torch.float64)
    undone = remove(write(state, k[9], v[9], omega), Pair(k[9], v[9]), omega)
    assert furthest(undone, state) < 1e-13  # some roundings of numbers of order 10
