"""Rows in and out of the slab, waves in order, and what becomes of a state that is not finite."""

import numpy as np
import pytest
import torch

from recurrent_core.models.elinformer.model import Known
from stream_engine.errors import ConfigError
from stream_engine.records import Placement, Status, StepBatch
from stream_engine.stepper import FIRST_SLOTS, Slab, Stepper, choose_device
from stream_engine.watermark import Progress
from tests.support.engine import CountingModel
from tests.support.models import with_series_nets

DEVICES = [
    pytest.param("cpu"),
    pytest.param(
        "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
    ),
]


def batch(slots: list[int], values: list[float], wave_ends: list[int]) -> StepBatch:
    num = len(slots)
    none = np.zeros(0, np.int64)
    index = np.asarray(slots, np.int64)
    return StepBatch(
        placement=Placement(none, none, none, none),
        wave_ends=np.asarray(wave_ends, np.int64),
        handles=index,
        slots=index,
        source=np.zeros(num, np.int64),
        readings=np.arange(num),
        times_ns=np.arange(num),
        values=np.asarray(values, np.float64),
        elapsed_s=np.ones(num),
        cadences_ns=np.full(num, 10**9),
        has_cadence=np.ones(num, np.bool_),
        second_of_week=np.zeros(num),
        is_due=np.ones(num, np.bool_),
        arrival=np.arange(num),
        rank=np.arange(num),
    )


@pytest.mark.parametrize("device", DEVICES)
def test_rows_come_back_as_they_went_and_the_slab_grows(device: str) -> None:
    slab = Slab(torch.zeros(1, 3, device=device))
    rows = torch.arange(12.0, device=device).reshape(4, 3)
    slab.scatter(np.asarray([7, 0, FIRST_SLOTS + 5, 2]), rows)
    assert torch.equal(slab.gather(np.asarray([FIRST_SLOTS + 5, 7])).cpu(), rows[[2, 0]].cpu())
    slab.scatter(np.asarray([7, 2]), slab.fresh)
    assert torch.equal(slab.gather(np.asarray([7, 0, 2])).cpu()[:, 0], torch.tensor([0.0, 3.0, 0.0]))


@pytest.mark.parametrize("device", DEVICES)
def test_what_was_gathered_is_a_copy(device: str) -> None:
    slab = Slab(torch.zeros(1, 3, device=device))
    slab.scatter(np.asarray([0, 1]), torch.ones(2, 3, device=device))
    slab.gather(np.asarray([0, 1])).zero_()
    assert float(slab.gather(np.asarray([0])).sum()) == 3.0


@pytest.mark.parametrize("device", DEVICES)
def test_waves_are_stepped_in_order_and_slots_beside_them_keep_theirs(device: str) -> None:
    stepper = Stepper(CountingModel(), torch.device(device), 2)
    stepper.reset(np.asarray([0, 1, 2]), [("a", ""), ("b", ""), ("c", "")])
    stepper.put(np.asarray([2]), np.full((1, 3), 7e37, np.float32))
    result = stepper.step(batch([0, 1, 0, 0], [5.0, 7.0, 6.0, 1.0], [2, 3, 4]), [Progress()])
    assert stepper.rows(np.asarray([0, 1])).tolist() == [[1.0, 12.0, 3.0], [7.0, 7.0, 1.0]]
    assert (stepper.rows(np.asarray([2])) == np.float32(7e37)).all()
    assert result.mean[:, 0].tolist() == [5.0, 7.0, 6.0, 1.0]
    assert result.quantiles.shape == (4, 3, 2)


def test_a_state_that_is_not_finite_starts_afresh_and_its_forecast_is_the_last_value() -> None:
    stepper = Stepper(CountingModel(), torch.device("cpu"), 2)
    stepper.reset(np.asarray([0, 1]), [("a", ""), ("b", "")])
    result = stepper.step(batch([0, 1], [1e300, 7.0], [2]), [Progress()])
    assert result.num_resets == 1
    assert result.mean.tolist() == [[1e300, 1e300], [7.0, 7.0]]
    assert result.status.tolist() == [Status.WARMING_UP, Status.OK]
    assert stepper.rows(np.asarray([0, 1])).tolist() == [[0.0, 0.0, 0.0], [7.0, 7.0, 1.0]]


def test_rows_are_told_whose_they_are_and_keep_it_when_they_start_afresh() -> None:
    model = with_series_nets(1, Known(("a", "b"), "speed"))
    stepper = Stepper(model, torch.device("cpu"), 2)
    place = model.layout.slices["series"].start
    stepper.reset(np.asarray([4, 0, 2]), [("b", "speed"), ("x", ""), ("a", "count")])
    assert stepper.rows(np.asarray([4, 0, 2]))[:, place].tolist() == [2.0, 0.0, 0.0]
    assert stepper.fresh_row(("a", ""))[place] == 1.0
    spoiled = stepper.rows(np.asarray([4]))
    spoiled[:, :place] = np.nan
    stepper.put(np.asarray([4]), spoiled)
    assert stepper.step(batch([4], [7.0], [1]), [Progress()]).num_resets == 1
    row = stepper.rows(np.asarray([4]))[0]
    assert row[place] == 2.0
    assert not np.delete(row, place).any()


def test_no_row_that_is_not_finite_leaves_the_slab_and_the_next_step_tells_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stepper = Stepper(CountingModel(), torch.device("cpu"), 2)
    slots = np.arange(5)
    stepper.reset(slots, [("s", "")] * 5)
    broken = [[1, np.nan, 1], [np.inf, -np.inf, 0], [3e38, 3e38, 3e38], [np.inf, 0, 0], [1, 2, 3]]
    stepper.put(slots, np.asarray(broken, np.float32))
    wanted = [[0, 0, 0], [0, 0, 0], broken[2], [0, 0, 0], [1, 2, 3]]
    for _ in range(2):
        assert stepper.rows(slots).tolist() == np.asarray(wanted, np.float32).tolist()
    assert caplog.messages == ["the state of 3 series was not finite and starts afresh"]
    assert stepper.step(batch([4], [5.0], [1]), [Progress()]).num_resets == 3
    assert stepper.step(batch([4], [6.0], [1]), [Progress()]).num_resets == 0


def test_a_horizon_beyond_the_models_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"25 leads .* 1 to 24"):
        Stepper(CountingModel(), torch.device("cpu"), 25)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_refused_and_auto_takes_the_cpu() -> None:
    with pytest.raises(ConfigError, match="no CUDA device"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"
