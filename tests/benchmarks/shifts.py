"""What the shipped model does when a series shifts its level: coverage, width and status, on made and on real shifts.

    python -m tests.benchmarks.shifts [--no-save]

A shift is a step of 4 to 8 noise deviations that stays. Counted are the forecasts *made at* the readings from the first
shifted one on (what comes true within a shift but was said before it nobody could know), all leads together. I know
nothing of a model's inside.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from recurrent_core.models.interface import Arrival, Runs, StreamingModel
from recurrent_core.weights import load_model
from tests.benchmarks.grids import DAY_S, NUM_LEADS, WEEK_S, Grid, loader, read_grid
from tests.benchmarks.results import save

Floats = NDArray[np.float64]
CADENCES_S = (60.0, 300.0, 900.0, 3600.0)
WARM_UP = 300
ROWS = 900
"""Readings of a made series."""
AFTER = {"1st-12th": (0, 12), "13th-60th": (12, 60), "61st-250th": (60, 250)}
"""Origins that are counted together, by their number from the first shifted reading."""
BEFORE = (-60, -NUM_LEADS)
"""Origins whose forecasts are over when the level shifts."""
SOON = 12
"""Readings within which a drift should be told."""
SEEN_BEFORE = 3000
"""Readings of a real series that the model is told before its shift, at most."""
MOST_OF_A_SET = 40
"""Shifts taken of one set, evenly spaced among those found."""


@dataclass(frozen=True, slots=True)
class Series:
    """One sensor's readings at a steady cadence, NaN where there is none.

    Attributes:
        kind: those of one kind are counted together.
        shift: place of the first shifted reading; in a control the place that is looked at, nothing happens there.
    """

    kind: str
    values: Floats
    cadence_s: float
    first_second: float
    shift: int


@dataclass(frozen=True, slots=True)
class Told:
    """What the model said after each reading: quantiles [rows, 3, leads], NaN without a reading; drifting [rows]."""

    quantiles: Floats
    is_drifting: NDArray[np.bool_]


def made(num: int, seed: int, is_shifted: bool = True) -> Iterator[Series]:
    """`num` series of each kind and cadence, each shifted once, up or down, at a random place after the warm-up."""
    draw = np.random.default_rng(seed)
    for cadence_s in CADENCES_S:
        for kind in ("level", "autoregression", "daily season"):
            for _ in range(num):
                values = draw.normal(size=ROWS)
                if kind == "autoregression":
                    for t in range(1, ROWS):
                        values[t] = 0.8 * values[t - 1] + 0.6 * values[t]
                first = float(draw.integers(0, 7)) * DAY_S
                if kind == "daily season":
                    turns = (first + cadence_s * np.arange(ROWS)) / DAY_S + draw.random()
                    values += draw.uniform(3, 8) * np.sin(2 * np.pi * turns) + 2 * np.sin(4 * np.pi * turns)
                shift = int(draw.integers(WARM_UP, ROWS - AFTER["61st-250th"][1] - NUM_LEADS))
                size = draw.choice((-1.0, 1.0)) * draw.uniform(4, 8)
                values[shift:] += size * is_shifted
                yield Series(kind, 50.0 + 3.0 * values, cadence_s, first, shift)


def found(grid: Grid, most: int = MOST_OF_A_SET) -> list[Series]:
    """Shifts in a real set, by a rule that no model has a part in.

    r is the reading minus the median of the readings of the last seven days at its time of day (of the last seven
    weeks at its weekday where the cadence is a day); the noise deviation is 1.48 times the median |r - its median| of
    the 300 ticks before. There is a shift where all of the 24 readings before lie within 2.5 deviations of their median
    m, the next one lies 4 or more from m, and so do the medians of each of the six dozens that begin with it, to the
    same side. Another is looked for 100 ticks later.
    """
    places: list[tuple[int, int]] = []
    for sensor in range(grid.readings.shape[1]):
        values = grid.truths[:-NUM_LEADS, sensor]
        rest = values - _usual(values, grid.season_ticks)
        free_from = WARM_UP
        for tick in _jumps(rest).tolist():
            if free_from <= tick and _is_shift(rest, tick):
                places.append((sensor, tick))
                free_from = tick + 100
    chosen = np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int))
    return [_cut(grid, *places[n]) for n in chosen]


def _usual(values: Floats, season: int) -> Floats:
    """The median of the last seven readings of the same phase, [ticks], NaN where there is none."""
    padded = np.concatenate([np.full(7 * season, np.nan), values])
    turns = np.stack([padded[k * season : k * season + len(values)] for k in range(7)])
    usual = np.full(len(values), np.nan)
    is_known = ~np.isnan(turns).all(axis=0)
    usual[is_known] = np.nanmedian(turns[:, is_known], axis=0)
    return usual


def _jumps(rest: Floats) -> NDArray[np.int64]:
    """Ticks that may be shifts: the jump is at least 4 / 2.5 times as long as any of the 24 ticks before is away."""
    before = sliding_window_view(rest, 24)[:-1]
    middle = np.median(before, axis=1)
    jump = np.abs(rest[24:] - middle)
    return 24 + np.flatnonzero((jump > 0) & (jump >= 1.6 * np.abs(before - middle[:, None]).max(axis=1)))


def _is_shift(rest: Floats, tick: int) -> bool:
    """The rule of `found`, at one tick."""
    before, past, after = rest[tick - 24 : tick], rest[tick - WARM_UP : tick], rest[tick : tick + 72]
    if len(after) < 72 or np.isnan(before).any() or np.isnan(after).any():
        return False
    deviation = 1.48 * np.nanmedian(np.abs(past - np.nanmedian(past)))
    middle = np.median(before)
    jump = after[0] - middle
    dozens = np.sign(jump) * (np.median(after.reshape(6, 12), axis=1) - middle)
    is_calm = np.abs(before - middle).max() <= 2.5 * deviation
    return bool(is_calm and deviation > 0 and min(abs(jump), dozens.min()) >= 4 * deviation)


def _cut(grid: Grid, sensor: int, tick: int) -> Series:
    """The readings around a shift."""
    start = max(0, tick - SEEN_BEFORE)
    first = (grid.times_s[0] + 3 * DAY_S + start * grid.cadence_s) % WEEK_S  # 1970-01-01 was a Thursday
    values = grid.truths[start : tick + AFTER["61st-250th"][1] + NUM_LEADS, sensor]
    return Series(f"real: {grid.name}", values, grid.cadence_s, float(first), tick - start)


def tell(model: StreamingModel, series: Sequence[Series]) -> list[Told]:
    """What the model said after each reading of every series, each from an empty state."""
    state, rows = model.init_state(len(series)), max(len(one.values) for one in series)
    told = [
        Told(np.full((len(one.values), 3, NUM_LEADS), np.nan), np.zeros(len(one.values), np.bool_)) for one in series
    ]
    last = np.full(len(series), -1)
    for row in range(rows):
        slots = np.array([n for n, one in enumerate(series) if row < len(one.values) and np.isfinite(one.values[row])])
        if not len(slots):
            continue
        cadence_s = np.array([series[n].cadence_s for n in slots])
        columns = (
            np.array([series[n].values[row] for n in slots]),
            np.where(last[slots] < 0, 0.0, (row - last[slots]) * cadence_s),
            cadence_s,
            np.array([(series[n].first_second + row * series[n].cadence_s) % WEEK_S for n in slots]),
        )
        arrival = Arrival(*(torch.from_numpy(column) for column in columns))
        outlook = model.sequence(arrival, Runs(slots, np.array([len(slots)])), state, NUM_LEADS)
        last[slots] = row
        for place, n in enumerate(slots.tolist()):
            told[n].quantiles[row] = outlook.quantiles[place].numpy()
            told[n].is_drifting[row] = bool(outlook.is_drifting[place])
    return told


def inside(one: Series, told: Told, origins: tuple[int, int]) -> Floats:
    """Whether truths lie within the 80 % interval, [origins, leads], NaN without a truth; origins from the shift on."""
    rows = np.arange(one.shift + origins[0], min(one.shift + origins[1], len(one.values) - NUM_LEADS))
    truths = one.values[rows[:, None] + np.arange(1, NUM_LEADS + 1)]
    said = told.quantiles[rows]
    is_scored = ~(np.isnan(truths) | np.isnan(said[:, 1]))
    return np.where(is_scored, (truths >= said[:, 0]) & (truths <= said[:, 2]), np.nan)


def _width(one: Series, told: Told, origins: tuple[int, int]) -> float:
    """The mean width of the 80 % interval over that before the shift."""

    def mean(first: int, end: int) -> float:
        said = told.quantiles[one.shift + first : one.shift + end]
        return float(np.nanmean(said[:, 2] - said[:, 0]))

    return mean(*origins) / max(mean(*BEFORE), 1e-30)


def measure(series: Sequence[Series], told: Sequence[Told]) -> dict[str, float]:
    """Coverage and width by stretch of origins, and the status `drift`: how often told, how soon, how long."""
    pairs = list(zip(series, told, strict=True))
    seen: dict[str, float] = {"shifts": len(series)}
    for name, origins in {"before": BEFORE, **AFTER}.items():
        seen[f"coverage {name}"] = float(np.nanmean(np.concatenate([inside(*pair, origins) for pair in pairs])))
        seen[f"width {name}"] = float(np.median([_width(*pair, origins) for pair in pairs]))
    flags = [told.is_drifting[one.shift :] for one, told in pairs]
    delays = [int(flag.argmax()) + 1 for flag in flags if flag[:SOON].any()]
    seen["told within 12"] = len(delays) / len(series)
    seen["readings until told"] = float(np.median(delays)) if delays else float("nan")
    seen["readings told"] = float(np.median([flag.sum() for flag in flags]))
    before = np.concatenate([told.is_drifting[WARM_UP // 2 : one.shift] for one, told in pairs])
    seen["drifting before"] = float(before.mean())
    return seen


def by_kind(series: Sequence[Series], told: Sequence[Told]) -> dict[str, dict[str, float]]:
    """`measure` of every kind and of all."""
    kinds = list(dict.fromkeys(one.kind for one in series))
    results = {}
    for kind in (*kinds, "all") if len(kinds) > 1 else kinds:
        chosen = [n for n, one in enumerate(series) if kind in (one.kind, "all")]
        results[kind] = measure([series[n] for n in chosen], [told[n] for n in chosen])
    return results


def table(results: dict[str, dict[str, float]]) -> str:
    """The results as lines of text."""
    names = list(next(iter(results.values())))
    width = max(map(len, names))
    lines = []
    for kind, numbers in results.items():
        lines.append(f"{kind}: {int(numbers['shifts'])}")
        lines += [f"  {name:{width}s} {numbers[name]:8.3f}" for name in names[1:]]
    return "\n".join(lines)


def real_shifts() -> list[Series]:
    """Shifts of every set of the shared data."""
    return [one for name in loader().names() for one in found(read_grid(name, max_sensors=32))]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a shipped artifact's name or a folder")
    parser.add_argument("--each", type=int, default=25, help="made series of each kind and cadence")
    parser.add_argument("--no-save", action="store_true")
    asked = parser.parse_args()
    model = load_model(asked.model)
    measured: dict[str, object] = {}
    for name, series in (
        ("made", list(made(asked.each, seed=11))),
        ("made, nothing shifts", list(made(asked.each, seed=12, is_shifted=False))),
        ("real", real_shifts()),
    ):
        results = by_kind(series, tell(model, series))
        print(f"== {name}\n{table(results)}", flush=True)
        measured[name] = {
            kind: {key: round(x, 4) for key, x in numbers.items() if not np.isnan(x)}
            for kind, numbers in results.items()
        }
    if not asked.no_save:
        save("shifts", "python -m tests.benchmarks.shifts", measured)


if __name__ == "__main__":
    main()
