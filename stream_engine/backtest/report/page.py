"""`report.html`: one page that needs no network, no library and no other file.

I know nothing of how forecasts were made. The page's policy lets nothing run but its own script and fetch nothing.
"""

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from stream_engine.backtest.report import plotted, sections
from stream_engine.backtest.report.fans import stretches
from stream_engine.backtest.report.found import Found


def write_report(path: Path, found: Found, forecasts: Path, model: str) -> None:
    """Write the page.

    Args:
        forecasts: the forecast file of the same backtest, from which the drawn forecasts are read.
        model: the name of its column.
    """
    drawn = stretches(found, forecasts, model)
    parts = [
        sections.header(found),
        sections.scores(found),
        sections.ablations(found),
        plotted.by_lead(found),
        plotted.calibration(found),
        plotted.fans(found, drawn),
        plotted.by_hour(found),
        plotted.along_time(found),
        sections.sensors(found),
        sections.footer(found),
    ]
    path.write_text(page(f"{found.document['model']} on {found.document['data']}", parts), encoding="utf-8")


def page(title: str, parts: Sequence[str]) -> str:
    """The parts in a page with its style and script."""
    style, script = _text("page.css"), _text("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}: backtest</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{''.join(part + chr(10) for part in parts if part)}<script>{script}</script>\n</body>\n</html>\n"
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
