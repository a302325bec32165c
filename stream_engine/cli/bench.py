"""`stream-engine bench`: measurements on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from stream_engine.cli.progress import shown_progress

if TYPE_CHECKING:
    from stream_engine.bench.attention import Measured

bench = typer.Typer(help="Measure on this machine.", no_args_is_help=True)
SHORTEST, LONGEST, QUICK_LONGEST = 128, 131_072, 4_096


@bench.callback()
def _group() -> None:
    """Keeps `attention` a command of its own."""


@bench.command()
def attention(
    rules: Annotated[
        list[str] | None, typer.Argument(help="which rules, such as entropy_equality elu sdpa; all where none is named")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for attention.json and the pictures")] = Path("out/attention"),
    longest: Annotated[int, typer.Option(min=SHORTEST, help="longest run, in readings")] = LONGEST,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"up to {QUICK_LONGEST:,} readings, in a minute or two")
    ] = False,
    limit_s: Annotated[
        float, typer.Option(min=0.1, help="leave a rule's longer runs out once one would take more")
    ] = 60,
    threads: Annotated[int, typer.Option(min=1, help="of torch")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> None:
    """Sweep every rule of attention over the length of a run, and over the number of sensors.

    Each is a pass forward and back, 4 heads of 32; torch's fused softmax, sdpa, runs in the same sweep.

    stream-engine bench attention --quick

    stream-engine bench attention entropy_equality elu sdpa --longest 16384
    """
    from stream_engine.bench import attention as measuring  # takes seconds
    from stream_engine.bench.memory import PeakMemory

    measuring.check_rules(rules or [])
    measuring.check_device(device)
    longest = min(longest, QUICK_LONGEST) if quick else longest
    lengths = [SHORTEST * 2**n for n in range((longest // SHORTEST).bit_length())]
    plan = [
        (over, rule) for over in measuring.OVER for rule in measuring.rules_over(over) if not rules or rule in rules
    ]
    measured: list[Measured] = []
    summary: dict[str, Any] = {}
    with shown_progress("lengths measured") as bar, PeakMemory(device) as memory:
        bar.expect(len(plan) * len(lengths))
        for over, rule in plan:
            found = []
            for one in measuring.sweep(rule, over, lengths, limit_s, device, memory, threads):
                found.append(one)
                bar.advance(1)
            bar.advance(len(lengths) - len(found))
            measured += found
            summary = write(measured, out, threads, device)
    _print(summary, measured)
    typer.echo(f"{out / 'attention.json'} and the pictures beside it")


def write(measured: "list[Measured]", out: Path, threads: int, device: str) -> dict[str, Any]:
    """Write the raw numbers and the pictures; returns the fitted exponents, over -> what -> rule -> exponent."""
    from stream_engine.bench import attention as measuring
    from stream_engine.bench.picture import draw

    out.mkdir(parents=True, exist_ok=True)
    summary: dict[str, Any] = {}
    for over in measuring.OVER:
        ones = [one for one in measured if one.over == over]
        for what, unit, title in (("seconds", "s", "time"), ("peak_bytes", "B", "peak memory")):
            fitted = measuring.exponents(ones, what)
            summary.setdefault(over, {})[what] = fitted
            lines: dict[str, list[tuple[int, float]]] = {}
            for one in ones:
                if getattr(one, what):
                    lines.setdefault(one.rule, []).append((one.length, float(getattr(one, what))))
            if lines and len({length for points in lines.values() for length, _ in points}) > 1:
                texts = {name: f"{name}  {fitted[name]:.2f}" if name in fitted else name for name in lines}
                label = f"{title} of a pass forward and back, over {'readings' if over == 'length' else 'sensors'}"
                (out / f"{over}_{what}.svg").write_text(draw(label, lines, texts, unit) + "\n")
    facts = {
        "heads": measuring.HEADS,
        "d_k": measuring.SIZE,
        "threads": threads,
        "device": device,
        "exponents": summary,
        "measured": measuring.as_rows(measured),
    }
    (out / "attention.json").write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
    return summary


def _print(summary: dict[str, Any], measured: "list[Measured]") -> None:
    """A table for each sweep: milliseconds at a few lengths and the exponents."""
    for over, fitted in summary.items():
        ones = {(one.rule, one.length): one for one in measured if one.over == over}
        lengths = sorted({length for _, length in ones})
        shown = sorted(lengths[::-3])
        table = Table(title=f"over {'readings' if over == 'length' else 'sensors'}: ms forward and back")
        table.add_column("rule")
        for heading in [*(f"{length:,}" for length in shown), "time ~ n^", "memory ~ n^"]:
            table.add_column(heading, justify="right")
        for rule in dict.fromkeys(rule for rule, _ in ones):
            times = [f"{1e3 * ones[rule, n].seconds:,.1f}" if (rule, n) in ones else "" for n in shown]
            slopes = [f"{fitted[what][rule]:.2f}" if rule in fitted[what] else "" for what in ("seconds", "peak_bytes")]
            table.add_row(rule, *times, *slopes)
        Console().print(table)
