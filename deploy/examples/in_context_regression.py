"""Linear regression in context: each rule of attention is shown n pairs (x, y) and asked for y at a new x.

    python -m deploy.examples.in_context_regression

Nothing is trained: keys are the x, values the y = w'x + noise, of a new w for each task. Two numbers are chosen for
each rule on other tasks, a factor on the query and one on what is read, so that none suffers from its scale. Prints
mean squared errors over that of answering the mean, and writes a picture. The ridge read-out is compared with ridge
regression solved on the same pairs.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from recurrent_core.ops.mechanism import Mechanism
from recurrent_core.ops.registry import MECHANISMS, make_mechanism
from recurrent_core.ops.run import make_run
from stream_engine.bench.picture import draw

SIZE, NOISE = 8, 0.1
COUNTS = (4, 8, 16, 32, 64, 128, 256)
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
LEFT_OUT = {"linformer": "mixes a window of fixed length", "diagonal": "pairs a key's channels with a value's"}


def tasks(num_tasks: int, num_pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    """x, [tasks, num_pairs + 1, SIZE], and y, [tasks, num_pairs + 1, 1]; the last is what is asked."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_tasks, num_pairs + 1, SIZE, generator=generator)
    w = torch.randn(num_tasks, SIZE, 1, generator=generator) / SIZE**0.5
    return x, x @ w + NOISE * torch.randn(num_tasks, num_pairs + 1, 1, generator=generator)


@torch.no_grad()
def answers(rule: Mechanism, x: Tensor, y: Tensor, factor: float) -> Tensor:
    """What is read at the last x, which is asked and not written, [tasks]."""
    is_written = torch.ones(x.shape[:-1], dtype=torch.bool)
    is_written[:, -1] = False
    run = make_run(x, y, torch.zeros(x.shape[:-1]), is_written=is_written)
    return rule.attend(factor * x, run)[:, -1, 0]


def learning_curve(name: str, num_tasks: int) -> list[tuple[int, float]]:
    """(pairs shown, mean squared error over the variance of y), the factors chosen on other tasks."""
    torch.manual_seed(0)
    rule = make_mechanism(name, SIZE, 1)
    curve = []
    for count in COUNTS:
        x, y = tasks(num_tasks, count, seed=1)
        wanted = y[:, -1, 0]
        best, chosen, gain = float("inf"), 1.0, torch.tensor(1.0)
        for factor in (1.0,) if name == "ridge" else FACTORS:
            said = answers(rule, x, y, factor)
            fitted = (said @ wanted) / (said @ said).clamp(min=1e-9)
            error = float((fitted * said - wanted).square().mean())
            if error < best:
                best, chosen, gain = error, factor, fitted
        x, y = tasks(num_tasks, count, seed=2)
        wanted = y[:, -1, 0]
        found = gain * answers(rule, x, y, chosen)
        curve.append((count, float((found - wanted).square().mean() / wanted.square().mean())))
    return curve


def distance_from_ridge_regression(num_tasks: int = 100) -> float:
    """Largest difference between the ridge read-out and ridge regression with intercept, solved on the same pairs."""
    rule = make_mechanism("ridge", SIZE, 1)
    furthest = 0.0
    for count in COUNTS:
        x, y = tasks(num_tasks, count, seed=3)
        keys, values, asked = x[:, :-1].double(), y[:, :-1].double(), x[:, -1].double()
        centre, level = keys.mean(1, keepdim=True), values.mean(1, keepdim=True)
        gram = (keys - centre).mT @ (keys - centre)
        strength = 0.03 * gram.diagonal(dim1=-2, dim2=-1).mean(-1) + 1e-6 * count
        eye = torch.eye(SIZE, dtype=torch.float64)
        w = torch.linalg.solve(gram + strength[:, None, None] * eye, (keys - centre).mT @ (values - level))
        solved = (level + (asked.unsqueeze(1) - centre) @ w)[:, 0, 0]
        furthest = max(furthest, float((answers(rule, x, y, 1.0).double() - solved).abs().max()))
    return furthest


def run(num_tasks: int) -> dict[str, list[tuple[int, float]]]:
    """The learning curve of every rule that can take part."""
    return {name: learning_curve(name, num_tasks) for name in MECHANISMS if name not in LEFT_OUT}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("out/in_context_regression.svg"))
    asked = parser.parse_args()
    curves = run(asked.tasks)
    print("mean squared error over the variance of y, after so many pairs")
    print(f"{'':18s}" + "".join(f"{count:8d}" for count in COUNTS))
    for name, curve in curves.items():
        print(f"{name:18s}" + "".join(f"{error:8.3f}" for _, error in curve))
    print(f"noise alone: {NOISE**2 / (1 + NOISE**2):.3f}; left out: {LEFT_OUT}")
    print(f"ridge read-out and ridge regression differ by at most {distance_from_ridge_regression():.1e}")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    label = "error over variance, after so many pairs of a linear task"
    asked.out.write_text(draw(label, curves, {name: name for name in curves}) + "\n")
    print(asked.out)


if __name__ == "__main__":
    main()
