"""A part that is left out has no say, however good it is, and the parts left stand in for it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recurrent_core import mixing, scaling
from recurrent_core.models.elinformer.layout import READOUTS
from recurrent_core.models.elinformer.model import PRIOR, Elinformer, Known
from recurrent_core.models.interface import Arrival, Runs
from stream_engine.backtest.ablation import DEAF, FORGETFUL, VARIANTS, variants
from stream_engine.backtest.run import Candidate, Plan, run_backtest
from stream_engine.errors import ConfigError
from tests.support.engine import CountingModel
from tests.support.models import with_history

CPU = torch.device("cpu")


def shares(model: Elinformer, num_readings: int) -> torch.Tensor:
    """The read-outs' weights, [readouts, knots], after so many readings of a daily wave."""
    state = model.init_state(1)
    times_s = 3_600.0 * torch.arange(num_readings, dtype=torch.float64)
    values = (
        40
        + 9 * torch.sin(times_s * (2 * np.pi / 86_400))
        + torch.from_numpy(np.random.default_rng(3).normal(size=num_readings))
    )
    elapsed_s = torch.full_like(times_s, 3_600.0)
    elapsed_s[0] = 0.0
    arrival = Arrival(values, elapsed_s, torch.full_like(times_s, 3_600.0), times_s % 604_800)
    model.sequence(arrival, Runs(np.zeros(num_readings, np.int64), np.arange(1, num_readings + 1)), state, 12)
    parts = model.layout.views(state)
    scale = scaling.scale(parts["step_sizes"], parts["count"], parts["anchor"], parts["level"])
    errors = mixing.expected_errors(parts["readout_errors"], parts["arrived"], scale, model.tensors[PRIOR])
    return mixing.weights(errors, model.config.mix_power)[0]


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_left_out_never_gets_weight(name: str) -> None:
    model = variants(Elinformer.untrained())[name]
    is_out = torch.tensor([readout in VARIANTS[name] for readout in READOUTS])
    for num_readings in (1, 40, 1_000):
        found = shares(model, num_readings)
        assert float(found[is_out].sum()) == 0.0
        assert found.sum(dim=0).tolist() == pytest.approx([1.0] * 5)
    assert (found[~is_out] > 0).all()


def test_scores_without_each_part_stand_beside_the_whole(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    hours = np.arange(24 * 15)[:, None] + np.array([0, 5])
    values = 30 + 9 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 1, hours.shape)
    np.savez(
        tmp_path / "t.npz",
        values=values,
        timestamps=1_700_000_000 + 3_600 * np.arange(len(values)),
        sensor_ids=["a", "b"],
    )
    plan = Plan(tmp_path / "t.npz", test_start="200", is_ablated=True)
    document = run_backtest(plan, Candidate(Elinformer.untrained(), CPU, 13), tmp_path)
    ablations = document["ablations"]
    assert isinstance(ablations, dict)
    assert list(ablations) == list(VARIANTS)
    assert ablations["mix alone"] == document["mean"], "an untrained model is its mix"
    assert all(mean["count"] == document["mean"]["count"] for mean in ablations.values())
    assert ablations["window only"]["mae"] > 1.5 * ablations["mix alone"]["mae"], "the wave is all there is"
    assert ablations["without calendar memory"]["mae"] < ablations["window only"]["mae"]
    assert json.loads((tmp_path / "scores.json").read_text())["ablations"] == ablations
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "What each part is worth" in page
    assert all(name in page for name in VARIANTS)


def test_a_trained_dress_is_shown_without_its_group_and_without_its_past() -> None:
    model = with_history(2, Known(("a", "b")), 0.1, "gla")
    found = variants(model)
    assert list(found) == [DEAF, FORGETFUL, *VARIANTS]
    assert not found[DEAF].hears_group
    assert found[FORGETFUL].history_net is None
    assert found[FORGETFUL].state_floats < model.state_floats


def test_a_model_without_such_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match="--ablate: model 'counting' has no parts"):
        variants(CountingModel())
