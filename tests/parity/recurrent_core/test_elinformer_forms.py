"""The elinformer's compiled loops give what its equations in torch give."""

import numpy as np
import pytest
import torch
from torch import Tensor

from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.models.interface import Arrival, Outlook, Question, Runs
from tests.support.models import with_random_network, with_series_nets

CADENCES_S = (300.0, 300.0, 60.0, 3600.0, 86400.0, 900.0, 10.0, 700.0, 7200.0, 1800.0)
NUM_ROWS = 500
WEEK_S = 604800.0
MODEL = Elinformer.untrained()
KNOWN = Known(("s-1", "s-2", "s-3"))
MODELS = {"mix": MODEL, "network": with_random_network(1), "series": with_series_nets(1, KNOWN)}


def make_rows(seed: int) -> tuple[list[Arrival], Tensor]:
    """Readings of twenty slots, one of each at a row; the latter ten have gaps, jitter, shifts and outliers."""
    draw = np.random.default_rng(seed)
    cadence = np.tile(CADENCES_S, 2)
    num = len(cadence)
    ticks = np.ones((NUM_ROWS, num))
    is_wild = np.arange(num) >= num // 2
    ticks += is_wild * (draw.random((NUM_ROWS, num)) < 0.1) * draw.integers(0, 40, (NUM_ROWS, num))
    elapsed = (ticks + is_wild * draw.uniform(-0.3, 0.3, (NUM_ROWS, num))) * cadence
    elapsed[0] = 0.0
    seconds = elapsed.cumsum(axis=0)
    values = 50.0 + 20.0 * np.sin(seconds * (2 * np.pi / 86400.0)) + 3.0 * draw.normal(size=(NUM_ROWS, num))
    values += is_wild * (draw.random((NUM_ROWS, num)) < 0.01) * 500.0
    values[NUM_ROWS // 2 :] += is_wild * 40.0
    columns = [torch.from_numpy(column) for column in (values, elapsed, seconds % WEEK_S)]
    each = torch.from_numpy(cadence)
    return [Arrival(columns[0][i], columns[1][i], each, columns[2][i]) for i in range(NUM_ROWS)], each


def numbered_rows(model: Elinformer, num: int) -> Tensor:
    """Fresh rows, of the known series in turn and of one unheard of."""
    state = model.init_state(num)
    model.inscribe(state, np.arange(num) % (len(model.known.names) + 1))
    return state


def by_torch(model: Elinformer, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
    with torch.inference_mode():
        parts = model.layout.views(state)
        return model._on_torch.advance(arrival, parts, horizon, model._prior(state), model._finisher(state))


def worst(left: Outlook, right: Outlook) -> Tensor:
    """The largest difference of each forecast, in scales, [batch]."""
    means = (left.mean - right.mean).abs().amax(dim=1)
    quantiles = (left.quantiles - right.quantiles).abs().amax(dim=(1, 2))
    return torch.maximum(means, quantiles) / right.scale


@pytest.mark.parametrize(
    ("kind", "horizon", "seed"), [("mix", 12, 1), ("mix", 3, 2), ("network", 40, 3), ("network", 12, 7)]
)
def test_the_compiled_loops_equal_the_equations(kind: str, horizon: int, seed: int) -> None:
    model = MODELS[kind]
    rows, cadence = make_rows(seed)
    compiled, plain = (numbered_rows(model, len(cadence)) for _ in range(2))
    differences = []
    for arrival in rows:
        left, right = model.advance(arrival, compiled, horizon), by_torch(model, arrival, plain, horizon)
        differences.append(worst(left, right))
        assert torch.equal(left.is_warming_up, right.is_warming_up)
    apart = torch.stack(differences)
    assert (apart > 1e-4).double().mean() < 1e-3, "a share below 1e-3 may differ by a flipped threshold"
    last = rows[-1].second_of_week
    for ticks in (0.6, 1.0, 7.5, 400.0):
        question = Question(cadence * ticks, cadence, (last + cadence * ticks) % WEEK_S)
        asked = model.ask(question, compiled, horizon)
        with torch.inference_mode():
            parts = model.layout.views(plain)
            answer = model._on_torch.ask(question, parts, horizon, model._prior(plain), model._finisher(plain))
        assert (worst(asked, answer) < 1e-3).all()


def test_runs_equal_waves_bit_for_bit() -> None:
    rows, cadence = make_rows(4)
    num = len(cadence)
    waves = MODEL.init_state(num)
    expected = [MODEL.advance(arrival, waves, 12) for arrival in rows]
    runs = MODEL.init_state(num)
    draw = np.random.default_rng(5)
    start, got = 0, []
    while start < NUM_ROWS:
        end = min(start + int(draw.integers(1, 60)), NUM_ROWS)
        cut = rows[start:end]
        columns = [
            torch.cat([getattr(row, name) for row in cut])
            for name in ("value", "elapsed_s", "cadence_s", "second_of_week")
        ]
        slots = np.tile(np.arange(num), end - start)
        got.append(MODEL.sequence(Arrival(*columns), Runs(slots, np.arange(1, end - start + 1) * num), runs, 12))
        start = end
    assert torch.equal(runs, waves)
    assert torch.equal(torch.cat([each.mean for each in got]), torch.cat([each.mean for each in expected]))
    assert torch.equal(torch.cat([each.quantiles for each in got]), torch.cat([each.quantiles for each in expected]))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("kind", "apart"), [("mix", 0.0), ("network", 1e-4), ("series", 1e-4)])
def test_threads_share_slots_and_change_nothing(kind: str, apart: float, threads: int) -> None:
    rows, cadence = make_rows(9)
    num, alone = len(cadence), MODELS[kind]
    shared = Elinformer(alone.config, alone.tensors, "shared", "1", alone.known)
    shared.prepare(torch.device("cpu"), threads)
    left, right = (numbered_rows(model, num) for model in (alone, shared))
    draw = np.random.default_rng(9)
    start = 0
    while start < NUM_ROWS:
        end = min(start + int(draw.integers(1, 200)), NUM_ROWS)
        slots = np.tile(np.arange(num), end - start)
        uneven = draw.random(len(slots)) < (slots + 1.0) / num
        columns = [
            torch.cat([getattr(row, name) for row in rows[start:end]])[uneven]
            for name in ("value", "elapsed_s", "cadence_s", "second_of_week")
        ]
        runs = Runs(slots[uneven], np.arange(1, end - start + 1) * num)
        one = alone.sequence(Arrival(*columns), runs, left, 12)
        assert (worst(shared.sequence(Arrival(*columns), runs, right, 12), one) <= apart).all()
        start = end
    assert kind != "mix" or torch.equal(left, right)


def test_the_way_without_loops_cuts_runs_into_waves() -> None:
    rows, cadence = make_rows(6)
    num = len(cadence)
    left, right = MODEL.init_state(num + 3), MODEL.init_state(num + 3)
    slots = np.concatenate([np.arange(num) + 3, np.arange(0, num, 2) + 3])
    pair = [
        rows[0],
        Arrival(*(column[::2] for column in (rows[1].value, rows[1].elapsed_s, cadence, rows[1].second_of_week))),
    ]
    columns = [
        torch.cat([getattr(row, name) for row in pair])
        for name in ("value", "elapsed_s", "cadence_s", "second_of_week")
    ]
    runs = Runs(slots, np.array([num, num + num // 2]))
    compiled = MODEL.sequence(Arrival(*columns), runs, left, 12)
    cut = super(Elinformer, MODEL).sequence(Arrival(*columns), runs, right, 12)
    assert torch.equal(compiled.mean, cut.mean)
    assert torch.equal(left, right)


def test_a_question_among_the_readings_is_an_ask() -> None:
    rows, cadence = make_rows(8)
    num, model = len(cadence), MODELS["network"]
    slab = model.init_state(num)
    for arrival in rows[:40]:
        model.advance(arrival, slab, 12)
    alone, ahead = slab.clone(), cadence * 3.0
    asked = model.ask(Question(ahead, cadence, (rows[39].second_of_week + ahead) % WEEK_S), alone, 12)
    after = model.advance(rows[40], alone, 12)
    nothing = torch.full_like(cadence, torch.nan)
    columns = [
        torch.cat([nothing, rows[40].value]),
        torch.cat([ahead, rows[40].elapsed_s]),
        torch.cat([cadence, cadence]),
        torch.cat([(rows[39].second_of_week + ahead) % WEEK_S, rows[40].second_of_week]),
    ]
    runs = Runs(np.tile(np.arange(num), 2), np.array([num, 2 * num]))
    for way in (model.sequence, super(Elinformer, model).sequence):
        state = slab.clone()
        both = way(Arrival(*columns), runs, state, 12)
        assert torch.equal(both.mean, torch.cat([asked.mean, after.mean]))
        assert torch.equal(both.quantiles, torch.cat([asked.quantiles, after.quantiles]))
        assert torch.equal(state, alone)


def test_rows_of_rubbish_end_no_process_and_touch_no_row_beside_them() -> None:
    rows, cadence = make_rows(9)
    num, model = len(cadence), MODELS["network"]
    draw = torch.Generator().manual_seed(9)
    sound = torch.arange(num) % 2 == 0
    alone = model.init_state(num)
    for arrival in rows[:20]:
        model.advance(arrival, alone, 12)
    for rubbish in (torch.nan, torch.inf, -1e30, 1e30):
        broken = torch.full((num, model.state_floats), rubbish)
        broken[:, ::3] = torch.randn(num, len(range(0, model.state_floats, 3)), generator=draw) * 1e4
        state = torch.where(sound[:, None], model.init_state(num), broken)
        for arrival in rows[:20]:
            model.advance(arrival, state, 12)
        model.ask(Question(cadence, cadence, rows[20].second_of_week), state, 12)
        assert torch.equal(state[sound], alone[sound])
