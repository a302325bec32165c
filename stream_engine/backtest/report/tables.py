"""The tables of the page: scores beside baselines, tests by lead, numbers behind a plot, and sensors.

I know nothing of plots. Every text that comes in is escaped here.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from stream_engine.backtest.report.found import Found
from stream_engine.backtest.report.wording import CHANCE, NONE, counted, number, p_value, percent
from stream_engine.records import Float64s

MOST_SENSORS = 1_000

_SCORES = (("rmse", "RMSE"), ("smape", "sMAPE %"), ("mase", "MASE"), ("wql", "WQL"))


def score_rows(found: Found) -> str:
    """One line a forecaster: scores of all leads pooled, coverage, and how the model stands beside it."""
    document = found.document
    heads = ["forecaster", "MAE", "model’s MAE / its MAE", "p", *(title for _, title in _SCORES)]
    heads += ["in 80 %", "Diebold-Mariano", "cells"]
    mean = document["mean"]
    cells = [number(mean["mae"]), "", "", *_scored(mean), percent(mean["coverage_80"]), "", f"{mean['count']:,}"]
    lines = [_row(_named(0, str(document["model"])), cells, "model")]
    for n, (name, one) in enumerate(document["baselines"].items(), 1):
        ratio, test = one["mae_ratio"]["mean"], one["diebold_mariano"]["mean"]
        cells = [number(one["mean"]["mae"]), _ratio_cell(ratio, test["p_value"]), p_value(test["p_value"])]
        cells += [*_scored(one["mean"]), NONE, number(test["statistic"]), f"{one['mean']['count']:,}"]
        lines.append(_row(_named(n, name) + (" †" if found.is_partial(name) else ""), cells))
    return _table(heads, lines)


def tests_by_lead(found: Found) -> str:
    """MAE of everyone, ratio and p-value of every baseline at every lead."""
    document = found.document
    heads = ["lead", str(document["model"])]
    for name in found.baselines:
        heads += [name, "ratio", "p"]
    lines = []
    for lead, score in document["horizons"].items():
        cells = [number(score["mae"])]
        for one in document["baselines"].values():
            test = one["diebold_mariano"]["horizons"][lead]
            cells += [number(one["horizons"][lead]["mae"]), number(one["mae_ratio"]["horizons"][lead])]
            cells += [p_value(test["p_value"])]
        lines.append(_row(escape(lead), cells))
    return _table(heads, lines)


def ablation_rows(found: Found) -> str:
    """One line a model without some of its parts, beside the whole one."""
    whole, parts = found.document["mean"], found.document["ablations"]
    heads = ["model", "MAE", "its MAE / the whole’s", "RMSE", "WQL", "in 80 %"]
    lines = []
    for name, mean in {str(found.document["model"]): whole, **parts}.items():
        ratio = number(mean["mae"] / whole["mae"]) if whole["mae"] else NONE
        cells = [number(mean["mae"]), ratio, number(mean["rmse"]), number(mean["wql"]), percent(mean["coverage_80"])]
        lines.append(_row(escape(name), cells, "model" if mean is whole else ""))
    return _table(heads, lines)


def plain(heads: Sequence[str], first: Sequence[str], columns: Sequence[Sequence[str]]) -> str:
    """The numbers behind a plot: one line a value of the first column."""
    lines = [_row(escape(name), [column[n] for column in columns]) for n, name in enumerate(first)]
    return _table(heads, lines)


def sensor_rows(found: Found) -> tuple[str, str]:
    """The table of sensors, worst first, and a sentence on what was left out of it."""
    sums = found.breakdown.sensors
    ranked = found.ranked()[::-1]
    shown = [*ranked.tolist(), *found.unranked().tolist()][:MOST_SENSORS]
    ratios = [(name, found.per_sensor_ratio(name)) for name in found.measured_by]
    heads = ["sensor", "MAE", "mean size", *(f"MAE / {name}’s" for name, _ in ratios), "in 80 %", "cells"]
    size = sums.model["truth"] / np.maximum(sums.model["count"], 1)
    lines = []
    for n in shown:
        cells = [_sortable(sums.mae[n]), _sortable(size[n])]
        cells += [_sortable(column[n], is_ratio=True) for _, column in ratios if column is not None]
        cells += [_sortable(sums.coverage[n], percent(float(sums.coverage[n])))]
        cells += [_sortable(sums.model["count"][n], f"{int(sums.model['count'][n]):,}")]
        lines.append(f'<tr><th scope="row">{escape(found.history.sensors[n])}</th>{"".join(cells)}</tr>')
    num_scored = len(ranked) + len(found.unranked())
    silent = len(found.history.sensors) - num_scored
    notes = []
    if num_scored > len(shown):
        notes.append(f"The {len(shown):,} worst of {num_scored:,} sensors are shown.")
    if silent:
        notes.append(f"{counted(silent, 'sensor')} without a cell {'is' if silent == 1 else 'are'} left out.")
    return _table(heads, lines, 'id="sensors" class="sortable"'), " ".join(notes)


def _scored(score: Mapping[str, Any]) -> list[str]:
    return [number(score[name]) for name, _ in _SCORES]


def _ratio_cell(ratio: float | None, chance: float | None) -> str:
    if ratio is None:
        return NONE
    is_certain = chance is not None and chance < CHANCE
    css = "even" if not is_certain else "better" if ratio < 1 else "worse"
    sign = {"even": "≈", "better": "▼", "worse": "▲"}[css]
    return f'<span class="{css}">{sign} {ratio:.3f}</span>'


def _sortable(value: Float64s | float, text: str | None = None, is_ratio: bool = False) -> str:
    size = float(value)
    if size != size:
        return f'<td data-v="">{NONE}</td>'
    css = f' class="{"better" if size < 1 else "worse"}"' if is_ratio else ""
    return f'<td{css} data-v="{size:.6g}">{text or number(size)}</td>'


def _named(n: int, name: str) -> str:
    return f'<span class="key c{n and 1 + (n - 1) % 7}"></span>{escape(name)}'


def _row(head: str, cells: Sequence[str], css: str = "") -> str:
    of_class = f' class="{css}"' if css else ""
    return f'<tr{of_class}><th scope="row">{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _table(heads: Sequence[str], lines: Sequence[str], more: str = "") -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    return f"<table {more}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
