"""Draws what was measured over lengths, both axes in powers, as an SVG that stands alone.

I know nothing of how it was measured.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from stream_engine.backtest.report.svg import Plot

COLOURS = ("#1668b8", "#c2410c", "#15803d", "#7e22ce", "#b45309", "#0e7490", "#be185d", "#4b5563")
SIZE = (920, 460)
LEGEND_SHARE = 0.22


def draw(label: str, lines: Mapping[str, Sequence[tuple[int, float]]], texts: Mapping[str, str], unit: str = "") -> str:
    """One line a name, logarithmic both ways.

    Args:
        label: what it shows, for a screen reader.
        lines: name -> (length, value > 0).
        texts: name -> what the legend says of it.
        unit: of the values, such as `s` or `B`; "" for none.
    """
    xs = [math.log2(length) for points in lines.values() for length, _ in points]
    ys = [math.log10(value) for points in lines.values() for _, value in points]
    low, high = math.floor(min(xs)), math.ceil(max(xs))
    wide = low + (high - low) / (1.0 - LEGEND_SHARE)
    bottom, top = math.floor(min(ys)), math.ceil(max(ys))
    plot = Plot(label, (low, wide), (bottom, top), SIZE)
    ticks = list(range(bottom, top + 1))
    plot.y_axis(ticks, [_unit(10.0**tick, unit) for tick in ticks])
    marks = list(range(low, high + 1))
    plot.x_axis(marks, [f"{2**mark:,}" if 2**mark < 10_000 else f"{2**mark // 1024} k" for mark in marks], label)
    for n, points in enumerate(lines.values()):
        length, value = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
        plot.line(np.log2(length), np.log10(value), f"r{n}")
    plot.legend(
        high + 0.03 * (wide - low),
        top - 0.02 * (top - bottom),
        [(f"r{n}", texts[name]) for n, name in enumerate(lines)],
    )
    return (
        plot.svg()
        .replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        .replace(">", f">{_style(len(lines))}", 1)
    )


def _style(num_lines: int) -> str:
    """Colours, and dashes once they are used up; the first line is black."""
    rules = [".r0{stroke:#111;stroke-width:2.5}"]
    for n in range(1, num_lines):
        turn, colour = divmod(n - 1, len(COLOURS))
        rules.append(f".r{n}{{stroke:{COLOURS[colour]};stroke-dasharray:{('none', '6 3', '2 3')[turn % 3]}}}")
    return (
        "<style>svg{background:#fff}text{font:11px sans-serif;fill:#555}.grid{stroke:#eee}.mark{stroke:#999}"
        f".line{{fill:none;stroke-width:1.6}}{''.join(rules)}</style>"
    )


def _unit(value: float, unit: str) -> str:
    """A power of ten as people say it; a plain number where there is no unit.

    >>> _unit(1e-3, "s"), _unit(1e7, "B")
    ('1 ms', '10 MB')
    """
    if not unit:
        return f"{value:g}"
    steps = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
    size, letter = next((step for step in steps if value >= step[0] * 0.999), steps[-1])
    return f"{value / size:.0f} {letter}{unit}"
