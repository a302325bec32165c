"""The plots of the page: errors by lead, hour and time, calibration, fans, and how sensors are spread.

I know nothing of the page around them; colours are classes c0 (the model) to c7.
"""

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np

from stream_engine.backtest.report.fans import Stretch
from stream_engine.backtest.report.found import Found
from stream_engine.backtest.report.svg import Plot, nice_ticks
from stream_engine.backtest.report.times import time_ticks
from stream_engine.backtest.report.wording import days, number, percent
from stream_engine.records import QUANTILE_LEVELS, Float64s

SIZE = (470, 270)
WIDE = (960, 250)

_MOST_DOTS = 30

Lines = Mapping[str, Float64s]
"""Class of a line's colour -> its values; c0 is the model's."""


def by_number(lines: Lines, xs: Sequence[int], x_title: str, label: str) -> str:
    """Errors or ratios over leads or hours; lines are named by the class of their colour.

    Without a line c0, the model's, they are ratios to it, and there is a rule at 1.
    """
    are_ratios = "c0" not in lines
    top = _top({**lines, "": np.ones(1)} if are_ratios else lines)
    plot = _numbered_plot(label, xs, (0.0, top[-1]), x_title)
    plot.y_axis(top)
    if are_ratios:
        plot.rule(1.0)
    for css, values in reversed(list(lines.items())):
        says = [f"{x_title} {x}: {number(value)}" for x, value in zip(xs, values.tolist(), strict=True)]
        _draw(plot, xs, values, css, says if are_ratios or css == "c0" else ())
    return plot.svg()


def over_time(lines: Lines, times_ns: Sequence[int], timezone: ZoneInfo, label: str) -> str:
    """Errors along time."""
    top = _top(lines)
    plot = _time_plot(label, times_ns, (0.0, top[-1]), timezone)
    plot.y_axis(top)
    for css, values in reversed(list(lines.items())):
        plot.line(np.array(times_ns, np.float64), values, css)
    return plot.svg()


def coverage_over_time(coverage: Float64s, times_ns: Sequence[int], timezone: ZoneInfo, label: str) -> str:
    """Share of truths within the 80 % interval along time."""
    ticks = _share_ticks(coverage)
    plot = _time_plot(label, times_ns, (ticks[0], 1.0), timezone)
    plot.y_axis(ticks, [percent(one, 0) for one in ticks])
    plot.rule(0.8)
    plot.line(np.array(times_ns, np.float64), coverage, "c0")
    return plot.svg()


def quantiles_by_lead(shares: Float64s, label: str) -> str:
    """Share of truths below each quantile, [levels, horizon]."""
    leads = list(range(1, shares.shape[1] + 1))
    plot = _numbered_plot(label, leads, (0.0, 1.0), "lead")
    ticks = [0.0, *QUANTILE_LEVELS, 1.0]
    plot.y_axis(ticks, [percent(one, 0) for one in ticks])
    for n, level in enumerate(QUANTILE_LEVELS):
        plot.rule(level)
        says = [f"lead {x}: {percent(share)} below the {level} quantile" for x, share in enumerate(shares[n], 1)]
        _draw(plot, leads, shares[n], "c0", says)
    return plot.svg()


def coverage_by(coverage: Float64s, xs: Sequence[int], x_title: str, label: str) -> str:
    """Share of truths within the 80 % interval over leads or hours, [xs]."""
    ticks = _share_ticks(coverage)
    plot = _numbered_plot(label, xs, (ticks[0], 1.0), x_title)
    plot.y_axis(ticks, [percent(one, 0) for one in ticks])
    plot.rule(0.8)
    says = [f"{x_title} {x}: {percent(share)} within" for x, share in zip(xs, coverage.tolist(), strict=True)]
    _draw(plot, xs, coverage, "c0", says)
    return plot.svg()


def spread(ratios: Float64s, label: str, title: str) -> str:
    """How many sensors have which ratio; all above 2 stand in the last bar."""
    edges = np.linspace(0.0, 2.0, 41)
    counts, _ = np.histogram(np.clip(ratios[np.isfinite(ratios)], 0.0, 1.999), edges)
    ticks = [tick for tick in nice_ticks(0.0, float(counts.max()), 4) if tick == round(tick)]
    plot = Plot(label, (0.0, 2.0), (0.0, ticks[-1]), WIDE)
    plot.y_axis(ticks)
    for n in np.flatnonzero(counts).tolist():
        low, high = float(edges[n]), float(edges[n + 1])
        css = "c0" if high <= 1.0 + 1e-9 else "worse"
        plot.bar(low, high, float(counts[n]), css, f"{low:.2f} to {high:.2f}: {counts[n]} sensors")
    plot.post(1.0, "rule")
    plot.x_axis([0.0, 0.5, 1.0, 1.5, 2.0], ["0", "0.5", "1", "1.5", "2+"], title)
    return plot.svg()


def fan_chart(stretch: Stretch, timezone: ZoneInfo, label: str) -> str:
    """Readings, and the forecasts laid over them end to end."""
    fans = stretch.fans
    first_ns = min(int(stretch.times_ns[0]) if len(stretch.times_ns) else fans[0].origin_ns, fans[0].origin_ns)
    last_ns = int(fans[-1].times_ns[-1])
    kept = [stretch.values, *(np.concatenate([fan.low, fan.high, fan.median]) for fan in fans)]
    low, high = float(np.min(np.concatenate(kept))), float(np.max(np.concatenate(kept)))
    ticks = nice_ticks(low, high, 4)
    plot = _time_plot(label, [first_ns, last_ns], (ticks[0], ticks[-1]), timezone, WIDE, 10)
    plot.y_axis(ticks)
    for fan in fans:
        if len(fans) <= _MOST_DOTS:
            plot.post(float(fan.origin_ns))
        known = _value_at(stretch, fan.origin_ns)
        start_ns, start = ([], []) if known is None else ([float(fan.origin_ns)], [known])
        xs = np.concatenate([start_ns, fan.times_ns.astype(np.float64)])
        joined = [np.concatenate([start, one]) for one in (fan.low, fan.high, fan.median)]
        plot.band(xs, joined[0], joined[1], "c0")
        plot.line(xs, joined[2], "c0 thin")
    plot.line(
        *_with_gaps(stretch, int(np.median(np.diff(stretch.times_ns))) if len(stretch.times_ns) > 1 else 1), "truth"
    )
    return plot.svg()


def spell_middles(found: Found) -> list[int]:
    """The middle of each spell of the breakdown."""
    spells = found.breakdown.timespan
    return [spells.first_ns + n * spells.width_ns + spells.width_ns // 2 for n in range(spells.num)]


def _draw(plot: Plot, xs: Sequence[int], values: Float64s, css: str, says: Sequence[str]) -> None:
    """A line with dots that say something, where they are not too many."""
    places = np.array(xs, np.float64)
    plot.line(places, values, css)
    if says and len(xs) <= _MOST_DOTS:
        plot.dots(places, values, css, says)


def _numbered_plot(label: str, xs: Sequence[int], y: tuple[float, float], x_title: str) -> Plot:
    plot = Plot(label, (min(xs), max(max(xs), min(xs) + 1)), y, SIZE)
    shown = _some(xs)
    plot.x_axis([float(x) for x in shown], [str(x) for x in shown], x_title)
    return plot


def _time_plot(
    label: str,
    times_ns: Sequence[int],
    y: tuple[float, float],
    timezone: ZoneInfo,
    size: tuple[int, int] = SIZE,
    most: int = 6,
) -> Plot:
    first_ns, last_ns = min(times_ns), max(max(times_ns), min(times_ns) + 1)
    plot = Plot(label, (float(first_ns), float(last_ns)), y, size)
    ticks, texts = time_ticks(first_ns, last_ns, timezone, most)
    plot.x_axis([float(one) for one in ticks], texts, days(first_ns, last_ns, timezone))
    return plot


def _value_at(stretch: Stretch, time_ns: int) -> float | None:
    n = int(np.searchsorted(stretch.times_ns, time_ns))
    return float(stretch.values[n]) if n < len(stretch.times_ns) and stretch.times_ns[n] == time_ns else None


def _with_gaps(stretch: Stretch, step_ns: int) -> tuple[Float64s, Float64s]:
    """The readings, with a NaN between those more than a few steps apart."""
    after = np.flatnonzero(np.diff(stretch.times_ns) > 3 * step_ns) + 1
    times = np.insert(stretch.times_ns.astype(np.float64), after, stretch.times_ns[after - 1] + 1.0)
    return times, np.insert(stretch.values, after, np.nan)


def _top(lines: Lines) -> list[float]:
    values = np.concatenate([np.asarray(one, np.float64) for one in lines.values()])
    finite = values[np.isfinite(values)]
    return nice_ticks(0.0, float(finite.max()) if len(finite) else 1.0)


def _share_ticks(shares: Float64s) -> list[float]:
    """From below the least share, at most 60 %, up to 1 in tenths or wider."""
    finite = shares[np.isfinite(shares)]
    low = min(0.6, float(np.floor(finite.min() * 10 + 1e-9) / 10)) if len(finite) else 0.6
    step = 0.1 if low >= 0.4 else 0.2
    return [round(1.0 - n * step, 1) for n in range(int(np.ceil((1.0 - low) / step - 1e-9)), -1, -1)]


def _some(xs: Sequence[int]) -> list[int]:
    """At most about 13 of these numbers, evenly spaced."""
    step = next(step for step in (1, 2, 3, 4, 6, 12, 24, 48, 96, 192, 10**9) if len(xs) / step <= 13)
    first = xs[0] if xs[0] == 0 or step == 1 else step
    return [x for x in xs if x >= first and (x - first) % step == 0] or [xs[0]]
