"""A replay by long runs gives what one reading at a time gives, on real data with gaps, late and double readings."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from connectors.file.read import read_table
from recurrent_core.models.elinformer.model import Known
from recurrent_core.models.interface import Arrival, Question, StreamingModel
from recurrent_core.weights import load_model
from stream_engine.backtest.engine import Answers, ReplayEngine
from stream_engine.backtest.history import ArrivalHistory, Choice, GridHistory, arrival_history, grid_history
from stream_engine.backtest.replay import READINGS_PER_BATCH
from stream_engine.router import RouterPolicy
from tests.support.models import with_history

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HORIZON = 12
WEEK_S, MONDAY_S = 604_800, 3 * 86_400
TOLERANCE, MOST_OFF = 1e-4, 1e-3
"""Of the sensor's scale; share of the forecasts that may be off by more, where a threshold has flipped."""

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here"),
]

Forecasts = dict[int, NDArray[np.float64]]
"""Number of the reading or cell -> [4, horizon], mean and quantiles."""


DEFAULT = load_model("default")


def engine(sensors: tuple[str, ...], cadence_ns: int | None, model: StreamingModel = DEFAULT) -> ReplayEngine:
    return ReplayEngine(model, sensors, HORIZON, RouterPolicy(cadence_ns=cadence_ns), torch.device("cpu"))


def forecasts(answers: list[Answers], start: int = 0) -> Forecasts:
    """By number, counted from start."""
    return {
        start + entry: np.vstack([one.mean[n], one.quantiles[n]])
        for one in answers
        for n, entry in enumerate(one.entries.tolist())
    }


def assert_same(found: Forecasts, wanted: Forecasts, scales: dict[int, float]) -> None:
    assert list(found) == sorted(wanted)
    off = np.array([np.abs(found[key] - wanted[key]).max() / scales[key] for key in found])
    share = float((off > TOLERANCE).mean())
    print(f"{len(off)} forecasts, {share:.5f} off by more than {TOLERANCE} of the scale, at most {off.max():.2e}")
    assert share < MOST_OFF


def metr_la() -> GridHistory:
    """Six sensors over two days; many cells and some whole rows lack readings."""
    history = grid_history(read_table(DATA / "metr_la_tail65.npz"), Choice(mask_zeros=True))
    rows, sensors = slice(1_500, 2_000), [0, 13, 26, 39, 52, 64]
    ids = tuple(history.sensors[n] for n in sensors)
    return GridHistory(ids, history.times_ns[rows], history.values[rows][:, sensors], history.step_ns)


def told_one_by_one(history: GridHistory, model: StreamingModel) -> tuple[Forecasts, dict[int, float]]:
    """Every cell's forecast and scale by the model alone, one call for each reading and each silence."""
    cadence_s = history.step_ns / 1e9
    num_rows, num_sensors = history.values.shape
    states, last_s = [model.init_state(1) for _ in range(num_sensors)], [np.nan] * num_sensors
    for state, sensor_id in zip(states, history.sensors, strict=True):
        model.inscribe(state, np.array([model.number_of(sensor_id, "")]))
    said, scales = {}, {}
    for row in range(num_rows):
        now_s = history.times_ns[row] / 1e9
        for sensor in range(num_sensors):
            value, elapsed_s = history.values[row, sensor], now_s - last_s[sensor]
            when = [torch.tensor([x], dtype=torch.float64) for x in (elapsed_s, cadence_s, (now_s + MONDAY_S) % WEEK_S)]
            if not np.isnan(value):
                when[0].nan_to_num_()
                arrival = Arrival(torch.tensor([value], dtype=torch.float64), *when)
                outlook, states[sensor] = model.step(arrival, states[sensor], HORIZON)
                last_s[sensor] = now_s
            elif not np.isnan(elapsed_s):
                outlook = model.ask(Question(*when), states[sensor], HORIZON)
            else:
                continue
            said[row * num_sensors + sensor] = np.vstack([outlook.mean[0].numpy(), outlook.quantiles[0].numpy()])
            scales[row * num_sensors + sensor] = float(outlook.scale)
    return said, scales


@pytest.mark.parametrize("rules", [(), ("entropy_equality", "conv+softmax_window")], ids=["default", "history"])
def test_rows_in_lots_are_readings_stepped_and_silences_asked_one_by_one(rules: tuple[str, ...]) -> None:
    """A trained dress is deaf to its group here: in rows that are replayed all hear each other at once."""
    history = metr_la()
    known = Known(history.sensors[:4])
    model = with_history(3, known, 0.1, *rules).without_group() if rules else DEFAULT
    is_silent = np.isnan(history.values)
    assert is_silent.any(axis=0).all()
    assert is_silent.all(axis=1).any()
    wanted, scales = told_one_by_one(history, model)
    one, cuts = engine(history.sensors, history.step_ns, model), (0, 1, 38, 39, 450, 500)
    found: Forecasts = {}
    for start, stop in pairwise(cuts):
        answers = one.step_rows(history.times_ns[start:stop], history.values[start:stop], are_asked=True)
        found |= dict(sorted(forecasts(answers, start * 6).items()))
    assert one.num_readings == (~is_silent).sum()
    assert len(found) > one.num_readings
    assert_same(found, wanted, scales)


def aarhus(num: int = 2_000) -> ArrivalHistory:
    """Events of four road segments as they arrived; every 37th is sent twice, every 53rd held back behind its next."""
    history = arrival_history(read_table(DATA / "aarhus_traffic.npz"), Choice("speed", mask_zeros=True))
    numbers = np.flatnonzero(np.isin(history.series, [0, 120, 240, 348]))[:num]
    place = np.arange(num, dtype=np.float64)
    place[::53] += 9.5
    numbers = numbers[np.argsort(place, kind="stable")]
    numbers = np.insert(numbers, np.arange(37, num, 37), numbers[36 : num - 1 : 37])
    return ArrivalHistory(
        history.sensors, history.series[numbers], history.times_ns[numbers], history.values[numbers], history.step_ns
    )


def scale_of(values: NDArray[np.float64]) -> float:
    """As the model has it: half the mean size of a change over one and over twelve readings each."""
    return float(np.abs(np.diff(values)).mean() + np.abs(values[12:] - values[:-12]).mean()) / 2


@pytest.mark.parametrize("cadence_ns", [None, 300 * 10**9])
def test_readings_in_batches_are_readings_one_by_one(cadence_ns: int | None) -> None:
    history = aarhus()
    columns = history.series, history.times_ns, history.values
    by_batches, singly = engine(history.sensors, cadence_ns), engine(history.sensors, cadence_ns)
    assert len(history.series) <= READINGS_PER_BATCH
    found = forecasts(by_batches.step(*columns))
    wanted: Forecasts = {}
    for n in range(len(history.series)):
        wanted |= forecasts(singly.step(*(column[n : n + 1] for column in columns)), n)
    num_readings = np.isfinite(history.values).sum()
    assert by_batches.num_readings == singly.num_readings == len(found)
    assert len(found) < num_readings - 80, "doubles and late ones are dropped"
    values = {series: history.of(series)[1] for series in np.unique(history.series).tolist()}
    scales = {series: scale_of(own) for series, own in values.items()}
    assert_same(found, wanted, {n: scales[int(history.series[n])] for n in found})
