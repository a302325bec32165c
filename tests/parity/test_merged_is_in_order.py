"""Late readings that are merged leave the state that they would have left in order; on generated and on real data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from connectors.file.read import read_table
from recurrent_core.models.elinformer.model import Known
from recurrent_core.models.interface import Arrival, Groups, Runs, StreamingModel
from recurrent_core.models.refolding import RefoldingModel
from recurrent_core.weights import load_model
from stream_engine.backtest.engine import ReplayEngine
from stream_engine.backtest.history import ArrivalHistory, Choice, arrival_history
from stream_engine.router import RouterPolicy
from stream_engine.slots import NUM_RECENT
from tests.support.models import with_series_nets

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HORIZON, NUM_SENSORS = 12, 8
STEP_NS = 300_000_000_000
Int64s = NDArray[np.int64]
Float64s = NDArray[np.float64]
Readings = tuple[Int64s, Int64s, Float64s]


def generated() -> Readings:
    """Series, times and values: random walks at five minutes, with gaps."""
    draw = np.random.default_rng(5)
    series, times_ns = (array.ravel() for array in np.meshgrid(np.arange(NUM_SENSORS), np.arange(400) * STEP_NS))
    values = 50 + 10 * np.sin(times_ns / 1.4e13) + draw.normal(size=len(series))
    is_there = draw.random(len(series)) < 0.9
    return series[is_there], times_ns[is_there], values[is_there]


def real(file: str, choice: Choice) -> Readings:
    """The same of some sensors of a table, in order of time, none double."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    history: ArrivalHistory = arrival_history(read_table(DATA / file), choice)
    mine = (history.series < NUM_SENSORS) & ~np.isnan(history.values)
    columns = [column[mine] for column in (history.series, history.times_ns, history.values)]
    _, first = np.unique(np.stack(columns[:2]), axis=1, return_index=True)
    order = first[np.argsort(columns[1][first], kind="stable")][:4000]
    return columns[0][order], columns[1][order], columns[2][order]


SOURCES = {
    "generated": generated,
    "grid with gaps": lambda: real("metr_la_tail65.npz", Choice(mask_zeros=True)),
    "events": lambda: real("aarhus_traffic.npz", Choice("speed", mask_zeros=True)),
}


def shuffled(readings: Readings, seed: int = 1) -> Readings:
    """A fifth of the readings come after up to NUM_RECENT - 1 newer ones of their sensor."""
    draw = np.random.default_rng(seed)
    series, num = readings[0], len(readings[0])
    place = np.empty(num)
    for one in np.unique(series):
        mine = np.flatnonzero(series == one)
        delay = (draw.random(len(mine)) < 0.2) * draw.integers(1, NUM_RECENT, len(mine))
        behind = np.minimum(np.arange(len(mine)) + delay, len(mine) - 1)
        place[mine] = mine[behind] + 0.5 * (delay > 0)
    order = np.argsort(place, kind="stable")
    return readings[0][order], readings[1][order], readings[2][order]


def replayed(model: StreamingModel, readings: Readings, late: str, size: int) -> tuple[torch.Tensor, int]:
    """The model's rows after the readings, handed over so many at a time, and how many forecasts were made."""
    policy = RouterPolicy(cadence_ns=STEP_NS, late=late)
    engine = ReplayEngine(model, [str(name) for name in range(NUM_SENSORS)], HORIZON, policy, torch.device("cpu"))
    num_answers = 0
    for start in range(0, len(readings[0]), size):
        answers = engine.step(*(column[start : start + size] for column in readings))
        num_answers += sum(len(one.entries) for one in answers)
    assert engine.num_readings == len(readings[0]), "all were folded"
    slots = engine._ledger.slot[engine._handles]
    return torch.from_numpy(engine._stepper.rows(slots[slots >= 0]))[:, : model.state_floats], num_answers


@pytest.mark.parametrize("size", [50, 4096])
@pytest.mark.parametrize("source", SOURCES)
def test_whole_rows_are_those_of_readings_in_order(source: str, size: int) -> None:
    model, readings = load_model("default"), SOURCES[source]()
    wanted, _ = replayed(model, readings, "drop", 4096)
    late = shuffled(readings)
    found, num_answers = replayed(model, late, "merge", size)
    newest = {one: np.maximum.accumulate(late[1][late[0] == one]) for one in np.unique(late[0])}
    num_late = sum(int((late[1][late[0] == one][1:] < most[:-1]).sum()) for one, most in newest.items())
    assert num_late > 0.1 * len(late[0])
    assert num_answers == len(late[0]) - num_late, "a merged reading emits nothing"
    parts = model.layout.views(wanted)
    moments, unit = model.layout.view(found, "moments"), parts["moments"].abs().amax(dim=1, keepdim=True)
    assert ((moments - parts["moments"]).abs() <= 1e-4 * unit).all()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def told(num: int, seed: int) -> tuple[Arrival, Int64s, Groups]:
    """Readings of three series in order of arrival, some of them late."""
    draw = np.random.default_rng(seed)
    series = draw.integers(0, 3, num)
    elapsed_s, now_s, last_s = np.zeros(num), np.zeros(3), np.full(3, np.nan)
    times_s = np.zeros(num)
    for place, one in enumerate(series):
        is_late = draw.random() < 0.15 and now_s[one] > 3000
        times_s[place] = last_s[one] - 100.0 - 300.0 * draw.integers(0, 5) if is_late else last_s[one] + 300.0
        times_s[place] = 300.0 if np.isnan(last_s[one]) else times_s[place] + 0.001 * place
        elapsed_s[place] = 0.0 if np.isnan(last_s[one]) else times_s[place] - last_s[one]
        now_s[one] = last_s[one] = np.fmax(last_s[one], times_s[place])
    values = 50 + draw.normal(size=num)
    columns = (values, elapsed_s, np.full(num, 300.0), times_s % 604800)
    arrival = Arrival(*(torch.from_numpy(column) for column in columns))
    return arrival, series, Groups(np.empty(0), np.zeros(num, np.int64), np.arange(num), times_s)


def folded(
    model: StreamingModel, readings: tuple[Arrival, Int64s, Groups], size: int
) -> tuple[torch.Tensor, torch.Tensor, NDArray[np.float64]]:
    """Rows, last means and group after readings handed over so many at a time."""
    arrival, series, groups = readings
    slab, state = model.init_state(3), model.init_group()[None].copy()
    model.inscribe(slab, np.array([1, 2, 0]))
    means = []
    for start in range(0, len(series), size):
        mine, runs = Runs.of(series[start : start + size])
        which = start + mine
        columns = (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
        heard = Groups(state, groups.of[which], groups.rank[which], groups.time_s[which])
        outlook = model.sequence(Arrival(*(column[which] for column in columns)), runs, slab, HORIZON, heard)
        means.append(outlook.mean[np.argsort(mine)])
    return slab, torch.cat(means), state


@pytest.mark.parametrize("size", [1, 7, 90])
def test_a_group_and_its_series_do_not_depend_on_how_late_readings_were_cut(size: int) -> None:
    model = RefoldingModel(with_series_nets(3, Known(("s-1", "s-2")), 0.1), 12)
    readings = told(300, 2)
    assert (readings[0].elapsed_s < 0).sum() > 20
    rows, means, group = folded(model, readings, 300)
    rows_cut, means_cut, group_cut = folded(model, readings, size)
    assert np.abs(group).max() > 1.0, "somebody spoke"
    np.testing.assert_allclose(group_cut, group, rtol=1e-4, atol=1e-4)
    in_order = readings[0].elapsed_s >= 0  # a merged one says how the forecast is after all that were merged with it
    torch.testing.assert_close(means_cut[in_order], means[in_order], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(rows_cut, rows, rtol=1e-3, atol=1e-3)
