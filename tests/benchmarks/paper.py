"""`make paper`: the paper's claims, measured. The same windowed model with softmax and with linear rules in its place.

    python -m tests.benchmarks.paper [--quick]

Four sets, one budget, several seeds; the validation windows choose the epoch. Every finished training is kept in
tests/benchmarks/results/paper.json (--quick: out/paper_quick.json), so that a stopped run goes on where it was, and
docs/paper.md (--quick: out/paper_quick.md) is written from it.
"""

import argparse
import json
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recurrent_core.models.elinformer_window.model import NUM_IN, NUM_OUT, ElinformerWindow
from recurrent_core.ops.registry import MECHANISMS
from stream_engine.backtest.diebold_mariano import diebold_mariano
from stream_engine.cli.progress import shown_progress
from stream_engine.training.window import BATCH, Effort, Windows, absolute_errors, fit, whole_starts
from tests.benchmarks.grids import DATA, WEEK_S, read_grid
from tests.benchmarks.results import FOLDER, where_and_when

ROOT = Path(__file__).parents[2]
MONDAY_S = 345_600
"""1970-01-05 was a Monday."""
SPLITS = {
    "pemsd7_25": ((0, 7579), (7603, 10113), (10137, 12648)),
    "metr_la_tail65": ((0, 2809), (2833, 3385), (3409, 10258)),
    "pems08_flow_tail": ((0, 2952), (2976, 3560), (3584, 7132)),
    "aarhus_speed": ((0, 10460), (10484, 13955), (13979, 17450)),
}
"""First and last window to fit, to choose by, to score: as for all peers; of pemsd7_25, 60, 20 and 20 % of the rows."""
RULES = ("softmax", "entropy_equality", "elu", "relu", "ridge", "performer", "linformer", "rala", "lightning", "gla")
LEAST_VALID = 20
"""Of the validation windows every so many are looked at."""


INTRODUCTION = """# The paper's claims, measured

arXiv:2511.03190 claims that attention forecasts well because its weights are moderate and balanced, not because of
softmax, so that a linear rule of the same entropy loses nothing. Here one windowed model
([elinformer_window](../recurrent_core/models/elinformer_window/model.py): 12 readings in, 12 out, attention over time
and across sensors) is trained with softmax and with each linear rule in its place: the same data, batches, steps and
seeds; validation windows choose the epoch. Of the paper only the abstract was at hand: the model is after its idea,
not a copy.

    {command}
"""
LEGEND = """{steps} steps of {batch} windows; mean ± deviation over {seeds} seeds, all test windows{few}.
*Against softmax*: difference of the MAE, and p of a Diebold-Mariano test of the windows' errors, seeds averaged.
*Step*: ms of a training step, one thread, two trainings at a time. *Memory*: what training added to the process.
*Entropy*: of the weights over time at a window's end, over log 12 (signed weights by their absolute value)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What every rule is given alike."""

    sets: tuple[str, ...]
    rules: tuple[str, ...]
    seeds: int
    steps: int
    epochs: int
    stride: int


FULL = Budget(tuple(SPLITS), RULES, 3, 4000, 15, 1)
QUICK = Budget(("pemsd7_25", "metr_la_tail65"), ("softmax", "entropy_equality", "elu"), 2, 240, 3, 24)


@dataclass(frozen=True, slots=True)
class Run:
    """One training and its scores on the test windows.

    Attributes:
        errors: mean |error| of every window, in time, NaN where none of its cells is scored; the pairs of the test.
        entropy: of the weights over time of a window's last reading, over log 12; None where a rule has no weights.
    """

    set: str
    rule: str
    seed: int
    mae: float
    rmse: float
    mape: float
    errors: list[float]
    step_ms: float
    peak_mb: float
    entropy: float | None
    seconds: float


@cache
def windows_of(name: str) -> Windows:
    """A set as windows; PeMSD7's weekends and other gaps are never within one (see `starts_of`)."""
    grid = read_grid(name)
    second_of_week = (grid.times_s - MONDAY_S) % WEEK_S
    return Windows.of(grid.readings, second_of_week, SPLITS[name][0][1] + NUM_IN, NUM_IN, NUM_OUT)


def starts_of(name: str, part: int, stride: int) -> torch.Tensor:
    """First rows of the windows of a part of the split, without those across a gap."""
    return whole_starts(read_grid(name).ticks, *SPLITS[name][part], NUM_IN + NUM_OUT, stride)


def train(name: str, rule: str, seed: int, budget: Budget) -> Run:
    """One training, in a process of its own."""
    torch.set_num_threads(1)
    windows = windows_of(name)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    torch.manual_seed(seed)
    begun = time.perf_counter()
    net = ElinformerWindow(windows.values.shape[1], rule)
    split = starts_of(name, 0, 1), starts_of(name, 1, LEAST_VALID)
    trained = fit(net, windows, split, Effort(budget.steps, budget.epochs, seed))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    starts = starts_of(name, 2, budget.stride)
    absolute = absolute_errors(net, windows, starts).numpy()
    truths = windows.targets(starts).numpy()
    return Run(
        name,
        rule,
        seed,
        float(np.nanmean(absolute)),
        float(np.sqrt(np.nanmean(np.square(absolute, dtype=np.float64)))),
        100 * float(np.nanmean(absolute / np.where(truths > 0, truths, np.nan))),
        [round(float(error), 4) for error in mean_of_each(absolute)],
        1e3 * trained.step_s,
        peak / 1024,
        entropy_of(net, windows, starts),
        time.perf_counter() - begun,
    )


def mean_of_each(absolute: np.ndarray) -> np.ndarray:
    """Mean over the cells of each window that are scored, NaN where none is."""
    is_scored = np.isfinite(absolute)
    counts = is_scored.sum(axis=(1, 2))
    return np.where(counts > 0, np.where(is_scored, absolute, 0.0).sum(axis=(1, 2)) / np.maximum(counts, 1), np.nan)


@torch.no_grad()
def entropy_of(net: ElinformerWindow, windows: Windows, starts: torch.Tensor) -> float | None:
    """Mean entropy of the weights over time, over log 12: 1 is a plain mean. Signed weights count as their absolute."""
    values, is_there, _ = windows.inputs(starts[:: max(1, len(starts) // 32)])
    weights = net.weights_over_time(values, is_there)
    if weights is None:
        return None
    shares = weights.abs() / weights.abs().sum(-1, keepdim=True).clamp(min=1e-12)
    return float(-(shares * shares.clamp(min=1e-12).log()).sum(-1).mean() / np.log(NUM_IN))


def page(runs: list[Run], budget: Budget, command: str) -> str:
    """The account as Markdown."""
    lines = [INTRODUCTION.format(command=command)]
    found = {(run.rule, run.seed) for run in runs}
    missing = len(budget.rules) * budget.seeds * len(budget.sets) - len(runs)
    few = f" but only every {budget.stride}th" if budget.stride > 1 else ""
    if missing:
        seeds = max(seed for _, seed in found) + 1
        lines += [f"**Not all is run yet**: {missing} trainings are missing; so far up to {seeds} of the seeds.", ""]
    lines += [LEGEND.format(steps=budget.steps, batch=BATCH, seeds=budget.seeds, few=few)]
    for name in budget.sets:
        lines += ["", f"## {name}", "", "| rule | MAE | RMSE | MAPE % | against softmax | step | memory | entropy |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        by_rule = {rule: [run for run in runs if (run.set, run.rule) == (name, rule)] for rule in budget.rules}
        for rule, ours in by_rule.items():
            if ours:
                label = rule if len(ours) == budget.seeds else f"{rule} ({len(ours)} of {budget.seeds} seeds)"
                lines.append(_row(label, ours, by_rule["softmax"], budget.stride))
    return "\n".join(lines) + "\n"


def _row(label: str, ours: list[Run], softmax: list[Run], stride: int) -> str:
    cells = [
        f"{np.mean(column):.{digits}f} ± {np.std(column):.{digits}f}"
        for column, digits in (
            ([run.mae for run in ours], 3),
            ([run.rmse for run in ours], 2),
            ([run.mape for run in ours], 2),
        )
    ]
    against = ""
    if ours[0].rule != "softmax" and softmax:
        change = np.mean([run.mae for run in ours]) / np.mean([run.mae for run in softmax]) - 1.0
        errors, theirs = (np.mean([run.errors for run in group], axis=0) for group in (ours, softmax))
        name = ours[0].set
        ticks = read_grid(name).ticks[starts_of(name, 2, stride).numpy()]
        is_scored = np.isfinite(errors - theirs)
        p_value = diebold_mariano(ticks[is_scored], (errors - theirs)[is_scored], NUM_OUT).p_value
        against = f"{100 * change:+.2f} %" + ("" if p_value is None else f" (p {p_value:.2g})")
    entropies = [run.entropy for run in ours if run.entropy is not None]
    step, memory = np.median([run.step_ms for run in ours]), np.median([run.peak_mb for run in ours])
    entropy = f"{np.mean(entropies):.2f}" if entropies else ""
    return f"| {label} | {' | '.join(cells)} | {against} | {step:.0f} ms | {memory:.0f} MB | {entropy} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two sets, three rules, few steps: minutes")
    parser.add_argument("--rules", nargs="*", choices=list(MECHANISMS), help="only these")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    if not DATA.exists():
        parser.error(f"{DATA} is missing: the sets of the paper belong there")
    budget = QUICK if asked.quick else FULL
    kept = ROOT / "out" / "paper_quick.json" if asked.quick else FOLDER / "paper.json"
    kept.parent.mkdir(exist_ok=True)
    command = f"make paper{' QUICK=1' if asked.quick else ''}"
    facts: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    runs = [Run(**one) for one in facts.get("runs", [])] if facts.get("budget") == _plain(budget) else []
    done = {(run.set, run.rule, run.seed) for run in runs}
    wanted = [
        (name, rule, seed)
        for seed in range(budget.seeds)
        for name in budget.sets
        for rule in asked.rules or budget.rules
        if (name, rule, seed) not in done
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.workers, context, max_tasks_per_child=1) as pool, shown_progress("trainings") as bar:
        bar.expect(len(wanted))
        for future in as_completed([pool.submit(train, *one, budget) for one in wanted]):
            run = future.result()
            runs.append(run)
            bar.advance(1)
            print(f"{run.set:18s}{run.rule:18s}seed {run.seed}  MAE {run.mae:.4f}  {run.seconds:.0f} s", flush=True)
            facts = {**where_and_when(command), "budget": _plain(budget), "runs": [asdict(one) for one in runs]}
            kept.write_text(json.dumps(facts) + "\n")
    written = kept.with_suffix(".md") if asked.quick else ROOT / "docs" / "paper.md"
    written.write_text(page(runs, budget, command))
    print(written.read_text())


def _plain(budget: Budget) -> dict[str, Any]:
    """As JSON has it."""
    return dict(json.loads(json.dumps(asdict(budget))))


if __name__ == "__main__":
    main()
