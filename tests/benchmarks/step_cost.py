"""What a reading costs on one core, part by part, beside STID re-reading its window, in one run.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.step_cost [--sensors 1000] [--rounds 200]

A batch is one reading of each sensor, as live; then as many in runs, as when catching up. The model gives a mean and
three quantiles at 12 leads, STID one number; STID re-reads 12 readings of every sensor at every tick. The trained dress
has the default's network and, with weights at birth, those that know every sensor and hear the others: weights do not
change what they cost. Medians of rounds taken in turn, in time of the processor, so that other work on the machine
counts for less.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from recurrent_core.calendar import NUM_MEMORIES
from recurrent_core.compiling import door
from recurrent_core.models.elinformer.features import NUM_FEATURES
from recurrent_core.models.elinformer.kernel import doors
from recurrent_core.models.elinformer.kernel.calendar import clock
from recurrent_core.models.elinformer.kernel.fold import fold
from recurrent_core.models.elinformer.kernel.places import places_of, rates_of
from recurrent_core.models.elinformer.layout import NUM_LEADS
from recurrent_core.models.elinformer.made import Made
from recurrent_core.models.elinformer.model import PRIOR, Elinformer, Known
from recurrent_core.models.elinformer.networks import Networks
from recurrent_core.models.elinformer.series_net import SeriesNets
from recurrent_core.models.interface import Arrival, Groups, Runs
from recurrent_core.weights import load_model
from tests.benchmarks.results import save
from tests.benchmarks.stid import CHANNELS, NUM_INPUTS, Stid

CADENCE_S, WEEK_S = 300.0, 604_800.0
NUM_BEFORE = 400
"""Readings each sensor has had."""
GOAL_US = 30
Floats = NDArray[np.float64]


@door
def fold_alone(slab, slots, columns, p, k):  # type: ignore[no-untyped-def]
    """The state's share of `doors.advance`."""
    residuals = np.empty(NUM_MEMORIES)
    for i in range(len(slots)):
        at = clock(p, columns[2, i])
        fold(slab[slots[i]], p, k, at, columns[0, i], columns[1, i], columns[3, i], residuals)


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings to be carried through: slots [n], sorted, columns [4, n] as the doors want them, and times [n]."""

    slots: NDArray[np.int64]
    columns: Floats
    times_s: Floats

    @property
    def arrival(self) -> Arrival:
        """The same as tensors."""
        return Arrival(*map(torch.from_numpy, self.columns))

    @property
    def runs(self) -> Runs:
        """Every reading a wave of its own."""
        return Runs(self.slots, np.arange(1, len(self.slots) + 1))

    def groups(self, state: Floats) -> Groups:
        """All sensors in one group, heard tick by tick in the order of the slots; state: [floats]."""
        rank = np.empty(len(self.slots), np.int64)
        rank[np.lexsort((self.slots, self.times_s))] = np.arange(len(rank))
        return Groups(state[None].copy(), np.zeros(len(rank), np.int64), rank, self.times_s)


def batch_of(first: int, num_sensors: int, run: int) -> Batch:
    """Readings first ... first + run - 1 of each sensor, side by side: a season and noise."""
    slots = np.repeat(np.arange(num_sensors), run)
    numbers = first + np.tile(np.arange(run), num_sensors)
    noise = np.random.default_rng(first).normal(size=len(slots))
    values = 50.0 + 10.0 * np.sin(2 * np.pi * numbers / 288 + slots) + noise
    cadence_s = np.full(len(slots), CADENCE_S)
    times_s = numbers * CADENCE_S
    return Batch(slots, np.stack([values, cadence_s * (numbers > 0), cadence_s, times_s % WEEK_S]), times_s)


class Parts:
    """The parts of `sequence`, each to be timed by itself; what one leaves the next takes, as there."""

    def __init__(self, model: Elinformer, slab: torch.Tensor, batch: Batch) -> None:
        if model.network is None:
            raise ValueError("the model has no network, whose cost is asked")
        self.model, self.network, self.slab, self.batch = model, model.network, slab, batch
        self._p, self._k = places_of(model.layout, model.config), rates_of(model.config)
        self._prior = model.tensors[PRIOR].double().numpy()
        num = len(batch.slots)
        self._mix, self._error = np.empty((num, NUM_LEADS)), np.empty((num, NUM_LEADS))
        self._seen = np.empty((num, doors.NUM_SEEN))
        self._features = np.empty((num, NUM_FEATURES), np.float32)

    def fold(self) -> None:
        fold_alone(self.slab.numpy(), self.batch.slots, self.batch.columns, self._p, self._k)

    def advance(self, features: NDArray[np.float32]) -> None:
        made = (self._mix, self._error, self._seen, features)
        doors.advance(self.slab.numpy(), self.batch.slots, self.batch.columns, self._p, self._k, self._prior, *made)

    def mix(self) -> None:
        self.advance(self._features[:, :0])

    def mix_and_features(self) -> None:
        self.advance(self._features)

    def finish(self) -> None:
        scale, count, newest = (torch.from_numpy(self._seen[:, place]) for place in (0, 2, 6))
        mix, error = torch.from_numpy(self._mix), torch.from_numpy(self._error)
        series = torch.zeros(len(mix), dtype=torch.int64)
        features, rows = torch.from_numpy(self._features), torch.from_numpy(self.batch.slots)
        made = Made(mix, error, scale, count, newest, series, rows, torch.ones_like(scale), features)
        final = self.network.finish(made)
        sides = (final.candidates, final.lean, final.lower, final.upper)
        self._sides = [side.double().numpy() for side in sides]

    def settle(self) -> None:
        num = len(self.batch.slots)
        outputs = np.empty((num, NUM_LEADS)), np.empty((num, 3, NUM_LEADS))
        slab, values = self.slab.numpy(), self.batch.columns[0]
        doors.settle(slab, self.batch.slots, values, self._p, self._seen, *self._sides, *outputs)

    def whole(self) -> None:
        self.model.sequence(self.batch.arrival, self.batch.runs, self.slab, NUM_LEADS)


class Trained:
    """A trained dress after the same readings; `whole` carries a batch through."""

    def __init__(self, default: Elinformer, before: Batch, batch: Batch, num_sensors: int) -> None:
        known = Known(tuple(map(str, range(num_sensors))), "", CADENCE_S)
        nets = SeriesNets(num_sensors).eval().requires_grad_(False)
        if default.network is None:
            raise ValueError("the model has no network, whose cost is asked")
        self.model = Elinformer.untrained(known=known).with_networks(
            Networks(default.network, nets), "trained", "1", known
        )
        self.model.prepare(torch.device("cpu"))
        self.slab, group = self.model.init_state(num_sensors), before.groups(self.model.init_group())
        self.model.inscribe(self.slab, np.arange(1, num_sensors + 1))
        self.model.sequence(before.arrival, before.runs, self.slab, NUM_LEADS, group)
        self.batch, self._group, self._kept = batch, group.state[0], self.slab.clone()

    def renew(self) -> None:
        """Take back what the batch changed."""
        self.slab.copy_(self._kept)

    def whole(self) -> None:
        self.model.sequence(self.batch.arrival, self.batch.runs, self.slab, NUM_LEADS, self.batch.groups(self._group))


def stid_of(num_sensors: int) -> Callable[[], None]:
    """A tick of STID for so many sensors."""
    net = Stid(num_sensors).eval()
    windows = torch.randn(num_sensors, NUM_INPUTS, CHANNELS)
    slot_of_day, day = torch.full((num_sensors,), 100), torch.full((num_sensors,), 3)

    def tick() -> None:
        net(windows, slot_of_day, day)

    return tick


@torch.inference_mode()
def measure(num_sensors: int, run: int, rounds: int) -> dict[str, float]:
    """Microseconds a reading of each part, of the whole, and of STID a sensor and tick."""
    model = load_model("default")
    model.prepare(torch.device("cpu"))
    before, batch = batch_of(0, num_sensors, NUM_BEFORE), batch_of(NUM_BEFORE, num_sensors, run)
    slab = model.init_state(num_sensors)
    model.sequence(before.arrival, before.runs, slab, NUM_LEADS)
    parts, trained = Parts(model, slab, batch), Trained(model, before, batch, num_sensors)
    steps = (parts.fold, parts.mix, parts.mix_and_features, parts.finish, parts.settle, parts.whole)
    timed = {step.__name__: step for step in steps} | {"trained": trained.whole, "stid": stid_of(num_sensors * run)}
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    kept = slab.clone()
    for number in range(rounds + 3):
        for name, step in timed.items():
            if name not in ("finish", "settle"):
                slab.copy_(kept)
                trained.renew()
            began = time.thread_time()
            step()
            if number >= 3:
                seconds[name].append(time.thread_time() - began)
    each = {name: 1e6 * statistics.median(taken) / (num_sensors * run) for name, taken in seconds.items()}
    found = {
        "state": each["fold"],
        "read-outs and mix": each["mix"] - each["fold"],
        "features": each["mix_and_features"] - each["mix"],
        "network": each["finish"],
        "choice, intervals, 12 leads x 4": each["settle"],
    }
    found["in and out"] = each["whole"] - sum(found.values())
    return found | {"whole": each["whole"], "trained dress, whole": each["trained"], "stid": each["stid"]}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sensors", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=200)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    for num_sensors, run in ((asked.sensors, 1), (max(1, asked.sensors // 40), 40)):
        measured = measure(num_sensors, run, asked.rounds)
        found[f"{num_sensors} sensors, {run} readings each"] = {name: round(us, 2) for name, us in measured.items()}
        print(f"\n{num_sensors} sensors, {run} readings each, µs a reading   (goal {GOAL_US})")
        for name, us in measured.items():
            print(f"  {'STID, 12 readings again, 12 numbers' if name == 'stid' else name:38s}{us:7.2f}", flush=True)
    save("step_cost", "python -m tests.benchmarks.step_cost", {"microseconds_a_reading": found})


if __name__ == "__main__":
    main()
