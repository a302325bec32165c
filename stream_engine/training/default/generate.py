"""Makes histories of many kinds out of nothing, and new ones out of old, to train a model that serves any sensor.

I know nothing of models. Every history has one sensor, a cadence and regular times; NaN is a slot without a reading.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from stream_engine.training.material import Part

DAY_S, WEEK_S = 86400.0, 604800.0
CADENCES_S = (1.0, 10.0, 60.0, 300.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 3600.0, 7200.0, 21600.0, 86400.0, 86400.0)
Floats = NDArray[np.float64]


def one_sensor(name: str, values: Floats, times_s: Floats, cadence_s: float) -> Part:
    """A history of a single sensor; values, times_s: [rows]."""
    second_of_week = (times_s + 3 * DAY_S) % WEEK_S  # 1970-01-01 was a Thursday
    times_ns, rows = (times_s * 1e9).astype(np.int64), len(values)
    numbers = np.ones(1, np.int64)
    return Part(name, ("0",), numbers, times_ns, int(cadence_s * 1e9), second_of_week, values[:, None], rows, rows)


def generated(num: int, seed: int, rows: int = 3000) -> Iterator[Part]:
    """`num` series of `rows` rows: a base of one kind, seasons, shifts, noise, gaps, each by chance."""
    draw = np.random.default_rng(seed)
    for _ in range(num):
        cadence_s = float(draw.choice(CADENCES_S))
        times_s = np.floor(draw.uniform(0, 52)) * WEEK_S + draw.integers(0, 7) * DAY_S + cadence_s * np.arange(rows)
        kind = KINDS[draw.integers(len(KINDS))]
        values = kind(draw, times_s, cadence_s)
        if draw.random() < 0.3:
            values = values + _level_shifts(draw, rows) * _size(values)
        if draw.random() < 0.3:
            values = values + _one_of(draw, 0.02, 0.1, 0.3) * _size(values) * draw.standard_normal(rows)
        if draw.random() < 0.15:
            values = np.round(values / (step := _size(values) * _one_of(draw, 0.05, 0.2, 0.5))) * step
        values = values * 10.0 ** draw.uniform(-3, 4) + _one_of(draw, 0.0, 0.0, 1.0) * 10.0 ** draw.uniform(0, 4)
        if draw.random() < 0.3:
            values = _with_gaps(draw, values)
        yield one_sensor("generated", values, times_s, cadence_s)


def varied(part: Part, draw: np.random.Generator, rows: int = 6000) -> Part:
    """A new series made of a set: coarser, two sensors mixed, noisier, with gaps or shifts, backwards, or bent."""
    num = min(len(part.values), rows)
    start = int(draw.integers(len(part.values) - num + 1))
    block = slice(start, start + num)
    sensor, other = draw.integers(part.values.shape[1], size=2)
    values, times_s = part.values[block, sensor], part.times_ns[block] / 1e9
    cadence_s, choice = part.step_ns / 1e9, int(draw.integers(8))
    if choice == 0:
        step = int(_one_of(draw, 2, 3, 4, 6, 12))
        blocks = values[: num // step * step].reshape(-1, step)
        values = blocks.mean(axis=1) if draw.random() < 0.5 else blocks[:, 0]
        times_s, cadence_s = times_s[: num // step * step : step], cadence_s * step
    elif choice == 1:
        share = draw.uniform(0.3, 0.7)
        values = share * _standard(values) + (1 - share) * _standard(part.values[block, other])
    elif choice == 2:
        values = values + _one_of(draw, 0.1, 0.3) * _size(values) * draw.standard_normal(num)
    elif choice == 3:
        values = _with_gaps(draw, values)
    elif choice == 4:
        values = values + _level_shifts(draw, num) * _size(values)
    elif choice == 5:
        values = values[::-1]
    elif choice == 6:
        values = np.exp(_one_of(draw, -1.0, 1.0) * draw.uniform(0.3, 1.0) * np.clip(_standard(values), -4.0, 4.0))
    else:
        times_s = times_s + draw.integers(0, 168) * 3600.0
    return one_sensor(part.name, values, times_s, cadence_s)


def _one_of(draw: np.random.Generator, *options: float) -> float:
    return float(options[draw.integers(len(options))])


def _size(values: Floats) -> float:
    """The spread of the values, > 0."""
    spread = float(np.nanstd(values)) if np.isfinite(values).any() else 0.0
    return spread if spread > 0 else 1.0


def _standard(values: Floats) -> Floats:
    middle = np.nanmean(values) if np.isfinite(values).any() else 0.0
    return np.asarray((values - middle) / _size(values))


def _level_shifts(draw: np.random.Generator, rows: int) -> Floats:
    """Steps of 0.5-4 spreads at a few places."""
    steps = np.zeros(rows)
    for place in draw.integers(0, rows, draw.integers(1, 6)):
        steps[place:] += _one_of(draw, -1.0, 1.0) * draw.uniform(0.5, 4.0)
        if draw.random() < 0.3:
            steps[min(rows - 1, place + draw.integers(5, 100)) :] = 0.0
    return steps


def _with_gaps(draw: np.random.Generator, values: Floats) -> Floats:
    """Single readings missing at random, and a few longer gaps."""
    gappy = np.where(draw.random(len(values)) < _one_of(draw, 0.0, 0.02, 0.1, 0.3), np.nan, values)
    for place in draw.integers(0, len(values), draw.integers(0, 5)):
        gappy[place : place + draw.integers(2, 200)] = np.nan
    return gappy


def _autoregression(draw: np.random.Generator, rows: int, memory: float, tails: float = 0.0) -> Floats:
    """x_t = memory x_{t-1} + noise; heavy tails by Student's t with `tails` degrees of freedom."""
    noise = draw.standard_t(tails, rows) if tails else draw.standard_normal(rows)
    values, last = np.empty(rows), 0.0
    for t in range(rows):
        last = memory * last + noise[t]
        values[t] = last
    return values


def _shape(draw: np.random.Generator, turns: Floats, harmonics: int) -> Floats:
    """A smooth random function of period 1."""
    total = np.zeros_like(turns)
    for h in range(1, harmonics + 1):
        total += draw.standard_normal() / h * np.sin(2 * np.pi * (h * turns + draw.random()))
    return total


def _season(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """Day (week for slow series), weekend and week."""
    day_s = WEEK_S if cadence_s >= 64800 else DAY_S
    total = _shape(draw, times_s / day_s, int(draw.integers(1, 9)))
    if draw.random() < 0.5:
        is_weekend = (times_s // DAY_S + 3) % 7 >= 5
        total = np.where(is_weekend, _shape(draw, times_s / day_s, 4) * draw.uniform(0.2, 1.0), total)
    if draw.random() < 0.3:
        total = total + 0.5 * _shape(draw, times_s / WEEK_S, 3)
    return np.asarray(total)


def _walk(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    tails = _one_of(draw, 0.0, 0.0, 3.0)
    return _autoregression(draw, len(times_s), 1.0, tails) + _one_of(draw, 0.0, 0.02) * np.arange(len(times_s))


def _steady_walk(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    return _autoregression(draw, len(times_s), _one_of(draw, 0.5, 0.9, 0.97, 0.995), _one_of(draw, 0.0, 3.0))


def _seasonal(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    rows = len(times_s)
    noise = _autoregression(draw, rows, _one_of(draw, 0.0, 0.5, 0.9, 0.98), _one_of(draw, 0.0, 4.0))
    season = _season(draw, times_s, cadence_s)
    growth = np.exp(_autoregression(draw, rows, 0.999) * 0.005) if draw.random() < 0.3 else 1.0
    return (
        season * growth
        + _one_of(draw, 0.05, 0.15, 0.4) * noise / _size(noise)
        + _one_of(draw, 0, 1e-4) * np.arange(rows)
    )


def _regimes(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """Switches between two or three levels with noise of their own."""
    levels, sizes = draw.normal(size=3) * 3, draw.uniform(0.05, 1.0, 3)
    state, stay = 0, 1.0 - 1.0 / _one_of(draw, 20, 100, 400)
    path = np.empty(len(times_s), np.int64)
    for t in range(len(times_s)):
        state = state if draw.random() < stay else int(draw.integers(3))
        path[t] = state
    return levels[path] + sizes[path] * draw.standard_normal(len(times_s))


def _intermittent(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """Counts that are mostly zero."""
    rate = _one_of(draw, 0.05, 0.3, 1.0, 5.0) * np.exp(0.7 * _season(draw, times_s, cadence_s))
    return draw.poisson(np.clip(rate, 0, 1e4)).astype(np.float64)


def _bounded(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """A share between 0 and 1 that touches its bounds."""
    return np.clip(0.5 + 0.4 * _seasonal(draw, times_s, cadence_s), 0.0, 1.0)


def _spiky(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    rows = len(times_s)
    spikes = (draw.random(rows) < _one_of(draw, 0.005, 0.03)) * draw.pareto(2.0, rows) * 5.0
    return _steady_walk(draw, times_s, cadence_s) / 5.0 + spikes


def _swinging(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """A season of the machine's own, of no length the calendar knows."""
    ticks = np.arange(len(times_s))
    swing = _shape(draw, ticks / draw.uniform(6, 200), 4)
    return swing + _one_of(draw, 0.05, 0.2) * _autoregression(draw, len(ticks), 0.8)


def _by_day(draw: np.random.Generator, times_s: Floats, memory: float) -> Floats:
    """Of each day a number of its own, that keeps some of the day before."""
    days = (times_s // DAY_S - times_s[0] // DAY_S).astype(np.int64)
    numbers = _autoregression(draw, int(days[-1]) + 1, memory) * np.sqrt(1.0 - memory**2)
    return np.asarray(numbers[days])


def _volume(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """Counts or loads above zero: season, days and noise multiply each other."""
    noise = _autoregression(draw, len(times_s), _one_of(draw, 0.0, 0.5, 0.9, 0.98))
    days = _one_of(draw, 0.05, 0.2, 0.4) * _by_day(draw, times_s, _one_of(draw, 0.0, 0.7))
    logs = draw.uniform(0.3, 1.2) * _season(draw, times_s, cadence_s) + days
    volume = np.exp(np.clip(logs + _one_of(draw, 0.05, 0.15, 0.4) * noise / _size(noise), -6.0, 6.0))
    return np.asarray(draw.poisson(volume * _one_of(draw, 3, 30, 300)) if draw.random() < 0.5 else volume, np.float64)


def _congested(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """A free speed, with dips about certain hours whose depth and time differ from day to day."""
    hours, speed = times_s % DAY_S / 3600.0, np.full(len(times_s), 1.0)
    is_weekend = (times_s // DAY_S + 3) % 7 >= 5
    for _ in range(int(draw.integers(1, 4))):
        middle = draw.uniform(5, 21) + draw.uniform(0.1, 0.8) * _by_day(draw, times_s, 0.0)
        depth = np.clip(draw.uniform(0.1, 0.6) + draw.uniform(0.05, 0.3) * _by_day(draw, times_s, 0.3), 0.0, 0.85)
        dip = depth * np.exp(-0.5 * ((hours - middle) / draw.uniform(0.3, 2.0)) ** 2)
        speed = speed * (1.0 - dip * np.where(is_weekend, draw.uniform(0.0, 1.0), 1.0))
    noise = _autoregression(draw, len(times_s), _one_of(draw, 0.0, 0.6, 0.9))
    return speed + _one_of(draw, 0.01, 0.03, 0.1) * noise / _size(noise)


def _switched(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """Something that is on for certain hours, not every day, and slow or quick to follow."""
    hours, is_weekend = times_s % DAY_S / 3600.0, (times_s // DAY_S + 3) % 7 >= 5
    begin = draw.uniform(0, 14) + draw.uniform(0.0, 1.0) * _by_day(draw, times_s, 0.0)
    end = begin + draw.uniform(2, 10) + draw.uniform(0.0, 1.0) * _by_day(draw, times_s, 0.0)
    is_on = (hours >= begin) & (hours < end) & ~(is_weekend & (draw.random() < 0.7))
    target, rate = is_on * (1.0 + draw.uniform(0.0, 0.3) * _by_day(draw, times_s, 0.5)), _one_of(draw, 0.05, 0.3, 1.0)
    values, last = np.empty(len(times_s)), 0.0
    for t, wanted in enumerate(target.tolist()):
        last += rate * (wanted - last)
        values[t] = last
    return values + _one_of(draw, 0.01, 0.05, 0.2) * draw.standard_normal(len(values))


def _decaying(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """Events at random, more at some hours, each of which fades."""
    rate = _one_of(draw, 0.01, 0.05, 0.3) * np.exp(np.clip(0.7 * _season(draw, times_s, cadence_s), -4.0, 2.0))
    shots = (draw.random(len(times_s)) < rate) * draw.gamma(1.0, 1.0, len(times_s))
    fade, values, last = _one_of(draw, 0.7, 0.9, 0.98), np.empty(len(times_s)), 0.0
    for t, shot in enumerate(shots.tolist()):
        last = fade * last + shot
        values[t] = last
    return values + _one_of(draw, 0.0, 0.05) * draw.standard_normal(len(values))


def _volatile(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """A walk, or one that returns slowly, whose steps are calm and wild by turns."""
    rows = len(times_s)
    size = np.exp(np.clip(_autoregression(draw, rows, 0.99) * _one_of(draw, 0.05, 0.15), -3.0, 3.0))
    values, last, memory = np.empty(rows), 0.0, _one_of(draw, 1.0, 1.0, 0.99)
    for t, step in enumerate((size * draw.standard_normal(rows)).tolist()):
        last = memory * last + step
        values[t] = last
    return values


def _held(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """Something that stands still until it moves: told on change, set by hand, or pegged."""
    rows = len(times_s)
    source = _walk(draw, times_s, cadence_s) if draw.random() < 0.5 else _seasonal(draw, times_s, cadence_s)
    is_moved = draw.random(rows) < _one_of(draw, 0.003, 0.02, 0.1, 0.3)
    return np.asarray(source[np.maximum.accumulate(np.where(is_moved, np.arange(rows), 0))])


def _several(draw: np.random.Generator, times_s: Floats, cadence_s: float) -> Floats:
    """Seasons of the calendar and one of its own, on a level that drifts."""
    drift = _autoregression(draw, len(times_s), _one_of(draw, 0.99, 1.0))
    return (
        _season(draw, times_s, cadence_s)
        + draw.uniform(0.2, 1.0) * _swinging(draw, times_s, cadence_s)
        + _one_of(draw, 0.0, 0.5, 2.0) * drift / _size(drift)
    )


Kind = Callable[[np.random.Generator, Floats, float], Floats]
KINDS: tuple[Kind, ...] = (
    _walk,
    _walk,
    _steady_walk,
    _seasonal,
    _seasonal,
    _seasonal,
    _regimes,
    _intermittent,
    _bounded,
    _spiky,
    _swinging,
    _volume,
    _volume,
    _congested,
    _switched,
    _decaying,
    _volatile,
    _several,
    _held,
    _held,
)
