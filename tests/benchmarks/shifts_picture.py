"""Draws a made shift and a real one with the forecasts of the shipped model over them, as SVG.

    python -m tests.benchmarks.shifts_picture

Writes docs/pictures/shift_made.svg and shift_real.svg. I know nothing of how shifts are found or made.
"""

from pathlib import Path

import numpy as np

from recurrent_core.weights import load_model
from stream_engine.backtest.report.svg import Plot, nice_ticks
from tests.benchmarks.grids import read_grid
from tests.benchmarks.shifts import Series, Told, found, made, tell

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
LEAD = 4
FROM, TO = -40, 80
STYLE = (
    "<style>text{font:11px sans-serif;fill:#555}.grid{stroke:#eee}.mark{stroke:#999}.line{fill:none;stroke-width:1.5}"
    ".value{stroke:#222}.median{stroke:#1668b8}.band{fill:#1668b8;opacity:.2}.post{stroke:#c2410c;stroke-dasharray:3 3}"
    ".told{stroke:#c2410c;stroke-width:4}</style>"
)


def draw(one: Series, told: Told, label: str) -> str:
    """Readings around the shift, the median and 80 % interval said LEAD readings before, and where `drift` was told."""
    rows = np.arange(one.shift + FROM, one.shift + TO)
    xs, said = (rows - one.shift).astype(np.float64), told.quantiles[rows - LEAD, :, LEAD - 1]
    drawn = np.concatenate([one.values[rows], said.ravel()])
    ticks = nice_ticks(float(np.nanmin(drawn)), float(np.nanmax(drawn)))
    plot = Plot(label, (FROM, TO), (ticks[0], ticks[-1]), (760, 260))
    plot.y_axis(ticks)
    marks = np.arange(FROM, TO + 1, 20).tolist()
    plot.x_axis(
        marks, [str(mark) for mark in marks], f"readings from the first shifted one; forecasts {LEAD} readings ahead"
    )
    plot.band(xs, said[:, 0], said[:, 2], "")
    plot.post(0.0)
    plot.line(xs, said[:, 1], "median")
    plot.line(xs, one.values[rows], "value")
    plot.line(xs, np.where(told.is_drifting[rows], ticks[0], np.nan), "told")
    return plot.svg().replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(">", f">{STYLE}", 1)


def main() -> None:
    """The command line: the first made series of noise around a level, the last shift found in nab_machine."""
    model = load_model()
    real = found(read_grid("nab_machine_temperature_system_failure"))[-1]
    for name, one in (("made", next(made(1, seed=11))), ("real", real)):
        path = PICTURES / f"shift_{name}.svg"
        path.write_text(draw(one, tell(model, [one])[0], f"A {name} shift, and what was forecast") + "\n")
        print(path.relative_to(PICTURES.parents[1]))


if __name__ == "__main__":
    main()
