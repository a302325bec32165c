"""The elements that every section is made of; titles and names are escaped here, plots and tables come as they are.

I know nothing of what is shown.
"""

from collections.abc import Mapping, Sequence
from html import escape


def section(title: str, body: str, anchor: str) -> str:
    """A section under a heading."""
    return f'<section aria-labelledby="h-{anchor}"><h2 id="h-{anchor}">{escape(title)}</h2>{body}</section>'


def grid(figures: Sequence[str]) -> str:
    """Figures side by side where there is room."""
    return f"<div class='pair'>{''.join(figures)}</div>"


def figure(title: str, note: str, keys: Mapping[str, str], chart: str, css: str = "") -> str:
    """A plot with its caption and the key to its colours."""
    spans = "".join(f"<span><i class='swatch {colour}'></i>{escape(name)}</span>" for colour, name in keys.items())
    legend = f"<p class='legend'>{spans}</p>" if keys else ""
    scroll = f"<div class='scroll' tabindex='0'>{chart}</div>" if css else chart
    caption = f"<figcaption><h3>{escape(title)}</h3><p>{escape(note)}</p></figcaption>"
    return f"<figure class='{css}'>{caption}{legend}{scroll}</figure>"


def tile(name: str, value: str, note: str) -> str:
    """One number that is looked for first."""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"


def scrolled(table: str, label: str, css: str = "") -> str:
    """A table that scrolls on its own where the page is narrow."""
    return f"<div class='scroll {css}' tabindex='0' role='region' aria-label='{escape(label)}'>{table}</div>"


def folded(table: str, title: str) -> str:
    """A table that is folded away."""
    return f"<details><summary>{escape(title)}</summary>{scrolled(table, title)}</details>"
