"""One training run from table files to an artifact: the road that material, harvest, fit and keeping go together.

    harvest ─┬─ inner split: courses of several lengths, each judged as the rows after it stream ── best length
             └─ all fit rows: a course of that length ── judged on the validation rows ── artifact

I know nothing of the command line. Same files, options and seed: the same artifact, also after a kill in between.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurrent_core.models.elinformer.history_net import HistoryNet
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.models.interface import StreamingModel
from recurrent_core.weights import save_model
from stream_engine import __version__
from stream_engine.backtest import run as backtest
from stream_engine.backtest.history import Choice, GridHistory
from stream_engine.backtest.run import Candidate, Plan
from stream_engine.errors import ConfigError
from stream_engine.localtime import Calendar
from stream_engine.training.distil import MeanTeacher, teachers_of, teachers_state
from stream_engine.training.fit import Course, Regimen, judge
from stream_engine.training.harvest import Origins, Sampling, balanced, harvest
from stream_engine.training.keep import Keeper
from stream_engine.training.lanes import STRETCH
from stream_engine.training.material import Cuts, Part, read_parts
from stream_engine.training.passages import Passage, as_it_came, blocks_left_out, thinned
from stream_engine.training.ranks import ALONE, Ranks

NUM_BLOCKS = 5
"""Blocks that are left out in turn."""
INNER_SHARE = 0.7
"""Of the rows to learn from, those that the inner split learns from."""
LENGTHS = (1000, 4000)
"""Gradient steps that are tried on the inner split."""
MAX_ORIGINS = 1_500_000
"""Origins learned from at most, by chance; their features take 0.9 KB each."""
MAX_JUDGED = 80_000
NS_PER_S = 1e9
REGIMEN = Regimen(batch=4096, rate=4e-3)
KEEP_STEPS = 200
"""Steps from one writing of the progress to the next."""


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """What is to be learned, from what.

    Attributes:
        paths: table files.
        out: folder of the artifact and, while it lasts, of the progress.
        name: the artifact's.
        choice: channel, and what counts as a reading.
        cuts: where learning and choosing end.
        calendar: in which days and weeks are told.
        lengths: gradient steps to choose from.
        regimen: how the network is trained, but for its number of steps.
        seed: decides everything that is drawn.
        num_seeds: courses of MixNets whose mean teaches the one that is kept; 1 for none.
        threads: CPU threads torch may use in this process; so small a network gains little from a second.
    """

    paths: Sequence[Path]
    out: Path
    name: str = "trained"
    choice: Choice = field(default_factory=Choice)
    cuts: Cuts = field(default_factory=Cuts)
    calendar: Calendar = field(default_factory=Calendar)
    lengths: tuple[int, ...] = LENGTHS
    regimen: Regimen = REGIMEN
    seed: int = 0
    num_seeds: int = 1
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how a run goes on.

    Attributes:
        begin: takes a stage's name and its number of steps.
        advance: takes how many steps are done.
        tell: takes what to show beside them, as text.
    """

    begin: Callable[[str, int], None] = lambda stage, steps: None
    advance: Callable[[int], None] = lambda steps: None
    tell: Callable[[str], None] = lambda text: None


def run_training(plan: TrainPlan, watcher: Watcher | None = None, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Train, choose and write the artifact; returns the facts of its card.

    Args:
        ranks: the processes that do it together, each by this call; the first writes.
    Raises:
        ConfigError, TableError: the plan does not fit the data, or --out holds another run's progress.
    """
    torch.set_num_threads(plan.threads)
    if plan.regimen.attention:
        HistoryNet(1, plan.regimen.attention)  # refused before the files are read
    parts = read_parts(plan.paths, plan.choice, plan.cuts, plan.calendar)
    keeper = Keeper(plan.out, fingerprint(plan, parts, ranks))
    facts = _Run(plan, parts, keeper, watcher or Watcher(), ranks).go()
    if ranks.is_first:
        keeper.clear()
    return facts


def fingerprint(plan: TrainPlan, parts: Sequence[Part], ranks: Ranks = ALONE) -> str:
    """Of everything that decides a run: two with the same end with the same artifact."""
    choices = (plan.seed, plan.num_seeds, plan.lengths, asdict(plan.regimen), plan.calendar.to_dict())
    told = repr((__version__, *choices, ranks.size, ranks.device.type))
    return hashlib.sha256(told.encode() + data_fingerprint(parts).encode()).hexdigest()


def data_fingerprint(parts: Sequence[Part]) -> str:
    """Of the readings learned and chosen from."""
    told = hashlib.sha256()
    for part in parts:
        told.update(repr((part.name, part.sensors, part.step_ns, part.train_end, part.valid_end)).encode())
        told.update(np.ascontiguousarray(part.times_ns[: part.valid_end]).tobytes())
        told.update(np.ascontiguousarray(part.values[: part.valid_end]).tobytes())
    return told.hexdigest()


def known_of(parts: Sequence[Part], channel: str) -> Known:
    """Every sensor of the parts, by its number."""
    numbers = {name: number for part in parts for name, number in zip(part.sensors, part.numbers.tolist(), strict=True)}
    steps_s = sorted(part.step_ns / NS_PER_S for part in parts)
    return Known(tuple(sorted(numbers, key=lambda name: numbers[name])), channel, steps_s[len(steps_s) // 2])


class _Run:
    """Lives for one `run_training`."""

    def __init__(
        self, plan: TrainPlan, parts: tuple[Part, ...], keeper: Keeper, watcher: Watcher, ranks: Ranks
    ) -> None:
        self._plan, self._parts, self._keeper, self._watcher, self._ranks = plan, parts, keeper, watcher, ranks
        self._known = known_of(parts, plan.choice.channel or "")
        self._model = Elinformer.untrained(known=self._known)
        self._decided, self._kept = keeper.load()
        self._teachers = teachers_of(self._kept)
        learned = np.concatenate([part.values[: part.train_end].ravel() for part in parts])
        if not float(np.nanstd(learned)) > 0:
            raise ConfigError("all readings before the end of training are equal; there is nothing to learn")

    def go(self) -> dict[str, Any]:
        """The whole road; the facts of the card."""
        trials = self._choose() if len(self._plan.lengths) > 1 else {}
        length = self._plan.lengths[0]
        if trials:
            length = min(trials, key=lambda steps: trials[steps]["mae"])  # widths are corrected while serving
        ends = [part.train_end for part in self._parts]
        lessons = self._lessons("harvest", ends)
        for place in range(self._plan.num_seeds if self._plan.num_seeds > 1 else 0):
            if place >= len(self._teachers):
                taught = self._course(f"teacher {place + 1}", lessons, length, seed=self._plan.seed + 1 + place)
                self._teachers.append(taught.averaged.mix_net.cpu())
        course = self._course("learn", lessons, length, len(self._known.names))
        verdict = None
        if any(part.valid_end > part.train_end for part in self._parts):
            verdict = asdict(judge(course.averaged, self._judged("validation", ends)))
        facts = self._facts(length, trials, verdict, course)
        version = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:8]
        model = self._model.with_networks(course.averaged.cpu(), self._plan.name, version, self._known)
        if self._ranks.is_first:
            facts["scores"] = {part.name: self._scored(part, model) for part in self._parts}
            save_model(model, self._plan.out, facts)
        return facts

    def _scored(self, part: Part, model: StreamingModel) -> dict[str, dict[str, object]]:
        """How the artifact and the baselines do on the part's rows of choosing, as a backtest has it."""
        if part.valid_end <= part.train_end:
            return {}
        rows = slice(0, part.valid_end)
        history = GridHistory(part.sensors, part.times_ns[rows], part.values[rows], part.step_ns)
        plan = Plan(Path(part.name), horizon=NUM_LEADS, calendar=self._plan.calendar)
        self._watcher.begin(f"scores: {part.name}", part.valid_end)
        told = backtest.Watcher(advance=self._watcher.advance)
        start_ns = int(part.times_ns[part.train_end])
        return backtest.score_rows(plan, history, start_ns, Candidate(model, torch.device("cpu"), 0), told)

    def _choose(self) -> dict[int, dict[str, float]]:
        """What each length came to on the inner split."""
        lengths = self._plan.lengths
        done: dict[str, dict[str, float]] = self._decided
        left = [length for length in lengths if str(length) not in done]
        if left:
            ends = [int(part.train_end * INNER_SHARE) for part in self._parts]
            lessons, judged = self._lessons("inner harvest", ends), self._judged("inner split", ends)
            for length in left:
                course = self._course(f"choose: {length} steps", lessons, length, len(self._known.names))
                done[str(length)] = self._ranks.agreed(asdict(judge(course.averaged, judged)))
                self._watcher.tell(f"MAE {done[str(length)]['mae']:.4f} of the mix's")
                self._kept = {}
                self._keep({})
        return {length: done[str(length)] for length in lengths}

    def _course(
        self, stage: str, lessons: Origins, num_steps: int, num_series: int = 0, seed: int | None = None
    ) -> Course:
        """A course of so many steps, taken up where it was left; with a seed of its own it is a teacher's."""
        regimen = replace(self._plan.regimen, num_steps=num_steps)
        ranks = self._ranks
        teacher = MeanTeacher(self._teachers, ranks.device) if self._teachers and seed is None else None
        course = Course([lessons], regimen, self._plan.seed if seed is None else seed, num_series, teacher, ranks)
        if f"stage.{stage}" in self._kept:
            course.restore(self._kept)
        self._watcher.begin(stage, num_steps)
        self._watcher.advance(course.step)
        smooth: list[float] = []

        def told(loss: float) -> None:
            smooth[:] = [loss if not smooth else smooth[0] + 0.02 * (loss - smooth[0])]
            self._watcher.advance(1)
            self._watcher.tell(f"loss {smooth[0]:.4f}")

        while course.step < num_steps:
            course.learn(KEEP_STEPS, told)
            self._keep(course.state() | teachers_state(self._teachers) | {f"stage.{stage}": torch.ones(1)})
        return course

    def _keep(self, tensors: dict[str, Tensor]) -> None:
        """Write the progress."""
        if self._ranks.is_first:
            self._keeper.save(self._decided, tensors)

    def _lessons(self, stage: str, ends: Sequence[int]) -> Origins:
        """Rows below the ends, as they came and a block left out at a time."""
        passages = [
            [as_it_came(part, end), *blocks_left_out(part, end, NUM_BLOCKS)]
            for part, end in zip(self._parts, ends, strict=True)
        ]
        return self._harvest(stage, passages, MAX_ORIGINS)

    def _judged(self, stage: str, begins: Sequence[int]) -> Origins:
        """Rows from each part's beginning to the end of choosing, as they came."""
        passages = []
        for part, begin in zip(self._parts, begins, strict=True):
            whole = as_it_came(part, part.valid_end)
            passages.append([Passage(whole.rows, whole.times_s, whole.rows >= begin)])
        return self._harvest(stage, passages, MAX_JUDGED)

    def _harvest(self, stage: str, passages: Sequence[Sequence[Passage]], most: int) -> Origins:
        self._watcher.begin(stage, sum(len(passage.rows) for some in passages for passage in some))
        sets = []
        for number, (part, some) in enumerate(zip(self._parts, passages, strict=True)):
            cells = sum(int(passage.is_shown.sum()) for passage in some) * len(part.sensors)
            share = min(1.0, most / len(self._parts) / max(cells, 1))
            draw = np.random.default_rng([self._plan.seed, number])
            together = 3 * STRETCH if self._plan.regimen.attention and share < 1.0 else 1
            thin = [thinned(passage, share, draw, together) for passage in some]
            found = [harvest(part, passage, self._model, Sampling(), draw, self._watcher.advance) for passage in thin]
            sets.append(balanced(Origins.joined(found)))
        return Origins.joined(sets)

    def _facts(
        self, length: int, trials: dict[int, dict[str, float]], verdict: dict[str, float] | None, course: Course
    ) -> dict[str, Any]:
        """What the card tells of how the artifact came to be; scores are ratios to the mix's."""
        return {
            "trained_on": [part.name for part in self._parts],
            "data_fingerprint": data_fingerprint(self._parts),
            "num_sensors": len({sensor for part in self._parts for sensor in part.sensors}),
            "rows": {part.name: {"train_end": part.train_end, "valid_end": part.valid_end} for part in self._parts},
            "calendar": self._plan.calendar.to_dict(),
            "seed": self._plan.seed,
            "seeds": self._plan.num_seeds,
            "regimen": asdict(replace(self._plan.regimen, num_steps=length)),
            "inner_split_to_mix": {str(steps): trial for steps, trial in trials.items()},
            "validation_to_mix": verdict,
            "parameters": sum(weight.numel() for weight in course.averaged.parameters()),
            "made_with": {"stream_engine": __version__, "torch": torch.__version__.split("+")[0]},
        }
