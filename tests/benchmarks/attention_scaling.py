"""What entropy equality costs beside elu + 1 and torch's fused softmax, and how every rule grows with the run.

    python -m tests.benchmarks.attention_scaling

One thread, 4 heads of 32, forward and back. Entropy equality has two chunk forms, compiled loops on a CPU and torch's
products block by block elsewhere; both are set beside elu + 1's. Results in results/attention_scaling.json.
"""

import statistics
import time
from collections.abc import Callable

import torch

from recurrent_core.ops.mechanism import Recurrence
from recurrent_core.ops.registry import MECHANISMS, make_mechanism
from recurrent_core.ops.run import make_run
from stream_engine.bench.attention import HEADS, SDPA, SIZE, as_rows, exponents, one_pass, rules_over, sweep
from stream_engine.bench.memory import PeakMemory
from stream_engine.bench.process import KEEPING, Apart
from tests.benchmarks.results import save

LENGTHS = (1024, 2048, 4096, 8192)
TURNS = 7
BLOCK = 128
"""Readings of a block: the best for both rules on this machine."""


def by_blocks(name: str, length: int) -> Callable[[], None]:
    """A pass of the chunk form by torch's products."""
    generator = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(1, HEADS, length, SIZE, generator=generator).requires_grad_() for _ in range(3))
    rule = make_mechanism(name, SIZE, SIZE)
    if not isinstance(rule, Recurrence):
        raise TypeError(f"{name} has no chunk form")
    run = make_run(k, v, -torch.rand(1, HEADS, length, generator=generator) / 100.0)
    fresh = rule.init_state((1, HEADS))
    return lambda: rule.chunk(q, run, fresh, chunk_size=BLOCK)[0].sum().backward()


def in_turns(calls: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Median milliseconds of each, measured in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(TURNS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: round(statistics.median(found), 2) for name, found in times.items()}


def side_by_side(length: int) -> dict[str, float]:
    """Milliseconds of each way at this length."""
    return in_turns(
        {
            "entropy_equality": one_pass("entropy_equality", "length", length),
            "entropy_equality by blocks": by_blocks("entropy_equality", length),
            "elu": by_blocks("elu", length),
            SDPA: one_pass(SDPA, "length", length),
        }
    )


def main() -> None:
    """The command line."""
    beside: dict[str, dict[str, float]] = {}
    print(f"{'ms forward and back':22s}{'entropy eq.':>12s}{'by blocks':>12s}{'elu + 1':>12s}{'sdpa':>12s}")
    with Apart(KEEPING) as timing:
        for length in LENGTHS:
            found = timing.call(side_by_side, length)
            if found is None:
                raise SystemExit(f"{length} readings: no memory for them here")
            beside[str(length)] = found
            print(f"{length:<22,}" + "".join(f"{ms:12.1f}" for ms in found.values()), flush=True)
    ratios = {
        name: [round(found[name] / found[other], 3) for found in beside.values()]
        for name, other in (("entropy_equality", "elu"), ("entropy_equality by blocks", "elu"))
    }
    to_sdpa = [round(found["entropy_equality"] / found[SDPA], 3) for found in beside.values()]
    print(f"over elu + 1 (goal 1.3): {ratios['entropy_equality']}; by blocks {ratios['entropy_equality by blocks']}")
    print(f"over sdpa (goal below 1): {to_sdpa}")
    measured = []
    with PeakMemory() as memory:
        for rule in rules_over("length"):
            measured += list(sweep(rule, "length", LENGTHS, 20.0, "cpu", memory))
    fitted = {what: exponents(measured, what) for what in ("seconds", "peak_bytes")}
    for rule in dict.fromkeys(one.rule for one in measured):
        slopes = [f"{fitted[what].get(rule, float('nan')):8.2f}" for what in fitted]
        kind = "linear, goal 1.05" if rule in MECHANISMS and issubclass(MECHANISMS[rule], Recurrence) else ""
        print(f"  {rule:18s} time ~ n^{slopes[0]}  memory ~ n^{slopes[1]}  {kind}")
    save(
        "attention_scaling",
        "python -m tests.benchmarks.attention_scaling",
        {
            "ms": beside,
            "over_elu": ratios,
            "entropy_equality_over_sdpa": to_sdpa,
            "exponents": fitted,
            "measured": as_rows(measured),
        },
    )


if __name__ == "__main__":
    main()
