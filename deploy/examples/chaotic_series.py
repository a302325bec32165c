"""Two chaotic series, Lorenz and Mackey-Glass, forecast by small stacks of each rule with and without convolution.

    python -m deploy.examples.chaotic_series

A stack of two layers sees one number at a time (of Lorenz only x) and says the next 1 ... 16. Trained on the first
part of the series, scored on the last, streaming: the state is carried through. Prints errors over the series' standard
deviation and writes a picture of each series.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recurrent_core.layers.stack import LayerChoice, Stack
from stream_engine.bench.picture import draw

RULES = ("softmax_window", "entropy_equality", "elu", "gated_delta", "diagonal")
LEADS = (1, 2, 4, 8, 16)
D_MODEL, HEADS, LAYERS, WIDTH = 32, 4, 2, 4
BATCH, LENGTH = 16, 128


def lorenz(num_readings: int) -> NDArray[np.float64]:
    """x of the Lorenz system (sigma 10, rho 28, beta 8/3) every 0.05, by Runge-Kutta steps of 0.01."""

    def slope(at: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y, z = at
        return np.array([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z])

    at, step, found = np.array([1.0, 1.0, 1.0]), 0.01, []
    for n in range(5 * (num_readings + 100)):
        a = slope(at)
        b = slope(at + step / 2 * a)
        c = slope(at + step / 2 * b)
        d = slope(at + step * c)
        at = at + step / 6 * (a + 2 * b + 2 * c + d)
        if n % 5 == 0:
            found.append(at[0])
    return np.array(found[100:])


def mackey_glass(num_readings: int) -> NDArray[np.float64]:
    """x' = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x, every 3, by Euler steps of 0.1."""
    steps, lag = 30, 170
    values = np.full(lag + steps * (num_readings + 100), 1.2)
    for n in range(lag, len(values)):
        old = values[n - lag]
        values[n] = values[n - 1] + 0.1 * (0.2 * old / (1.0 + old**10) - 0.1 * values[n - 1])
    return values[lag::steps][100:]


SERIES = {"lorenz": lorenz, "mackey_glass": mackey_glass}


class Forecaster(nn.Module):
    """A number in, a stack, the changes until each lead out."""

    def __init__(self, rule: str, conv_width: int) -> None:
        super().__init__()
        choices = {"window": 32} if rule == "softmax_window" else {}
        self.into = nn.Linear(1, D_MODEL)
        self.stack = Stack(D_MODEL, HEADS, [LayerChoice(rule, conv_width, choices=choices)] * LAYERS)
        self.out = nn.Linear(D_MODEL, len(LEADS))

    def forward(self, values: Tensor) -> Tensor:
        """values: [slots, time]; forecasts [slots, time, leads]."""
        elapsed, is_written = torch.ones_like(values), torch.ones(values.shape, dtype=torch.bool)
        fresh = self.stack.init_state(len(values))
        hidden, _ = self.stack.sequence(self.into(values.unsqueeze(-1)), elapsed, is_written, fresh)
        changes: Tensor = self.out(hidden)
        return values.unsqueeze(-1) + changes


@dataclass(frozen=True)
class Account:
    """One trained stack: errors over the standard deviation at each lead, on what it had not seen."""

    series: str
    rule: str
    conv_width: int
    errors: list[float]
    seconds: float


def train_and_score(series: str, values: Tensor, rule: str, conv_width: int, num_steps: int) -> Account:
    """Train on the first 70 % of standardised values, [time], and score on the rest, LENGTH readings warming up."""
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    net = Forecaster(rule, conv_width)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, num_steps)
    cut, reach = int(0.7 * len(values)), LENGTH + max(LEADS)
    start = time.perf_counter()
    for _ in range(num_steps):
        firsts = torch.randint(cut - reach, (BATCH, 1), generator=generator)
        window = values[firsts + torch.arange(reach)]
        wanted = torch.stack([window[:, lead : lead + LENGTH] for lead in LEADS], dim=-1)
        loss = (net(window[:, :LENGTH]) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    seconds = time.perf_counter() - start
    rest = values[cut:]
    num_scored = len(rest) - max(LEADS)
    with torch.no_grad():
        said = net(rest[:num_scored].unsqueeze(0))[0, LENGTH:]
    errors = [
        float((said[:, n] - rest[LENGTH + lead : num_scored + lead]).square().mean().sqrt())
        for n, lead in enumerate(LEADS)
    ]
    return Account(series, rule, conv_width, errors, seconds)


def run(num_readings: int, num_steps: int, rules: tuple[str, ...] = RULES) -> list[Account]:
    """Every rule on both series, with and without convolution."""
    accounts = []
    for series, make in SERIES.items():
        raw = make(num_readings)
        values = torch.from_numpy((raw - raw.mean()) / raw.std()).float()
        for rule in rules:
            for conv_width in (0, WIDTH):
                account = train_and_score(series, values, rule, conv_width, num_steps)
                accounts.append(account)
                print(
                    f"{series:13s}{rule:18s}{'convolution' if conv_width else '':12s}"
                    + "".join(f"{error:8.4f}" for error in account.errors)
                    + f"{account.seconds:7.0f} s",
                    flush=True,
                )
    return accounts


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("out"))
    asked = parser.parse_args()
    print(f"error over the standard deviation, leads {', '.join(map(str, LEADS))}")
    accounts = run(asked.readings, asked.steps)
    asked.out.mkdir(parents=True, exist_ok=True)
    for series in SERIES:
        lines, texts = {}, {}
        for one in accounts:
            if one.series == series:
                name = f"{one.rule}{' + conv' if one.conv_width else ''}"
                lines[name], texts[name] = list(zip(LEADS, one.errors, strict=True)), name
        path = asked.out / f"{series}.svg"
        path.write_text(draw(f"{series}: error over the standard deviation, by lead", lines, texts) + "\n")
        print(path)


if __name__ == "__main__":
    main()
