"""One training of the windowed model from a table file to an artifact, to compare rules of attention by.

I know nothing of the command line. Same file, options and seed: the same artifact, also after a kill in between.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurrent_core.models.elinformer_window.model import NUM_IN, NUM_OUT, ElinformerWindow
from recurrent_core.weights import WINDOW, save_window
from stream_engine import __version__
from stream_engine.errors import ConfigError
from stream_engine.training.keep import Keeper
from stream_engine.training.material import Part, read_parts
from stream_engine.training.run import TrainPlan, Watcher, data_fingerprint, fingerprint
from stream_engine.training.window import Effort, Windows, absolute_errors, fit, whole_starts

RULE, STEPS = "entropy_equality", 4000
NUM_EPOCHS = 15
"""Looks at the windows that choose."""
MOST_CHOOSING = 300
"""Windows looked at each time, evenly spaced."""


def run_window_training(
    plan: TrainPlan, watcher: Watcher | None = None, device: torch.device | None = None
) -> dict[str, Any]:
    """Train and write the artifact; returns the facts of its card.

    Args:
        plan: of one file; `regimen.attention` names one rule, `lengths` one number of steps.
    Raises:
        ConfigError, TableError: the plan does not fit the data, or --out holds another run's progress.
    """
    torch.set_num_threads(plan.threads)
    watcher, device = watcher or Watcher(), device or torch.device("cpu")
    if len(plan.paths) != 1 or len(plan.regimen.attention) != 1:
        raise ConfigError(
            f"--model {WINDOW} learns from one file by one rule of attention, got {len(plan.paths)} files and "
            f"{len(plan.regimen.attention)} rules; give one of each, or train without --model"
        )
    (rule,), (steps,) = plan.regimen.attention, plan.lengths
    ElinformerWindow(1, rule)  # refused before the file is read
    (part,) = read_parts(plan.paths, plan.choice, plan.cuts, plan.calendar)
    windows = Windows.of(part.values, part.second_of_week, part.train_end, NUM_IN, NUM_OUT)
    fitted, choosing = _split(part)
    few = choosing[:: max(1, len(choosing) // MOST_CHOOSING)]
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        net = ElinformerWindow(len(part.sensors), rule)
    net.mean.copy_(windows.mean)
    net.std.copy_(windows.std)
    windows, net = windows.to(device), net.to(device)
    keeper = Keeper(plan.out, hashlib.sha256(f"{WINDOW} {fingerprint(plan, (part,))}".encode()).hexdigest())
    watcher.begin("learn", steps)
    watcher.advance(int(keeper.load()[0].get("step", 0)))

    def told(_: int, loss: float) -> None:
        watcher.advance(1)
        watcher.tell(f"loss {loss:.4f}")

    trained = fit(net, windows, (fitted, few), Effort(steps, NUM_EPOCHS, plan.seed), told, keeper)
    facts = {
        "trained_on": [part.name],
        "data_fingerprint": data_fingerprint((part,)),
        "num_sensors": len(part.sensors),
        "rows": {part.name: {"train_end": part.train_end, "valid_end": part.valid_end}},
        "calendar": plan.calendar.to_dict(),
        "seed": plan.seed,
        "attention": rule,
        "steps": steps,
        "validation_mae": [round(score, 6) for score in trained.valid_mae],
        "scores": {part.name: scores_of(net, windows, choosing)},
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "made_with": {"stream_engine": __version__, "torch": torch.__version__.split("+")[0]},
    }
    save_window(net.cpu(), part.sensors, plan.out, plan.name, facts)
    keeper.clear()
    return facts


def _split(part: Part) -> tuple[Tensor, Tensor]:
    """First rows of the windows to fit and of those that choose, whose targets lie before and after train_end."""
    ticks = (part.times_ns - part.times_ns[0] + part.step_ns // 2) // part.step_ns
    size = NUM_IN + NUM_OUT
    fitted = whole_starts(ticks, 0, part.train_end - size, size)
    choosing = whole_starts(ticks, part.train_end - NUM_IN, part.valid_end - size, size)
    for option, starts in (("before --train-end", fitted), ("from --train-end to --valid-end", choosing)):
        if not len(starts):
            raise ConfigError(f"{part.name} has no {size} rows in a row {option}; give more history, or move the cuts")
    return fitted, choosing


def scores_of(net: ElinformerWindow, windows: Windows, starts: Tensor) -> dict[str, dict[str, float]]:
    """MAE and RMSE over the cells of these windows, of the network and of the last reading."""
    said = absolute_errors(net, windows, starts).cpu().double().numpy()
    last = windows.last_values[starts + NUM_IN - 1].unsqueeze(1)
    held = (last - windows.targets(starts)).abs().cpu().double().numpy()
    return {
        name: {
            "mae": float(np.nanmean(errors)),
            "rmse": float(np.sqrt(np.nanmean(np.square(errors)))),
            "count": int(np.isfinite(errors).sum()),
        }
        for name, errors in (("model", said), ("persistence", held))
    }
