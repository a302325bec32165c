"""Scores as a table for the terminal.

I know nothing of how they were made: what scores.json holds comes in, something rich can print goes out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from stream_engine.backtest.report.wording import NONE, counted, number, p_value

_LEADS = ("3", "6", "12")
_POOLED = ("mae", "rmse", "wql", "coverage_80")
_POOLED_ALONE = ("mae", "rmse", "mase", "wql", "coverage_80")
"""Without a baseline there is room for more on 80 columns."""
_TITLES = {"coverage_80": "in80%"}


def score_table(document: Mapping[str, Any]) -> Table:
    """One line a forecaster: MAE at some leads, the scores pooled over all leads, and the model beside it.

    `ratio` is the model's MAE over the baseline's on the cells where both have a forecast, `p` the Diebold-Mariano
    test's.
    """
    mean = document["mean"]
    table = Table(
        title=f"{document['model']} on {document['data']}",
        caption=f"MAE at single leads, then leads 1 to {len(document['horizons'])} pooled: {mean['count']:,} cells"
        + ("; ratio: model's MAE over the baseline's, same cells" if document["baselines"] else ""),
        box=SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    pooled = _POOLED if document["baselines"] else _POOLED_ALONE
    leads = [lead for lead in _LEADS if lead in document["horizons"]]
    titles = [*(f"@{lead}" for lead in leads), *(_TITLES.get(score, score.upper()) for score in pooled)]
    rows = []
    lines = {str(document["model"]): document, **document["baselines"]}
    for name, scores in lines.items():
        cells = [number(scores["horizons"][lead]["mae"]) for lead in leads]
        is_model = scores is document
        cells += [number(scores["mean"][score]) if is_model or score != "coverage_80" else NONE for score in pooled]
        if not is_model:
            cells += [number(scores["mae_ratio"]["mean"]), p_value(scores["diebold_mariano"]["mean"]["p_value"])]
        rows.append([name, *cells])
    _fill(table, "forecaster", [*titles, *(["ratio", "p"] if document["baselines"] else [])], rows)
    table.rows[0].style = "bold"
    return table


def _fill(table: Table, first: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns and rows; where there is too little room the names of the rows are cut short, and no number is."""
    table.add_column(first, overflow="ellipsis")
    for place, title in enumerate(titles, start=1):
        widest = max((len(row[place]) for row in rows if place < len(row)), default=0)
        table.add_column(title, justify="right", no_wrap=True, min_width=max(widest, len(title)))
    for row in rows:
        table.add_row(*row)


def ablation_table(document: Mapping[str, Any]) -> Table:
    """One line for the whole model and for each of its `ablations`: scores of all leads pooled."""
    table = Table(title="What each part is worth", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    lines = {str(document["model"]): document["mean"], **document["ablations"]}
    rows = [[name, *(number(mean[score]) for score in _POOLED_ALONE)] for name, mean in lines.items()]
    _fill(table, "model", [_TITLES.get(score, score.upper()) for score in _POOLED_ALONE], rows)
    return table


def remarks(document: Mapping[str, Any]) -> list[str]:
    """Sentences a reader of the table should know."""
    found = [f"look at the data: {one}" for one in document["warnings"]]
    if not document["is_zero_shot"]:
        found.append(f"{document['model']} has learned from {document['data']}: this is not a zero-shot score")
    rate = document["readings_per_s"]
    found.append(
        f"{counted(document['num_readings'], 'reading')} of {counted(document['num_sensors'], 'sensor')}"
        + (f", {rate:,.0f} a second" if rate else "")
        + f"; {document['state_bytes_per_sensor']:,} bytes of state a sensor, {document['parameters']:,} parameters"
    )
    for name, scores in document["baselines"].items():
        if "settings" in scores:
            found.append(f"{name}: {scores['settings']}; {counted(scores['num_sensors'], 'sensor')}")
        missing = document["mean"]["count"] - scores["mean"]["count"]
        if missing > 0:
            found.append(f"{name} has no forecast for {missing:,} of the cells; the ratio leaves them out")
    return found
