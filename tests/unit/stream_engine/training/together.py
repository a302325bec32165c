"""A training of two processes, for `test_ranks.py`: torchrun starts me twice, with the folder to work in.

I train; then I train elsewhere, am stopped in the middle in both processes, and start again.
"""

import json
import sys
from pathlib import Path

import torch

from recurrent_core.models.elinformer.model import Elinformer
from stream_engine.training import run
from stream_engine.training.fit import Course, Regimen
from stream_engine.training.harvest import Origins, Sampling, harvest
from stream_engine.training.material import Cuts, read_parts
from stream_engine.training.passages import as_it_came
from stream_engine.training.ranks import ALONE, Ranks, joined
from stream_engine.training.run import TrainPlan, Watcher, run_training
from tests.unit.stream_engine.training.histories import KilledError, killed_at


def origins_of(plan: TrainPlan) -> Origins:
    """What the history shows as it came, and how many series it has."""
    import numpy as np

    (part,) = read_parts(plan.paths, plan.choice, plan.cuts, plan.calendar)
    model = Elinformer.untrained(known=run.known_of([part], ""))
    return harvest(part, as_it_came(part, part.train_end), model, Sampling(), np.random.default_rng(0))


def courses(plan: TrainPlan, ranks: Ranks) -> dict[str, object]:
    """Whether both processes have the same networks after some steps, and how far they are from one process's."""
    origins, ends = origins_of(plan), {}
    for name, who in (("together", ranks), ("alone", ALONE)):
        course = Course([origins], Regimen(num_steps=20, batch=256, attention=("gla",)), 1, num_series=3, ranks=who)
        course.learn(20)
        ends[name] = torch.cat([weight.detach().flatten() for weight in course.networks.parameters()])
    each = ranks.gathered(ends["together"])
    return {
        "is_same": bool((each == each[0]).all()),
        "is_same_as_alone": bool((each[0] == ends["alone"]).all()),
        "size": ranks.size,
    }


def main(folder: Path) -> None:
    """Two trainings, one of them in two goes."""
    run.KEEP_STEPS = 4
    plan = TrainPlan(
        (folder / "tide.csv",),
        folder / "whole",
        cuts=Cuts("216", "264"),
        lengths=(6, 12),
        regimen=Regimen(batch=64, attention=("elu",)),
    )
    with joined(torch.device("cpu")) as ranks:
        run_training(plan, ranks=ranks)
        cut = TrainPlan(plan.paths, folder / "cut", cuts=plan.cuts, lengths=plan.lengths, regimen=plan.regimen)
        try:
            run_training(cut, killed_at("learn", 5), ranks)
        except KilledError:
            stages: list[str] = []
            run_training(cut, Watcher(begin=lambda stage, _: stages.append(stage)), ranks)
        told = courses(plan, ranks) | {"again": stages}
        if ranks.is_first:
            (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
