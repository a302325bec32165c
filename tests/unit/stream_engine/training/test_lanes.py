"""Lanes go through each series' run in order, and know where one begins anew."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recurrent_core.models.elinformer.model import Elinformer
from stream_engine.errors import ConfigError
from stream_engine.training.harvest import Origins, Sampling, harvest
from stream_engine.training.lanes import STRETCH, Lanes
from stream_engine.training.material import Cuts, read_parts
from stream_engine.training.passages import as_it_came, blocks_left_out, thinned
from stream_engine.training.run import TrainPlan, known_of
from tests.unit.stream_engine.training.histories import tide, write_wide


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Origins:
    path = write_wide(tmp_path_factory.mktemp("lanes") / "tide.csv", *tide(num_days=16))
    plan = TrainPlan((path,), path.parent, cuts=Cuts("300", "340"))
    (part,) = read_parts(plan.paths, plan.choice, plan.cuts, plan.calendar)
    model, draw = Elinformer.untrained(known=known_of([part], "")), np.random.default_rng(0)
    passages = [as_it_came(part, 300), *blocks_left_out(part, 300, 2)]
    return Origins.joined([harvest(part, passage, model, Sampling(), draw) for passage in passages])


def test_a_lane_reads_one_series_reading_by_reading_and_goes_on_where_it_was(origins: Origins) -> None:
    lanes, draw = Lanes(origins, 8), torch.Generator().manual_seed(1)
    before: list[int] = []
    num_kept_on = 0
    for _ in range(12):
        stretch = lanes.move_on(draw)
        assert stretch.readings.shape == (8, STRETCH)
        series, moment = origins.series[stretch.readings], origins.moment[stretch.readings]
        ticks = origins.ticks[stretch.readings]
        assert (series == series[:, :1]).all()
        assert (ticks >= 1).all()
        # what stands between two readings is what was asked without one
        assert torch.equal(moment.diff(dim=1), ticks[:, 1:].long())
        for lane in range(8):
            if before and not stretch.is_fresh[lane]:
                num_kept_on += 1
                assert moment[lane, 0] - before[lane] == ticks[lane, 0]
        before = moment[:, -1].tolist()
    assert num_kept_on > 20


def test_targets_are_the_readings_and_questions_asked_before_the_next(origins: Origins) -> None:
    lanes, draw = Lanes(origins, 64), torch.Generator().manual_seed(2)
    stretch = lanes.move_on(draw)
    waited = origins.moment[stretch.targets] - origins.moment[stretch.readings]
    assert torch.equal(origins.series[stretch.targets], origins.series[stretch.readings])
    is_question = origins.ticks[stretch.targets].isnan()
    assert torch.equal(waited > 0, is_question)
    assert is_question.any()
    next_ticks = origins.ticks[stretch.readings][:, 1:]
    assert (waited[:, :-1] < next_ticks).all()


def test_the_same_draw_gives_the_same_stretches(origins: Origins) -> None:
    left, right = Lanes(origins, 5), Lanes(origins, 5)
    draws = [torch.Generator().manual_seed(3) for _ in range(2)]
    for _ in range(4):
        assert torch.equal(left.move_on(draws[0]).targets, right.move_on(draws[1]).targets)


def test_too_few_readings_are_refused(origins: Origins) -> None:
    with pytest.raises(ConfigError, match=f"no series has {STRETCH} readings to learn from"):
        Lanes(origins[: 3 * (STRETCH - 2)], 4)


def test_stretches_of_rows_stay_together_where_a_passage_is_thinned(tmp_path: Path) -> None:
    path = write_wide(tmp_path / "tide.csv", *tide(num_days=16))
    (part,) = read_parts(
        (path,), TrainPlan((path,), path.parent).choice, Cuts("300", "340"), TrainPlan((), path).calendar
    )
    thin = thinned(as_it_came(part, 300), 0.5, np.random.default_rng(0), 48)
    kept = thin.is_shown.nonzero()[0]
    assert 0 < len(kept) < 300
    assert set(np.diff(kept).tolist()) <= {1, *range(49, 300)}
