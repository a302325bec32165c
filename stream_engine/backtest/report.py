"""Scores as a table for the terminal.

I know nothing of how they were made: what scores.json holds comes in, something rich can print goes out.
"""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

_LEADS = ("3", "6", "12")
_POOLED = ("mae", "rmse", "mase", "wql", "coverage_80")
_TITLES = {"coverage_80": "in80%"}


def score_table(document: Mapping[str, Any]) -> Table:
    """One line a forecaster: MAE at some leads, then the scores pooled over all leads."""
    mean = document["mean"]
    table = Table(
        title=f"{document['model']} on {document['data']}",
        caption=f"MAE at single leads, then leads 1 to {len(document['horizons'])} pooled: {mean['count']:,} cells",
        box=SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
    )
    leads = [lead for lead in _LEADS if lead in document["horizons"]]
    table.add_column("forecaster", no_wrap=True)
    for lead in leads:
        table.add_column(f"@{lead}", justify="right", no_wrap=True)
    for score in _POOLED:
        table.add_column(_TITLES.get(score, score.upper()), justify="right", no_wrap=True)
    lines = {str(document["model"]): document, **document["baselines"]}
    for name, scores in lines.items():
        cells = [_text(scores["horizons"][lead]["mae"]) for lead in leads]
        cells += [_text(scores["mean"][score]) for score in _POOLED]
        table.add_row(name, *cells, style="bold" if scores is document else "")
    return table


def remarks(document: Mapping[str, Any]) -> list[str]:
    """Sentences a reader of the table should know."""
    found = []
    if not document["is_zero_shot"]:
        found.append(f"{document['model']} has learned from {document['data']}: this is not a zero-shot score")
    rate = document["readings_per_s"]
    found.append(
        f"{document['num_readings']:,} readings of {document['num_sensors']:,} sensors"
        + (f", {rate:,.0f} a second" if rate else "")
        + f"; {document['state_bytes_per_sensor']:,} bytes of state a sensor, {document['parameters']:,} parameters"
    )
    for name, scores in document["baselines"].items():
        missing = document["mean"]["count"] - scores["mean"]["count"]
        if missing > 0:
            found.append(f"{name} has no forecast for {missing:,} of the cells")
    return found


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:.3f}" if size < 10 else f"{value:.2f}" if size < 1_000 else f"{value:,.0f}"
