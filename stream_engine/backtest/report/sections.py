"""The sections of the page that are words and tables.

I know nothing of the page's frame. What the words mean for a reader stands in docs/backtest.md.
"""

from html import escape

import numpy as np

from stream_engine import __version__
from stream_engine.backtest.baselines import PERSISTENCE, SEASONAL
from stream_engine.backtest.report import charts, tables
from stream_engine.backtest.report.elements import figure, folded, scrolled, section, tile
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

_LEAST_SENSORS = 8


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
        f"each sensor usually {every(found.history.step_ns)}; origins {first} to {last} ({found.timezone.key}); "
        f"leads 1 to {found.horizon}, that is up to {length(found.horizon * found.history.step_ns)} ahead"
    )
    tiles = [
        tile("MAE", number(mean["mae"]), "of the median, all leads"),
        tile("MASE", number(mean["mase"]), f"1 is {SEASONAL}"),
        tile("WQL", number(mean["wql"]), "three quantiles, 0 is perfect"),
        tile("in the 80 % interval", percent(mean["coverage_80"]), judged_coverage(mean["coverage_80"])),
        tile("cells", f"{mean['count']:,}", "forecasts of one lead that came true"),
    ]
    warnings = "".join(f"<li>{escape(one)}</li>" for one in document["warnings"])
    return (
        f"<header><p class='eyebrow'>Backtest, scored prequentially</p>"
        f"<h1>{escape(document['model'])} <span>on</span> {escape(document['data'])}</h1>"
        f"<p class='badge {'good' if is_unseen else 'bad'}'>{badge}</p>"
        f"<p class='facts'>{escape(facts)}</p><p class='verdict'>{escape(verdict(found)).replace(' %', '&nbsp;%')}</p>"
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
    strongest = found.strongest(found.baselines)
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
        if len(found.whole) < len(found.baselines):
            note += (
                " † has forecasts for fewer cells, so its own scores are of other cells than the model’s: go by the "
                "ratio. It is left out of the plots of errors."
            )
    settings = [
        f"<li><b>{escape(name)}</b>: {escape(one['settings'])}"
        + (f"; forecasts {counted(one['num_sensors'], 'sensor')}" if "num_sensors" in one else "")
        + "</li>"
        for name, one in found.document["baselines"].items()
        if "settings" in one
    ]
    extra = f"<ul class='settings'>{''.join(settings)}</ul>" if settings else ""
    body = f"{scrolled(tables.score_rows(found), 'Scores of all leads pooled')}<p class='note'>{note}</p>{extra}"
    if found.baselines:
        body += folded(tables.tests_by_lead(found), "Every lead, with its test")
    return section("Scores", body, "scores")


def ablations(found: Found) -> str:
    """What each part of the model is worth, where that was asked."""
    if "ablations" not in found.document:
        return ""
    note = (
        "The same replay without some parts: the mix alone has no network on top, and the others are that mix without "
        "some of its read-outs; a model whose sensors attend to each other is also shown deaf. A part is worth what is "
        "lost without it, while the other parts stand in for it."
    )
    table = scrolled(tables.ablation_rows(found), "Scores without some parts")
    return section("What each part is worth", f"{table}<p class='note'>{note}</p>", "ablations")


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
        parts.append(figure("Sensors by ratio", said, {}, chart, "wide"))
    if len(ranked) > _LEAST_SENSORS:
        field = "<input type='search' id='find' placeholder='part of a sensor’s id'>"
        parts.append(f"<p class='find'><label>Find {field}</label></p>")
    parts.append(scrolled(table, "Sensors", "tall"))
    note = f"{left_out} A click on a head sorts." if left_out else "Worst first; a click on a head sorts."
    parts.append(f"<p class='note'>{escape(note)}</p>")
    return section("Sensors", "".join(parts), "sensors-section")


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
