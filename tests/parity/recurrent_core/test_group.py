"""Attention across a group: the incremental form against the form of training, and against the oracle of two passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from recurrent_core.models.elinformer.group_net import NUM_HEARD, RHO2, attend
from recurrent_core.models.elinformer.kernel.group import GROUP_FLOATS, NO_TICK, TICK_TURN, hear
from recurrent_core.models.elinformer.layout import GROUP_HEADS, GROUP_WIDTH, NUM_TOLD
from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.models.interface import Arrival, Groups, Outlook, Runs
from recurrent_core.ops.entropy_equality.step import read_affine
from recurrent_core.ops.group_moments.pairs import sum_pairs
from tests.support.models import with_series_nets

NUM_SERIES, NUM_TICKS = 7, 12
NAMES = tuple(f"s-{number}" for number in range(NUM_SERIES))
Float64s = NDArray[np.float64]


def said_by(num: int, seed: int) -> NDArray[np.float32]:
    """What readings say."""
    draw = np.random.default_rng(seed)
    said = draw.normal(size=(num, 3, GROUP_HEADS, GROUP_WIDTH))
    said[:, 1:] = np.tanh(said[:, 1:])
    return np.asarray(said, np.float32)


def heard_by(
    said: NDArray[np.float32],
    series: NDArray[np.int64],
    tick: Float64s,
    rank: NDArray[np.int64],
    may: NDArray[np.bool_],
    cuts: tuple[int, ...] = (),
) -> NDArray[np.float32]:
    """What readings hear in the incremental form, handed over in pieces."""
    table, group = np.zeros((NUM_SERIES, NUM_TOLD + 1), np.float32), np.zeros((1, GROUP_FLOATS))
    group[:, 0] = NO_TICK
    heard = np.empty((len(said), NUM_HEARD), np.float32)
    for piece in np.split(np.argsort(rank, kind="stable"), cuts):
        mine, order, of = np.empty((len(piece), NUM_HEARD), np.float32), np.arange(len(piece)), np.zeros_like(piece)
        hear(table, series[piece], said[piece], may[piece], order, rank[piece], tick[piece], of, group, mine)
        heard[piece] = mine
    return heard


def test_rows_of_a_grid_hear_what_training_and_the_oracle_say() -> None:
    draw = np.random.default_rng(1)
    tick = np.repeat(np.arange(NUM_TICKS), NUM_SERIES)
    series = np.tile(np.arange(NUM_SERIES), NUM_TICKS)
    said = said_by(len(tick), 2)
    is_there = draw.random(len(tick)) < 0.7
    heard = heard_by(said, series, tick.astype(float) + 5e6, tick, is_there)
    for now in range(1, NUM_TICKS):
        mine, before = (tick == now), (tick == now - 1)
        # a member is who is there, or was a tick ago and is not there now
        absent = mine & ~is_there
        lasting = before & is_there & np.isin(series, series[absent])
        members = (mine & is_there) | lasting
        everyone = torch.from_numpy(np.concatenate([said[mine], said[lasting]]))
        who = torch.from_numpy(np.concatenate([is_there[mine], np.ones(lasting.sum(), bool)]))
        trained = attend(everyone, torch.zeros(len(everyone), dtype=torch.int64), who)[: mine.sum()]
        np.testing.assert_allclose(heard[mine], trained, atol=2e-6)
        if members.any():
            query, key, value = torch.from_numpy(said).double().unbind(dim=1)
            pairs = (side[members].transpose(0, 1) for side in (key, value))
            moments = sum_pairs(*pairs, torch.ones(GROUP_HEADS, int(members.sum())).double(), is_diagonal=True)
            for place in np.flatnonzero(mine):
                oracle = read_affine(moments, query[place], RHO2).flatten()
                np.testing.assert_allclose(heard[place], oracle, atol=2e-6)


def test_one_by_one_a_reading_hears_the_latest_of_the_others_however_the_log_is_cut() -> None:
    draw = np.random.default_rng(3)
    num = 400
    series, tick = draw.integers(0, NUM_SERIES, num), np.sort(draw.integers(0, 80, num)).astype(float)
    tick -= draw.integers(0, 2, num)  # some a tick behind
    said, may, rank = said_by(num, 4), draw.random(num) < 0.8, np.arange(num)
    heard = heard_by(said, series, tick, rank, may)
    latest: dict[int, int] = {}
    newest = NO_TICK
    for place in range(num):
        if may[place] and tick[place] >= newest - 1:
            newest = max(newest, tick[place])
            latest[series[place]] = place
        members = [one for one in latest.values() if newest - 1 <= tick[one] and tick[place] - 1 <= newest]
        members = [one for one in members if tick[place] <= newest or tick[one] == newest]
        everyone = torch.from_numpy(said[[place, *members]])
        who = torch.tensor([False, *(True for _ in members)])
        wanted = attend(everyone, torch.zeros(len(everyone), dtype=torch.int64), who)[0]
        np.testing.assert_allclose(heard[place], wanted, atol=2e-6)
    cut = heard_by(said, series, tick, rank, may, tuple(range(1, num, 7)))
    np.testing.assert_array_equal(heard, cut)


def test_a_group_without_members_is_silent_and_old_words_are_gone() -> None:
    said = said_by(4, 5)
    series, rank, may = np.array([0, 1, 0, 1]), np.arange(4), np.array([True, False, False, False])
    heard = heard_by(said, series, np.array([10.0, 10.0, 11.0, 13.0]), rank, may)
    assert heard[:3].any(axis=1).all()
    assert not heard[3].any()
    nobody = heard_by(said, series, np.arange(4.0), rank, np.zeros(4, bool))
    assert not nobody.any()


def test_a_word_of_the_turn_before_is_not_taken_out_twice() -> None:
    """Ticks are kept modulo TICK_TURN: a slot that never spoke is not one that spoke at tick 0."""
    said = said_by(3, 6)
    tick = np.array([0.0, 0.0, 1.0]) + 4 * TICK_TURN
    heard = heard_by(said, np.array([0, 1, 2]), tick, np.arange(3), np.ones(3, bool))
    wanted = attend(torch.from_numpy(said), torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.bool))
    np.testing.assert_allclose(heard[2], wanted[2], atol=2e-6)


def readings(num_ticks: int, seed: int) -> tuple[Arrival, Runs, Groups]:
    """Rows of all series with gaps, wave by wave, in the order of their ranks."""
    draw = np.random.default_rng(seed)
    tick, series = np.divmod(np.arange(num_ticks * NUM_SERIES), NUM_SERIES)
    value = 50.0 + 10.0 * np.sin(tick / 9.0) + draw.normal(size=len(tick)) + 3.0 * series
    value[(draw.random(len(tick)) < 0.15) & (tick > 0)] = np.nan
    last = np.zeros(NUM_SERIES)
    elapsed = np.zeros(len(tick))
    for place, (now, one) in enumerate(zip(tick, series, strict=True)):
        elapsed[place] = 300.0 * (now - last[one])
        if np.isfinite(value[place]):
            last[one] = now
    columns = (value, elapsed, np.full(len(tick), 300.0), (tick * 300.0) % 604800.0)
    group = Elinformer.init_group(MODEL)[None].repeat(2, axis=0)
    groups = Groups(group, series % 2, tick, tick * 300.0 + 1e9)
    return Arrival(*map(torch.from_numpy, columns)), Runs(series, (np.arange(num_ticks) + 1) * NUM_SERIES), groups


MODEL = with_series_nets(3, Known(NAMES))


def fresh() -> torch.Tensor:
    """Rows of the series, which know their numbers."""
    slab = MODEL.init_state(NUM_SERIES)
    MODEL.inscribe(slab, np.arange(1, NUM_SERIES + 1))
    return slab


def same(one: Outlook, other: Outlook) -> bool:
    """Whether forecasts are equal but for rounding."""
    apart = (one.quantiles - other.quantiles).abs().amax(dim=(1, 2)) / one.scale
    return bool((apart < 1e-4).float().mean() > 0.999)


@pytest.mark.parametrize("threads", [1, 2])
def test_forecasts_depend_on_the_group_and_not_on_the_cut_or_the_threads(threads: int) -> None:
    MODEL.prepare(torch.device("cpu"), threads)
    arrival, runs, groups = readings(400, 7)
    whole = MODEL.sequence(arrival, runs, fresh(), 12, groups)
    _, _, again = readings(400, 7)
    slab, parts = fresh(), []
    for start in range(0, len(runs.slots), 5 * NUM_SERIES):
        cut = slice(start, start + 5 * NUM_SERIES)
        columns = (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
        mine = Groups(again.state, again.of[cut], again.rank[cut], again.time_s[cut])
        piece = Runs(runs.slots[cut], np.arange(NUM_SERIES, 6 * NUM_SERIES, NUM_SERIES))
        parts.append(MODEL.sequence(Arrival(*(column[cut] for column in columns)), piece, slab, 12, mine))
    names = ("mean", "quantiles", "scale", "is_warming_up", "is_drifting")
    assert same(whole, Outlook(*(torch.cat([getattr(part, name) for part in parts]) for name in names)))
    np.testing.assert_allclose(again.state, groups.state, rtol=1e-3, atol=1e-3)
    alone = MODEL.sequence(arrival, runs, fresh(), 12)
    assert not same(whole, alone)
    MODEL.prepare(torch.device("cpu"), 1)


def test_torchs_form_hears_what_the_loops_hear() -> None:
    for kind, seed in (("rows of a grid", 11), ("one by one", 12)):
        arrival, runs, groups = readings(60, seed)
        _, _, again = readings(60, seed)
        if kind == "one by one":
            kept = ~arrival.value.isnan().numpy()
            columns = (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
            arrival, rank = Arrival(*(column[kept] for column in columns)), np.arange(kept.sum())
            runs = Runs(runs.slots[kept], rank + 1)
            groups, again = (
                replace(each, of=each.of[kept], rank=rank, time_s=each.time_s[kept]) for each in (groups, again)
            )
        slab, plain = fresh(), fresh()
        loops = MODEL.sequence(arrival, runs, slab, 12, groups)
        hearing = MODEL._hearing(again)
        assert hearing is not None
        torchs = MODEL._by_waves(arrival, runs, plain, 12, hearing)
        assert same(loops, torchs), kind
        np.testing.assert_allclose(again.state, groups.state, rtol=1e-3, atol=1e-3)
        told = [MODEL.layout.view(each, "told") for each in (slab, plain)]
        assert (told[0] - told[1]).abs().max() < 1e-2


def test_series_of_another_group_are_not_heard() -> None:
    arrival, runs, groups = readings(60, 8)
    one = MODEL.sequence(arrival, runs, fresh(), 12, groups)
    moved = arrival.value.clone()
    moved[groups.of == 1] += 25.0
    _, _, again = readings(60, 8)
    other = Arrival(moved, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
    two = MODEL.sequence(other, runs, fresh(), 12, again)
    mine = groups.of == 0
    assert torch.equal(one.mean[mine], two.mean[mine])
    assert not torch.equal(one.mean[~mine], two.mean[~mine])
