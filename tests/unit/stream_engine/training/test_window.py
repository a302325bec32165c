"""Windows cut from a grid, and a network trained on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recurrent_core.errors import ArtifactError, CoreError
from recurrent_core.models.elinformer_window.model import NUM_IN, NUM_OUT, ElinformerWindow
from recurrent_core.weights import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, load_model, load_window
from stream_engine.errors import ConfigError
from stream_engine.training.fit import Regimen
from stream_engine.training.keep import KEPT_FILE
from stream_engine.training.material import Cuts, read_parts
from stream_engine.training.run import TrainPlan, Watcher
from stream_engine.training.window import Effort, Windows, absolute_errors, fit
from stream_engine.training.window_run import run_window_training
from tests.unit.stream_engine.training.histories import KilledError, killed_at, tide, write_wide

ROWS, SENSORS = 900, 3


def made(seed: int = 0) -> Windows:
    """Sines of a day with noise, every tenth reading missing."""
    rng = np.random.default_rng(seed)
    ticks = np.arange(ROWS)
    readings = 50 + 10 * np.sin(2 * np.pi * ticks[:, None] / 96 + np.arange(SENSORS)) + rng.normal(size=(ROWS, SENSORS))
    readings[rng.random(readings.shape) < 0.1] = np.nan
    return Windows.of(readings, ticks * 900 % 604_800, 600, NUM_IN, NUM_OUT)


def test_gaps_are_filled_with_the_last_reading_and_targets_are_the_rows_after() -> None:
    readings = np.arange(60, dtype=np.float64).reshape(30, 2)
    readings[:2, 0], readings[5, 1] = np.nan, np.nan
    windows = Windows.of(readings, np.arange(30) * 300, 24, NUM_IN, NUM_OUT)
    values, is_there, second = windows.inputs(torch.tensor([0, 3]))
    restored = values * windows.std + windows.mean
    assert restored[0, 5, 1] == pytest.approx(readings[4, 1])
    assert restored[0, 0, 0] == pytest.approx(float(windows.mean[0])), "before its first reading the mean stands in"
    assert not is_there[0, 5, 1]
    assert second.tolist() == [11 * 300, 14 * 300]
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
        trained = fit(net, windows, starts, Effort(60, 3, 3), lambda _step, loss: heard.append(loss))
        scores.append(float(absolute_errors(net, windows, test).nanmean()))
        assert len(trained.valid_mae) == 3
        kept = float(absolute_errors(net, windows, starts[1]).nanmean())
        assert kept == pytest.approx(min(trained.valid_mae)), "the best epoch stays"
    last = windows.inputs(test)[0][:, -1:] * windows.std + windows.mean
    assert scores[0] == scores[1]
    assert len(heard) == 120
    assert scores[0] < 0.6 * float((last - windows.targets(test)).abs().nanmean())


@pytest.fixture
def plan(tmp_path: Path) -> TrainPlan:
    path = write_wide(tmp_path / "tide.csv", *tide())
    regimen = Regimen(attention=("entropy_equality",))
    return TrainPlan((path,), tmp_path / "out", cuts=Cuts("200", "270"), lengths=(30,), regimen=regimen, seed=4)


def files(plan: TrainPlan) -> list[bytes]:
    return [(plan.out / name).read_bytes() for name in (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)]


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(plan: TrainPlan, tmp_path: Path) -> None:
    facts = run_window_training(plan)
    assert len(facts["validation_mae"]) == 15
    assert facts["scores"]["tide"]["model"]["mae"] < 0.8 * facts["scores"]["tide"]["persistence"]["mae"]
    other = replace(plan, out=tmp_path / "other")
    with pytest.raises(KilledError):
        run_window_training(other, killed_at("learn", 13))
    assert (other.out / KEPT_FILE).exists()
    stages: list[int] = []
    run_window_training(other, Watcher(advance=stages.append))
    assert stages[0] == 12, "it goes on where it was"
    assert files(other) == files(plan)
    assert not (other.out / KEPT_FILE).exists()
    with pytest.raises(KilledError):
        run_window_training(other, killed_at("learn", 13))
    with pytest.raises(ConfigError, match="progress of another training run"):
        run_window_training(replace(other, regimen=Regimen(attention=("elu",))))


def test_the_artifact_forecasts_from_raw_windows(plan: TrainPlan) -> None:
    run_window_training(plan)
    net, sensors = load_window(plan.out)
    assert sensors == ("s0", "s1", "s2")
    (part,) = read_parts(plan.paths, plan.choice, plan.cuts, plan.calendar)
    windows = Windows.of(part.values, part.second_of_week, part.train_end, NUM_IN, NUM_OUT)
    is_whole = np.isfinite(np.lib.stride_tricks.sliding_window_view(part.values, NUM_IN, axis=0)).all(axis=(1, 2))
    starts = torch.from_numpy(np.flatnonzero(is_whole[:200]))
    rows = starts[:, None] + torch.arange(NUM_IN)
    said = net.forecast(torch.from_numpy(part.values)[rows], windows.second_of_week[rows[:, -1]])
    assert len(starts) >= 3
    assert torch.allclose(said, windows.forecasts(net, starts), rtol=1e-4, atol=1e-3)
    gappy = torch.from_numpy(part.values)[rows].clone()
    gappy[:, 3, 0], gappy[:, :, 1] = torch.nan, torch.nan
    assert net.forecast(gappy, windows.second_of_week[rows[:, -1]]).isfinite().all()
    with pytest.raises(ArtifactError, match="keeps no state, so it cannot stream; train without --model"):
        load_model(plan.out)
    with pytest.raises(ArtifactError, match="not 'elinformer_window'; load_model takes it"):
        load_window("default")


def test_what_does_not_fit_is_refused(plan: TrainPlan) -> None:
    with pytest.raises(CoreError, match="did you mean elu"):
        run_window_training(replace(plan, paths=(Path("nowhere"),), regimen=Regimen(attention=("elo",))))
    with pytest.raises(ConfigError, match="one file by one rule of attention, got 2 files and 1 rules"):
        run_window_training(replace(plan, paths=(*plan.paths, *plan.paths)))
    with pytest.raises(ConfigError, match="no 24 rows in a row from --train-end to --valid-end"):
        run_window_training(replace(plan, cuts=Cuts("200", "205")))
