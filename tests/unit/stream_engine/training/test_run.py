"""A whole training run: deterministic, taken up after a kill, chosen by the inner split, served as any other model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recurrent_core.models.elinformer.mix_net import MixNet
from recurrent_core.models.elinformer.networks import Networks
from recurrent_core.weights import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, load_card, load_model
from stream_engine.backtest.baselines import BASELINES
from stream_engine.backtest.run import Candidate, Plan, run_backtest
from stream_engine.errors import ConfigError
from stream_engine.localtime import Calendar
from stream_engine.training import run
from stream_engine.training.fit import Course, Regimen, flipped, judge
from stream_engine.training.harvest import Origins, Sampling, harvest
from stream_engine.training.keep import KEPT_FILE
from stream_engine.training.material import Cuts, read_parts
from stream_engine.training.passages import as_it_came, blocks_left_out
from stream_engine.training.run import TrainPlan, run_training
from tests.unit.stream_engine.training.histories import KilledError, killed_at, tide, write_long, write_wide


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainPlan:
    monkeypatch.setattr(run, "KEEP_STEPS", 4)
    path = write_wide(tmp_path / "tide.csv", *tide())
    regimen = Regimen(batch=64)
    return TrainPlan((path,), tmp_path / "out", cuts=Cuts("216", "264"), lengths=(6, 12), regimen=regimen, seed=7)


def files(plan: TrainPlan) -> list[bytes]:
    return [(plan.out / name).read_bytes() for name in (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)]


def test_the_same_plan_gives_the_same_bytes_and_another_seed_others(plan: TrainPlan, tmp_path: Path) -> None:
    facts = run_training(plan)
    again = replace(plan, out=tmp_path / "again")
    assert run_training(again) == facts
    assert files(again) == files(plan)
    other = replace(plan, out=tmp_path / "other", seed=8)
    run_training(other)
    assert files(other)[0] != files(plan)[0]
    assert not (plan.out / KEPT_FILE).exists()


@pytest.mark.parametrize(("stage", "steps"), [("inner harvest", 3), ("choose: 12", 9), ("learn", 5)])
def test_killed_and_started_again_it_ends_with_the_same_bytes(
    stage: str, steps: int, plan: TrainPlan, tmp_path: Path
) -> None:
    run_training(plan)
    other = replace(plan, out=tmp_path / "other")
    with pytest.raises(KilledError):
        run_training(other, killed_at(stage, steps))
    assert (other.out / KEPT_FILE).exists() == (stage != "inner harvest")
    run_training(other)
    assert files(other) == files(plan)


@pytest.mark.parametrize(("stage", "steps"), [("choose: 12", 9), ("learn", 5)])
def test_attention_over_the_past_is_taken_up_after_a_kill_too(
    stage: str, steps: int, plan: TrainPlan, tmp_path: Path
) -> None:
    plan = replace(plan, regimen=replace(plan.regimen, attention=("entropy_equality", "gla")))
    assert run_training(plan)["regimen"]["attention"] == ("entropy_equality", "gla")
    other = replace(plan, out=tmp_path / "other")
    with pytest.raises(KilledError):
        run_training(other, killed_at(stage, steps))
    run_training(other)
    assert files(other) == files(plan)


@pytest.mark.parametrize(("stage", "steps"), [("teacher 1", 5), ("teacher 2", 5), ("learn", 5)])
def test_teachers_are_taken_up_after_a_kill_too(stage: str, steps: int, plan: TrainPlan, tmp_path: Path) -> None:
    plan = replace(plan, num_seeds=2, lengths=(12,))
    assert run_training(plan)["seeds"] == 2
    other = replace(plan, out=tmp_path / "other")
    with pytest.raises(KilledError):
        run_training(other, killed_at(stage, steps))
    run_training(other)
    assert files(other) == files(plan)
    alone = replace(plan, out=tmp_path / "alone", num_seeds=1)
    run_training(alone)
    assert files(alone)[0] != files(plan)[0]


def test_progress_of_another_run_and_a_damaged_one_are_refused(plan: TrainPlan) -> None:
    with pytest.raises(KilledError):
        run_training(plan, killed_at("learn", 5))
    with pytest.raises(ConfigError, match="progress of another training run"):
        run_training(replace(plan, seed=9))
    (plan.out / KEPT_FILE).write_bytes(b"torn")
    with pytest.raises(ConfigError, match="damaged"):
        run_training(plan)


def test_the_artifact_names_its_data_and_can_be_served(plan: TrainPlan) -> None:
    facts = run_training(plan)
    assert load_card(plan.out)["facts"] == json.loads(json.dumps(facts))
    assert facts["trained_on"] == ["tide"]
    assert set(facts["inner_split_to_mix"]) == {"6", "12"}
    scores = facts["scores"]["tide"]
    assert list(scores) == ["model", *BASELINES]
    assert scores["model"]["count"] == scores["persistence"]["count"] > 300
    assert scores["model"]["mae"] < scores["persistence"]["mae"]
    lines = plan.paths[0].read_text().splitlines(keepends=True)
    chosen = plan.out / "chosen.csv"
    chosen.write_text("".join(lines[: 1 + 264]))
    judged = Candidate(load_model(plan.out), torch.device("cpu"), 0)
    found = run_backtest(Plan(chosen, test_start="216"), judged)
    assert scores["model"] == found["mean"], "the card tells other scores than a backtest"
    model = load_model(plan.out)
    assert model.network is not None
    assert model.name == "trained"
    assert model.init_state(1).shape == (1, model.state_floats)


def test_several_files_and_one_without_validation_rows(plan: TrainPlan, tmp_path: Path) -> None:
    second = write_long(tmp_path / "more.csv", *tide(num_sensors=4, seed=3))
    facts = run_training(replace(plan, paths=(*plan.paths, second), cuts=Cuts("216", "216"), lengths=(6,)))
    assert facts["num_sensors"] == 4
    assert facts["trained_on"] == ["tide", "more"]
    assert facts["validation_to_mix"] is None
    assert facts["scores"] == {"tide": {}, "more": {}}
    assert facts["inner_split_to_mix"] == {}


def test_equal_readings_are_refused(tmp_path: Path) -> None:
    times_s, values = tide()
    values[:] = 5.0
    path = write_wide(tmp_path / "flat.csv", times_s, values)
    with pytest.raises(ConfigError, match="all readings before the end of training are equal"):
        run_training(TrainPlan((path,), tmp_path / "out"))


def test_a_folder_that_cannot_be_made_is_refused(plan: TrainPlan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        run_training(replace(plan, out=tmp_path / "file" / "out"))


def harvested(path: Path, end: int, is_changed: bool = False) -> Origins:
    """Origins of the rows below `end`, as they came; with every later reading changed, if asked."""
    (part,) = read_parts([path], run.Choice(), Cuts("216", "264"), Calendar())
    if is_changed:
        part.values[end:] = 1e6
    return harvest(part, as_it_came(part, end), run.Elinformer.untrained(), Sampling(), np.random.default_rng(1))


def test_what_lies_beyond_the_end_is_never_seen(plan: TrainPlan) -> None:
    before, after = harvested(plan.paths[0], 100), harvested(plan.paths[0], 100, is_changed=True)
    assert torch.equal(before.features, after.features)
    assert torch.equal(before.truths, after.truths)
    assert (before.weights[-1] == 0).any(), "the last origins have truths beyond the end, which do not count"


def test_a_block_is_unknown_to_the_state_that_meets_it(plan: TrainPlan) -> None:
    (part,) = read_parts(plan.paths, plan.choice, plan.cuts, plan.calendar)
    passage = blocks_left_out(part, 216, 4)[1]
    first = int(np.flatnonzero(passage.is_shown)[0])
    block = passage.rows[passage.is_shown]
    assert not set(passage.rows[:first]) & set(block.tolist())
    assert (np.diff(passage.times_s) > 0).all()


def test_a_newborn_network_is_the_mix_itself(plan: TrainPlan) -> None:
    origins = harvested(plan.paths[0], 200)
    verdict = judge(Networks(MixNet()), origins)
    assert (verdict.mae, verdict.wql) == (1.0, 1.0)
    shift, sides, lean = MixNet()(origins.features)
    assert shift.abs().mean() < 0.02, "a softmax of the errors' logs is the mix's own weights"
    assert torch.allclose(sides, torch.full_like(sides, 1.6))
    assert not lean.any()


def test_upside_down_twice_is_the_same(plan: TrainPlan) -> None:
    origins = harvested(plan.paths[0], 100)
    sign = torch.where(torch.arange(len(origins)) % 2 == 0, -1.0, 1.0)
    features, truths = flipped(*flipped(origins.features, origins.truths, sign), sign)
    assert torch.equal(features, origins.features)
    assert torch.equal(truths, origins.truths)


def test_a_network_learns_what_the_mix_does_not_know(plan: TrainPlan) -> None:
    origins = harvested(plan.paths[0], 264)
    course = Course([origins], Regimen(num_steps=150, batch=256), seed=1)
    course.learn(150)
    assert judge(course.averaged, origins).wql < 0.95
