"""Time and peak memory of every rule of attention over the length of a run, and over the number of sensors.

One call is one pass forward and one back, of 1 sequence, HEADS heads and d_k = d_v = SIZE, float32. I know nothing of
pictures. torch's own fused softmax, `sdpa`, is measured in the same sweep.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from recurrent_core.errors import ConfigError
from recurrent_core.ops.mechanism import Recurrence
from recurrent_core.ops.registry import MECHANISMS, make_mechanism, mechanism_class
from recurrent_core.ops.run import make_run
from stream_engine.bench.memory import PeakMemory
from stream_engine.bench.process import KEEPING, Apart

HEADS, SIZE = 4, 32
SDPA = "sdpa"
OVER = ("length", "sensors")
RANK = 16
"""Of linformer, whose window is the run."""
MOST_BYTES = 6 * 2**30
FEW_S = 0.3
FIT_FROM = 1024
"""An exponent is fitted from here on, where the run outweighs what a call costs at any length ..."""
FIT_OVER = 8
"""... or, where the longest is short, over the lengths up to so many times shorter."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One rule at one length.

    Attributes:
        rule: its name, or `sdpa`.
        over: `length`, attention over time, causal; or `sensors`, across pairs without an order.
        length: readings, or sensors.
        seconds: median of a pass forward and back. repeats: of how many.
        peak_bytes: most memory taken beyond the inputs; None where it cannot be measured.
    """

    rule: str
    over: str
    length: int
    seconds: float
    repeats: int
    peak_bytes: int | None


def rules_over(over: str) -> list[str]:
    """Every rule that can be swept over this, and torch's softmax."""
    is_fit = {name: over == "length" or not rule.why_not_across for name, rule in MECHANISMS.items()}
    return [SDPA, *(name for name in MECHANISMS if is_fit[name])]


def check_rules(names: Sequence[str]) -> None:
    """Refuse names that are not to be had.

    Raises:
        ConfigError: naming the nearest known rule.
    """
    for name in names:
        if name != SDPA:
            mechanism_class(name)


def check_device(device: str) -> None:
    """Refuse a device that this machine has not.

    Raises:
        ConfigError: saying which it has.
    """
    has = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if device not in has:
        raise ConfigError(f"no device {device!r} here; this machine has {', '.join(has)}")


def sweep(
    rule: str,
    over: str,
    lengths: Sequence[int],
    limit_s: float,
    device: str,
    memory: PeakMemory | None,
    threads: int = 1,
) -> Iterator[Measured]:
    """Measure a rule at growing lengths, until the next is expected to take more than limit_s or MOST_BYTES.

    Where a pass was ended for its memory, it is the last of its rule.
    """
    with Apart(KEEPING, threads) as timing:
        timing.call(timed_pass, rule, over, lengths[0], device)  # compiles where it must, and wakes libraries
        before: Measured | None = None
        for length in lengths:
            if before is not None and _is_too_much(before, length, limit_s):
                return
            timed = timing.call(timed_pass, rule, over, length, device)
            if timed is None:
                return
            peak = memory.of(rule, over, length) if memory else None
            before = Measured(rule, over, length, *timed, peak)
            yield before
            if memory and memory.is_telling and peak is None:
                return


def exponents(measured: Sequence[Measured], what: str) -> dict[str, float]:
    """Slope of log time (`seconds`) or log memory (`peak_bytes`) over log length, per rule, from FIT_FROM on."""
    found = {}
    for rule in dict.fromkeys(one.rule for one in measured):
        points = [(one.length, getattr(one, what)) for one in measured if one.rule == rule and getattr(one, what)]
        points = [point for point in points if point[0] >= min(FIT_FROM, points[-1][0] / FIT_OVER)]
        if len(points) >= 3:
            length, value = np.log(np.array(points, dtype=np.float64)).T
            found[rule] = float(np.polyfit(length, value, 1)[0])
    return found


def as_rows(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """The raw numbers, for a file."""
    return [asdict(one) for one in measured]


def one_pass(rule: str, over: str, length: int, device: str = "cpu") -> Callable[[], None]:
    """A pass forward and back of a rule on drawn pairs of this length; the draw is done, the rule made."""
    generator = torch.Generator().manual_seed(length)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(1, HEADS, length, *shape, generator=generator).to(device).requires_grad_()

    q, k, v = draw(SIZE), draw(SIZE), draw(SIZE)
    if rule == SDPA:
        is_causal = over == "length"
        return _back(lambda: functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal))
    choices = {"window": length, "rank": min(RANK, length)} if rule == "linformer" else {}
    mechanism = make_mechanism(rule, SIZE, SIZE, **choices).to(device)
    if over == "sensors":
        return _back(lambda: mechanism.across(q, k, v))
    log_decay = -torch.rand(1, HEADS, length, generator=generator).to(device) / 100.0
    gate = -torch.rand(k.shape, generator=generator).to(device) / 100.0 if mechanism.is_gated else None
    run = make_run(k, v, log_decay, log_gate=gate)
    return _back(lambda: mechanism.attend(q, run))


def _back(forward: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """Forward, and back from the sum of the outputs."""

    def call() -> None:
        torch.autograd.backward(forward().sum())

    return call


def _is_too_much(before: Measured, length: int, limit_s: float) -> bool:
    """Whether a longer run is expected to pass the limits: linear growth for what streams, else quadratic."""
    is_linear = before.rule in MECHANISMS and issubclass(MECHANISMS[before.rule], Recurrence)
    growth = length / before.length
    more_time = before.seconds * growth ** (1 if is_linear else 2)
    is_matrix = before.rule == "softmax"
    more_memory = (before.peak_bytes or 0) * growth ** (2 if is_matrix else 1)
    return more_time > limit_s or more_memory > MOST_BYTES


def timed_pass(rule: str, over: str, length: int, device: str) -> tuple[float, int]:
    """Median seconds, and of how many calls: those of FEW_S, at least three, after a first; one where that is long."""
    call = one_pass(rule, over, length, device)
    first = _seconds(call, device)
    if first > 10 * FEW_S:
        return first, 1
    repeats = max(3, min(30, int(FEW_S / max(first, 1e-6))))
    return statistics.median(_seconds(call, device) for _ in range(repeats)), repeats


def _seconds(call: Callable[[], None], device: str) -> float:
    start = time.perf_counter()
    call()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start
