"""The sections that are plots: by lead, calibration, forecasts, by hour and along time.

I know nothing of the page's frame.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from stream_engine.backtest.baselines import SEASONAL
from stream_engine.backtest.breakdown import HOURS, ratio
from stream_engine.backtest.report import charts, tables
from stream_engine.backtest.report.elements import figure, folded, grid, scrolled, section
from stream_engine.backtest.report.fans import Stretch
from stream_engine.backtest.report.found import Found
from stream_engine.backtest.report.wording import (
    every,
    number,
    percent,
)
from stream_engine.records import Float64s

_LEAST_HOURS = 3
_STRETCHES = {
    "good": "A good sensor",
    "median": "The sensor in the middle",
    "worst": "The worst sensor",
    "only": "The sensor",
}


def by_lead(found: Found) -> str:
    """MAE over leads, and its ratio to each baseline's."""
    if found.horizon == 1:
        return ""
    document = found.document
    leads = list(range(1, found.horizon + 1))
    names, lines = _lines(found, _mae(document["horizons"]), lambda name: _mae(document["baselines"][name]["horizons"]))
    said = _ends({names[css]: one for css, one in lines.items()}, "lead 1", f"lead {found.horizon}")
    chart = charts.by_number(lines, leads, "lead", f"MAE by lead: {said}")
    figures = [figure("Error by lead", "MAE of the median", names, chart)]
    ratios = {name: _shares(one["mae_ratio"]["horizons"]) for name, one in document["baselines"].items()}
    if ratios:
        label = f"Model's MAE over the baseline's: {_ends(ratios, 'lead 1', f'lead {found.horizon}')}"
        coloured = {_css(found, name): one for name, one in ratios.items()}
        chart = charts.by_number(coloured, leads, "lead", label)
        note = "Model’s MAE over the baseline’s, same cells; below 1 the model errs less"
        figures.append(figure("Ratio by lead", note, {_css(found, name): name for name in ratios}, chart))
    return section("How far ahead", grid(figures), "leads")


def calibration(found: Found) -> str:
    """Whether the quantiles keep their word at each lead."""
    breakdown = found.breakdown
    shares = ratio(breakdown.below, breakdown.counts)
    coverage = np.array([_float(score["coverage_80"]) for score in found.document["horizons"].values()])
    said = f"Truths below each quantile by lead: {', '.join(percent(one) for one in shares[:, -1])} at the last lead"
    left = charts.quantiles_by_lead(shares, said)
    right = charts.coverage_by(
        coverage,
        list(range(1, found.horizon + 1)),
        "lead",
        f"Coverage by lead: {percent(coverage[0])} at lead 1, {percent(coverage[-1])} at the last",
    )
    leads = [str(n + 1) for n in range(found.horizon)]
    columns = [[percent(one) for one in row] for row in (*shares.tolist(), coverage.tolist())]
    table = tables.plain(["lead", "below 0.1", "below 0.5", "below 0.9", "in 80 %"], leads, columns)
    figures = [
        figure("Truths below the 0.1, 0.5 and 0.9 quantile", "dashed: what each promises", {}, left),
        figure("Truths within the 80 % interval", "dashed: what it promises", {}, right),
    ]
    numbered = folded(table, "The numbers")
    body = grid(figures) + numbered if found.horizon > 1 else scrolled(table, "Truths below each quantile")
    return section("Do the intervals keep their word", body, "calibration")


def fans(found: Found, drawn: Sequence[Stretch]) -> str:
    """Forecasts of a good, a middling and the worst sensor."""
    figures = []
    for one in drawn:
        name = found.history.sensors[one.sensor]
        place = f"{_STRETCHES[one.place]}: {name}" + (", a hard stretch" if one.kind == "hard" else "")
        measure = f"MAE over {SEASONAL}’s" if found.has_reference else "MAE over mean size"
        whole = number(float(found.breakdown.sensors.mae[one.sensor]))
        note = f"{measure} {number(float(found.yardstick[one.sensor]))} on the whole; "
        note += f"MAE {number(one.mae)} in this stretch, {whole} on the whole"
        chart = charts.fan_chart(one, found.timezone, f"Readings and forecasts of {name}; MAE {number(one.mae)}")
        figures.append(figure(place, note, {}, chart, "wide"))
    key = (
        "<p class='legend'><span><i class='swatch truth'></i>readings</span>"
        "<span><i class='swatch c0'></i>median</span><span><i class='swatch area c0'></i>80 % interval</span></p>"
        "<p class='note'>Forecasts end to end: at each upright line a new one starts, from what was known by then. A "
        "typical stretch is the one whose error is nearest to the sensor’s own on the whole; a hard one is worse than "
        "nine of ten.</p>"
    )
    return section("Forecasts", key + "".join(figures), "forecasts") if figures else ""


def by_hour(found: Found) -> str:
    """MAE over local hours of the day."""
    hours = found.breakdown.hours
    present = np.flatnonzero(hours.model["count"]).tolist()
    if len(present) < _LEAST_HOURS:
        return ""
    names, lines = _lines(found, hours.mae, hours.baseline_mae)
    worst = int(np.nanargmax(hours.mae))
    chart = charts.by_number(
        lines,
        list(range(HOURS)),
        "hour",
        f"MAE by hour; the model's is largest at {worst} h, {number(hours.mae[worst])}",
    )
    covered = charts.coverage_by(hours.coverage, list(range(HOURS)), "hour", "Coverage of the 80 % interval by hour")
    columns = [[number(one[hour]) for hour in present] for one in lines.values()]
    columns.append([percent(float(hours.coverage[hour])) for hour in present])
    table = tables.plain(["hour", *names.values(), "in 80 %"], [str(hour) for hour in present], columns)
    figures = [
        figure("Error by hour of the target time", f"MAE, all leads; clocks of {found.timezone.key}", names, chart),
        figure("Truths within the 80 % interval by hour", "all leads; dashed: what it promises", {}, covered),
    ]
    return section("Time of day", grid(figures) + folded(table, "The numbers"), "hours")


def along_time(found: Found) -> str:
    """MAE and coverage along the test."""
    spells = found.breakdown.spells
    middles = charts.spell_middles(found)
    if len(middles) < _LEAST_HOURS:
        return ""
    lines, keys = {"c0": spells.mae}, {"c0": str(found.document["model"])}
    strongest = found.strongest(found.whole)
    if strongest is not None:
        lines[_css(found, strongest)] = spells.baseline_mae(strongest)
        keys[_css(found, strongest)] = f"{strongest}, the strongest baseline"
    each = every(found.breakdown.timespan.width_ns)
    error = charts.over_time(lines, middles, found.timezone, f"MAE along time, a point {each}")
    label = f"Coverage along time, a point {each}"
    covered = charts.coverage_over_time(spells.coverage, middles, found.timezone, label)
    promise = f"a point {each}; dashed: what it promises"
    figures = [
        figure("Error along time", f"MAE, all leads, a point {each}", keys, error),
        figure("Truths within the 80 % interval along time", promise, {}, covered),
    ]
    return section("Along time", grid(figures), "time")


def _css(found: Found, baseline: str) -> str:
    """Class of a baseline's colour."""
    return f"c{1 + found.baselines.index(baseline) % 7}"


def _lines(
    found: Found, model: Float64s, baseline: Callable[[str], Float64s]
) -> tuple[dict[str, str], dict[str, Float64s]]:
    """Names and values, by class of colour, of the model and of the baselines that can be drawn beside it."""
    names, lines = {"c0": str(found.document["model"])}, {"c0": model}
    for name in found.whole:
        names[_css(found, name)], lines[_css(found, name)] = name, baseline(name)
    return names, lines


def _mae(horizons: Mapping[str, Mapping[str, float | None]]) -> Float64s:
    return np.array([_float(score["mae"]) for score in horizons.values()])


def _shares(horizons: Mapping[str, float | None]) -> Float64s:
    return np.array([_float(value) for value in horizons.values()])


def _float(value: float | None) -> float:
    return np.nan if value is None else value


def _ends(lines: Mapping[str, Float64s], first: str, last: str) -> str:
    """What a screen reader says of lines: their two ends."""
    return "; ".join(f"{name} {number(one[0])} at {first}, {number(one[-1])} at {last}" for name, one in lines.items())
