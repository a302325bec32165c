"""A plot as inline SVG: axes, lines, bands and bars, coloured by classes of the page's style sheet.

I know nothing of what is drawn. Every text that comes in is escaped here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from stream_engine.backtest.report.wording import tick
from stream_engine.records import Float64s

LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 36


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear scale from values to pixels."""

    low: float
    high: float
    first: float
    last: float

    def at(self, values: Float64s | float) -> Float64s:
        """Pixels of values."""
        share = (np.asarray(values, np.float64) - self.low) / ((self.high - self.low) or 1.0)
        return self.first + share * (self.last - self.first)


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers from the last at or below low to the first at or above high, about as many as wanted.

    >>> nice_ticks(0.0, 8.7)
    [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    """
    span = (high - low) or abs(high) or 1.0
    rough = span / wanted
    unit = 10.0 ** np.floor(np.log10(rough))
    step = float(unit * next(one for one in (1.0, 2.0, 2.5, 5.0, 10.0) if one * unit >= rough * 0.999))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return [float(n * step) for n in np.arange(first, max(last, first + 1) + 1)]


class Plot:
    """One plot in the making."""

    def __init__(self, label: str, x: tuple[float, float], y: tuple[float, float], size: tuple[int, int]) -> None:
        """An empty plot.

        Args:
            label: what a screen reader says of it.
            x, y: least and greatest value.
            size: pixels of its own system; the page scales it.
        """
        self._label = label
        self._width, self._height = size
        self.x = Scale(*x, LEFT, self._width - RIGHT)
        self.y = Scale(*y, self._height - BOTTOM, TOP)
        self._parts: list[str] = []

    def y_axis(self, ticks: Sequence[float], texts: Sequence[str] | None = None) -> None:
        """Lines across the plot and their numbers."""
        for value, text in zip(ticks, texts or [tick(one) for one in ticks], strict=True):
            at = _px(self.y.at(value))
            self._parts.append(f'<line class="grid" x1="{LEFT}" x2="{self._width - RIGHT}" y1="{at}" y2="{at}"/>')
            self._text(LEFT - 7, float(self.y.at(value)) + 4, text, "end")

    def x_axis(self, ticks: Sequence[float], texts: Sequence[str], title: str) -> None:
        """Numbers below the plot and what they are."""
        base = self._height - BOTTOM
        for value, text in zip(ticks, texts, strict=True):
            at = _px(self.x.at(value))
            self._parts.append(f'<line class="mark" x1="{at}" x2="{at}" y1="{base}" y2="{base + 4}"/>')
            self._text(float(self.x.at(value)), base + 16, text, "middle")
        self._text((LEFT + self._width - RIGHT) / 2, self._height - 4, title, "middle", "axis")

    def line(self, xs: Float64s, ys: Float64s, css: str) -> None:
        """A line that breaks where y is NaN; a point alone is a dot."""
        steps, is_alone = [], []
        is_there = np.isfinite(ys)
        px, py = self.x.at(xs), self.y.at(np.where(is_there, ys, self.y.low))
        for n in np.flatnonzero(is_there).tolist():
            is_first = n == 0 or not is_there[n - 1]
            steps.append(f"{'M' if is_first else 'L'}{_px(px[n])} {_px(py[n])}")
            if is_first and (n + 1 == len(ys) or not is_there[n + 1]):
                is_alone.append(n)
        if steps:
            self._parts.append(f'<path class="line {css}" d="{"".join(steps)}"/>')
        self._parts += [f'<circle class="dot {css}" cx="{_px(px[n])}" cy="{_px(py[n])}" r="2.5"/>' for n in is_alone]

    def dots(self, xs: Float64s, ys: Float64s, css: str, titles: Sequence[str]) -> None:
        """Points that say what they are when pointed at."""
        for x, y, title in zip(xs.tolist(), ys.tolist(), titles, strict=True):
            if np.isfinite(y):
                self._parts.append(
                    f'<circle class="dot {css}" cx="{_px(self.x.at(x))}" cy="{_px(self.y.at(y))}" r="3">'
                    f"<title>{escape(title)}</title></circle>"
                )

    def band(self, xs: Float64s, lows: Float64s, highs: Float64s, css: str) -> None:
        """The area between two lines without gaps."""
        px, low, high = self.x.at(xs), self.y.at(lows), self.y.at(highs)
        there = [f"{_px(a)} {_px(b)}" for a, b in zip(px, high, strict=True)]
        back = [f"{_px(a)} {_px(b)}" for a, b in zip(px[::-1], low[::-1], strict=True)]
        self._parts.append(f'<path class="band {css}" d="M{"L".join([*there, *back])}Z"/>')

    def bar(self, left: float, right: float, height: float, css: str, title: str) -> None:
        """A bar from 0."""
        a, b = float(self.x.at(left)), float(self.x.at(right))
        top, base = float(self.y.at(height)), float(self.y.at(0.0))
        self._parts.append(
            f'<rect class="bar {css}" x="{_px(a + 0.5)}" width="{_px(max(b - a - 1, 1))}" '
            f'y="{_px(top)}" height="{_px(max(base - top, 0))}"><title>{escape(title)}</title></rect>'
        )

    def rule(self, y: float) -> None:
        """A dashed line across."""
        at = _px(self.y.at(y))
        self._parts.append(f'<line class="rule" x1="{LEFT}" x2="{self._width - RIGHT}" y1="{at}" y2="{at}"/>')

    def post(self, x: float, css: str = "post") -> None:
        """A line from top to bottom."""
        at = _px(self.x.at(x))
        self._parts.append(f'<line class="{css}" x1="{at}" x2="{at}" y1="{TOP}" y2="{self._height - BOTTOM}"/>')

    def legend(self, x: float, y: float, entries: Sequence[tuple[str, str]]) -> None:
        """What lines of which class are, one below the other, from a point of the plot down: (class, text)."""
        left, top = float(self.x.at(x)), float(self.y.at(y))
        for n, (css, text) in enumerate(entries):
            at = top + 17 * n
            self._parts.append(f'<path class="line {css}" d="M{_px(left)} {_px(at)}L{_px(left + 22)} {_px(at)}"/>')
            self._text(left + 28, at + 4, text, "start")

    def svg(self) -> str:
        """The plot as an element."""
        return (
            f'<svg viewBox="0 0 {self._width} {self._height}" role="img" aria-label="{escape(self._label)}">'
            f"{''.join(self._parts)}</svg>"
        )

    def _text(self, x: float, y: float, text: str, anchor: str, css: str = "") -> None:
        of_class = f' class="{css}"' if css else ""
        self._parts.append(f'<text{of_class} x="{_px(x)}" y="{_px(y)}" text-anchor="{anchor}">{escape(text)}</text>')


def _px(value: Float64s | float) -> str:
    return f"{float(value):.1f}".removesuffix(".0")
