"""Windows cut from a grid, and a network trained on them."""

import numpy as np
import pytest
import torch

from recurrent_core.models.elinformer_window.model import NUM_IN, NUM_OUT, ElinformerWindow
from stream_engine.training.window import Windows, absolute_errors, fit

ROWS, SENSORS = 900, 3


def made(seed: int = 0) -> Windows:
    """Sines of a day with noise, every tenth reading missing."""
    rng = np.random.default_rng(seed)
    ticks = np.arange(ROWS)
    readings = 50 + 10 * np.sin(2 * np.pi * ticks[:, None] / 96 + np.arange(SENSORS)) + rng.normal(size=(ROWS, SENSORS))
    readings[rng.random(readings.shape) < 0.1] = np.nan
    return Windows.of(readings, ticks * 900, 600, NUM_IN, NUM_OUT)


def test_gaps_are_filled_with_the_last_reading_and_targets_are_the_rows_after() -> None:
    readings = np.arange(60, dtype=np.float64).reshape(30, 2)
    readings[:2, 0], readings[5, 1] = np.nan, np.nan
    windows = Windows.of(readings, np.arange(30) * 300 + 345_600, 24, NUM_IN, NUM_OUT)
    values, is_there, second = windows.inputs(torch.tensor([0, 3]))
    restored = values * windows.std + windows.mean
    assert restored[0, 5, 1] == pytest.approx(readings[4, 1])
    assert restored[0, 0, 0] == pytest.approx(float(windows.mean[0])), "before its first reading the mean stands in"
    assert not is_there[0, 5, 1]
    assert second.tolist() == [11 * 300, 14 * 300], "1970-01-05 was a Monday"
    assert torch.equal(windows.targets(torch.tensor([3])), torch.from_numpy(readings[15:27]).float().unsqueeze(0))


def test_the_scale_knows_only_the_fit_rows() -> None:
    readings = np.ones((40, 1))
    readings[:20, 0] = np.arange(20)
    early = Windows.of(readings, np.arange(40), 20, NUM_IN, NUM_OUT)
    readings[20:] = 1e6
    late = Windows.of(readings, np.arange(40), 20, NUM_IN, NUM_OUT)
    assert torch.equal(early.mean, late.mean)
    assert torch.equal(early.std, late.std)


def test_a_short_training_beats_the_last_value_and_a_seed_is_a_training() -> None:
    windows = made()
    starts = torch.arange(0, 560), torch.arange(600, 700)
    test = torch.arange(720, ROWS - NUM_IN - NUM_OUT)
    heard: list[float] = []
    scores = []
    for _ in range(2):
        torch.manual_seed(3)
        net = ElinformerWindow(SENSORS, "entropy_equality")
        trained = fit(net, windows, starts, 60, 3, 3, lambda _step, loss: heard.append(loss))
        scores.append(float(absolute_errors(net, windows, test).nanmean()))
        assert len(trained.valid_mae) == 3
        kept = float(absolute_errors(net, windows, starts[1]).nanmean())
        assert kept == pytest.approx(min(trained.valid_mae)), "the best epoch stays"
    last = windows.inputs(test)[0][:, -1:] * windows.std + windows.mean
    assert scores[0] == scores[1]
    assert len(heard) == 120
    assert scores[0] < 0.6 * float((last - windows.targets(test)).abs().nanmean())
