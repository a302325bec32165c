"""The sections of the page, in words and with their plots and tables.

I know nothing of the page's frame. What the words mean for a reader stands in docs/backtest.md.
"""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from stream_engine import __version__
from stream_engine.backtest.baselines import PERSISTENCE, SEASONAL
from stream_engine.backtest.breakdown import HOURS, ratio
from stream_engine.backtest.report import charts, tables
from stream_engine.backtest.report.fans import Stretch
from stream_engine.backtest.report.found import Found
from stream_engine.backtest.report.wording import (
    CHANCE,
    change,
    counted,
    every,
    judged_coverage,
    length,
    moment,
    number,
    percent,
)
from stream_engine.records import Float64s

_LEAST_HOURS = 3
_LEAST_SENSORS = 8
_STRETCHES = {
    "good": "A good sensor",
    "median": "The sensor in the middle",
    "worst": "The worst sensor",
    "only": "The sensor",
}


def header(found: Found) -> str:
    """What was judged on what, the verdict in a few sentences, and the numbers one looks for first."""
    document, breakdown = found.document, found.breakdown
    is_unseen = document["is_zero_shot"]
    badge = (
        "zero-shot: the model has not learned from this data" if is_unseen else "the model has learned from this data"
    )
    mean = document["mean"]
    first = moment(breakdown.first_origin_ns or 0, found.timezone)
    last = moment(breakdown.last_origin_ns, found.timezone)
    facts = (
        f"{counted(document['num_sensors'], 'sensor')}, {counted(document['num_readings'], 'reading')}, "
        f"one {every(found.history.step_ns)}; origins {first} to {last} ({found.timezone.key}); "
        f"leads 1 to {found.horizon}, that is up to {length(found.horizon * found.history.step_ns)} ahead"
    )
    tiles = [
        _tile("MAE", number(mean["mae"]), "of the median, all leads"),
        _tile("MASE", number(mean["mase"]), f"1 is {SEASONAL}"),
        _tile("WQL", number(mean["wql"]), "three quantiles, 0 is perfect"),
        _tile("in the 80 % interval", percent(mean["coverage_80"]), judged_coverage(mean["coverage_80"])),
        _tile("cells", f"{mean['count']:,}", "forecasts of one lead that came true"),
    ]
    warnings = "".join(f"<li>{escape(one)}</li>" for one in document["warnings"])
    return (
        f"<header><p class='eyebrow'>Backtest, scored prequentially</p>"
        f"<h1>{escape(document['model'])} <span>on</span> {escape(document['data'])}</h1>"
        f"<p class='badge {'good' if is_unseen else 'bad'}'>{badge}</p>"
        f"<p class='facts'>{escape(facts)}</p><p class='verdict'>{escape(verdict(found))}</p>"
        f"<dl class='tiles'>{''.join(tiles)}</dl>"
        + (
            f"<div class='warnings' role='note'><strong>Look at the data</strong><ul>{warnings}</ul></div>"
            if warnings
            else ""
        )
        + "</header><main>"
    )


def verdict(found: Found) -> str:
    """The comparison with the strongest baseline and the usual ones, and the intervals, in sentences."""
    document = found.document
    mean = document["mean"]
    coverage = f"{percent(mean['coverage_80'])} of the truths fell into the 80 % interval: "
    coverage += f"{judged_coverage(mean['coverage_80'])}."
    strongest = found.strongest
    if strongest is None:
        return coverage
    said = f"On the same cells, {_beside(found, strongest)}, the strongest baseline"
    others = [name for name in (PERSISTENCE, SEASONAL) if name in found.baselines and name != strongest]
    if others:
        said += "; " + " and ".join(_beside(found, name) for name in others)
    return f"{said}. {coverage}"


def _beside(found: Found, name: str) -> str:
    one = found.document["baselines"][name]
    share, chance = one["mae_ratio"]["mean"], one["diebold_mariano"]["mean"]["p_value"]
    if share is None:
        return f"nothing to compare with {name}"
    return f"{change(share)} than {name}{'' if chance is not None and chance < CHANCE else ' (may be chance)'}"


def scores(found: Found) -> str:
    """The table beside the baselines."""
    if not found.baselines:
        note = "No baseline was asked for."
    else:
        note = (
            "The ratio is taken on the cells where both have a forecast: ▼ the model errs less, ▲ more, ≈ it may be "
            "chance (p not below 0.05). The Diebold-Mariano statistic is below 0 where the model is better; losses are "
            "averaged over sensors first, as sensors err together."
        )
    settings = [
        f"<li><b>{escape(name)}</b>: {escape(one['settings'])}"
        + (f"; forecasts {counted(one['num_sensors'], 'sensor')}" if "num_sensors" in one else "")
        + "</li>"
        for name, one in found.document["baselines"].items()
        if "settings" in one
    ]
    extra = f"<ul class='settings'>{''.join(settings)}</ul>" if settings else ""
    body = f"{_scrolled(tables.score_rows(found), 'Scores of all leads pooled')}<p class='note'>{note}</p>{extra}"
    if found.baselines:
        body += _numbers(tables.tests_by_lead(found), "Every lead, with its test")
    return _section("Scores", body, "scores")


def by_lead(found: Found) -> str:
    """MAE over leads."""
    document = found.document
    leads = list(range(1, found.horizon + 1))
    lines: dict[str, Float64s] = {str(document["model"]): _mae(document["horizons"])}
    lines |= {name: _mae(one["horizons"]) for name, one in document["baselines"].items()}
    chart = charts.by_number(lines, leads, "lead", f"MAE by lead: {_ends(lines, 'lead 1', f'lead {found.horizon}')}")
    ratios = {name: _shares(one["mae_ratio"]["horizons"]) for name, one in document["baselines"].items()}
    figures = [_figure("Error by lead", "MAE of the median", _keys(lines), chart)]
    if ratios:
        label = f"Model's MAE over the baseline's: {_ends(ratios, 'lead 1', 'last')}"
        chart = charts.by_number(ratios, leads, "lead", label, css_from=1)
        note = "Model’s MAE over the baseline’s, same cells; below 1 the model errs less"
        figures.append(_figure("Ratio by lead", note, _keys(ratios, 1), chart))
    return _section("How far ahead", _grid(figures), "leads")


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
        _figure("Truths below the 0.1, 0.5 and 0.9 quantile", "dashed: what each promises", {}, left),
        _figure("Truths within the 80 % interval", "dashed: what it promises", {}, right),
    ]
    return _section("Do the intervals keep their word", _grid(figures) + _numbers(table, "The numbers"), "calibration")


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
        figures.append(_figure(place, note, {}, chart, "wide"))
    key = (
        "<p class='legend'><span><i class='swatch truth'></i>readings</span>"
        "<span><i class='swatch c0'></i>median</span><span><i class='swatch area c0'></i>80 % interval</span></p>"
        "<p class='note'>Forecasts end to end: at each upright line a new one starts, from what was known by then. A "
        "typical stretch is the one whose error is nearest to the sensor’s own on the whole; a hard one is worse than "
        "nine of ten.</p>"
    )
    return _section("Forecasts", key + "".join(figures), "forecasts") if figures else ""


def by_hour(found: Found) -> str:
    """MAE over local hours of the day."""
    hours = found.breakdown.hours
    present = np.flatnonzero(hours.model["count"]).tolist()
    if len(present) < _LEAST_HOURS:
        return ""
    names = found.baselines
    lines: dict[str, Float64s] = {str(found.document["model"]): hours.mae}
    lines |= {name: hours.baseline_mae(name) for name in names}
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
    table = tables.plain(["hour", *lines, "in 80 %"], [str(hour) for hour in present], columns)
    figures = [
        _figure(
            "Error by hour of the target time", f"MAE, all leads; clocks of {found.timezone.key}", _keys(lines), chart
        ),
        _figure("Truths within the 80 % interval by hour", "all leads; dashed: what it promises", {}, covered),
    ]
    return _section("Time of day", _grid(figures) + _numbers(table, "The numbers"), "hours")


def along_time(found: Found) -> str:
    """MAE and coverage along the test."""
    spells = found.breakdown.spells
    middles = charts.spell_middles(found)
    if len(middles) < _LEAST_HOURS:
        return ""
    model = str(found.document["model"])
    lines, keys = {"c0": spells.mae}, {"c0": model}
    if found.strongest is not None:
        css = f"c{(1 + found.baselines.index(found.strongest)) % 8}"
        lines[css], keys[css] = spells.baseline_mae(found.strongest), f"{found.strongest}, the strongest baseline"
    each = every(found.breakdown.timespan.width_ns)
    error = charts.over_time(lines, middles, found.timezone, f"MAE along time, a point {each}")
    label = f"Coverage along time, a point {each}"
    covered = charts.coverage_over_time(spells.coverage, middles, found.timezone, label)
    promise = f"a point {each}; dashed: what it promises"
    figures = [
        _figure("Error along time", f"MAE, all leads, a point {each}", keys, error),
        _figure("Truths within the 80 % interval along time", promise, {}, covered),
    ]
    return _section("Along time", _grid(figures), "time")


def sensors(found: Found) -> str:
    """How sensors are spread, and all of them."""
    table, left_out = tables.sensor_rows(found)
    ranked = found.ranked()
    if not len(ranked):
        return ""
    parts = []
    yardstick = found.yardstick[ranked]
    if found.has_reference and len(ranked) >= _LEAST_SENSORS:
        better = int((yardstick < 1).sum())
        said = f"The model errs less than {SEASONAL} on {better:,} of {counted(len(ranked), 'sensor')}; "
        said += f"the middle one has {number(float(np.median(yardstick)))}."
        chart = charts.spread(yardstick, said, f"MAE / {SEASONAL}’s")
        parts.append(_figure("Sensors by ratio", said, {}, chart, "wide"))
    if len(ranked) > _LEAST_SENSORS:
        field = "<input type='search' id='find' placeholder='part of a sensor’s id'>"
        parts.append(f"<p class='find'><label>Find {field}</label></p>")
    parts.append(_scrolled(table, "Sensors", "tall"))
    note = f"{left_out} A click on a head sorts." if left_out else "Worst first; a click on a head sorts."
    parts.append(f"<p class='note'>{escape(note)}</p>")
    return _section("Sensors", "".join(parts), "sensors-section")


def footer(found: Found) -> str:
    """What the scores mean, in short."""
    document = found.document
    rate = document["readings_per_s"]
    speed = f", {rate:,.0f} readings a second" if rate else ""
    return (
        "</main><footer><p>Prequential: the engine is shown the readings one after another, as live; a forecast is "
        "judged once its truths have arrived, so no forecast has seen its truth. A cell is one lead of one forecast. "
        "MAE, sMAPE and MASE judge the median, RMSE the mean, WQL the three quantiles.</p>"
        f"<p>stream-engine {escape(__version__)}; {document['state_bytes_per_sensor']:,} bytes of state a sensor, "
        f"{document['parameters']:,} parameters{speed}. The same numbers: scores.json; every cell: forecasts.parquet."
        "</p></footer>"
    )


def _section(title: str, body: str, anchor: str) -> str:
    return f'<section aria-labelledby="h-{anchor}"><h2 id="h-{anchor}">{escape(title)}</h2>{body}</section>'


def _grid(figures: Sequence[str]) -> str:
    return f"<div class='pair'>{''.join(figures)}</div>"


def _keys(lines: Mapping[str, object], css_from: int = 0) -> dict[str, str]:
    """Class of each line's colour -> its name."""
    return {f"c{n % 8}": name for n, name in enumerate(lines, css_from)}


def _figure(title: str, note: str, keys: Mapping[str, str], chart: str, css: str = "") -> str:
    spans = "".join(f"<span><i class='swatch {colour}'></i>{escape(name)}</span>" for colour, name in keys.items())
    legend = f"<p class='legend'>{spans}</p>" if keys else ""
    scroll = f"<div class='scroll' tabindex='0'>{chart}</div>" if css else chart
    caption = f"<figcaption><h3>{escape(title)}</h3><p>{escape(note)}</p></figcaption>"
    return f"<figure class='{css}'>{caption}{legend}{scroll}</figure>"


def _tile(name: str, value: str, note: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"


def _scrolled(table: str, label: str, css: str = "") -> str:
    return f"<div class='scroll {css}' tabindex='0' role='region' aria-label='{escape(label)}'>{table}</div>"


def _numbers(table: str, title: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{_scrolled(table, title)}</details>"


def _mae(horizons: Mapping[str, Mapping[str, float | None]]) -> Float64s:
    return np.array([_float(score["mae"]) for score in horizons.values()])


def _shares(horizons: Mapping[str, float | None]) -> Float64s:
    return np.array([_float(value) for value in horizons.values()])


def _float(value: float | None) -> float:
    return np.nan if value is None else value


def _ends(lines: Mapping[str, Float64s], first: str, last: str) -> str:
    """What a screen reader says of lines: their two ends."""
    return "; ".join(f"{name} {number(one[0])} at {first}, {number(one[-1])} at {last}" for name, one in lines.items())
