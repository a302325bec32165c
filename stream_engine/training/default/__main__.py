"""`make default-model`: trains the model that ships with the package."""

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from recurrent_core.models.elinformer.model import Elinformer
from recurrent_core.weights import save_model
from stream_engine.errors import ConfigError
from stream_engine.training.default.generate import generated, varied
from stream_engine.training.default.sets import SETS, left_in, read_sets, trained_on
from stream_engine.training.distil import learn_distilled
from stream_engine.training.fit import Regimen
from stream_engine.training.harvest import Origins, Sampling, balanced, harvest
from stream_engine.training.material import Part
from stream_engine.training.passages import as_it_came

NUM_ORIGINS = 25_000
"""Of each set."""
NUM_VARIED, NUM_GENERATED = 36, 1200
"""Series made of each set, and out of nothing."""
NUM_YOUNG = 120
"""A slot's first readings, from which more is learned: a new sensor must be served well."""


REGIMEN = Regimen(num_steps=1200, rate=8e-3, is_hour_hidden=True)


def main(
    out: Annotated[Path, typer.Option(help="folder of the artifact")],
    data: Annotated[Path, typer.Option(help="folder of the development sets")] = Path("../shared/data"),
    leave_out: Annotated[
        str, typer.Option(help="sets to leave out, with their groups' fellows; or a group's number 0 to 3")
    ] = "",
    steps: Annotated[int, typer.Option(min=1, help="gradient steps")] = REGIMEN.num_steps,
    seed: Annotated[int, typer.Option(min=0, help="decides everything that is drawn")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="networks whose mean teaches the one that is kept; 1: none")] = 3,
) -> None:
    """Train one network that serves any sensor from its first readings, and save the model with it."""
    torch.set_num_threads(1)
    console = Console(stderr=True)
    began_s = time.monotonic()
    names = left_in(leave_out)
    sets = []
    for some in (*(of_set(part, seed) for part in read_sets(data, names)), [of_nothing(seed)]):
        sets += some
        console.print(f"{[len(one) for one in some]} origins; {time.monotonic() - began_s:.0f} s", highlight=False)
    write(sets, names, out, replace(REGIMEN, num_steps=steps), seed, seeds)
    console.print(f"learned; {time.monotonic() - began_s:.0f} s", highlight=False)


def of_set(part: Part, seed: int) -> list[Origins]:
    """Origins of a set, and of the series made of it; the same whatever other sets are learned from."""
    draw = np.random.default_rng([seed, list(SETS).index(part.name)])
    share = min(1.0, NUM_ORIGINS / part.values.size)
    sampling = Sampling(share, 0.5, NUM_YOUNG if len(part.sensors) > 4 else 3 * NUM_YOUNG)
    model = Elinformer.untrained()
    found = balanced(harvest(part, as_it_came(part, len(part.values)), model, sampling, draw))
    return [found, _many([varied(part, draw) for _ in range(NUM_VARIED)], model, draw)]


def of_nothing(seed: int) -> Origins:
    """Origins of generated series."""
    return _many(list(generated(NUM_GENERATED, seed)), Elinformer.untrained(), np.random.default_rng([seed, len(SETS)]))


def write(sets: list[Origins], names: list[str], out: Path, regimen: Regimen, seed: int, num_seeds: int) -> None:
    """Learn from the sets and save the model; names: of the sets, for its card."""
    course = learn_distilled(sets, regimen, seed, num_seeds)
    facts = {"trained_on": ["generated series", *trained_on(names)], "seed": seed, "seeds": num_seeds}
    model = Elinformer.untrained().with_networks(course.averaged, "default", "1")
    save_model(model, out, facts | {"regimen": asdict(regimen)})


def _many(parts: list[Part], model: Elinformer, draw: np.random.Generator) -> Origins:
    """Origins of series that count as one set."""
    sampling = Sampling(0.08, 0.5, NUM_YOUNG)
    some = [
        balanced(harvest(part, as_it_came(part, len(part.values)), model, sampling, draw))
        for part in parts
        if np.isfinite(part.values).any()
    ]
    if not some:
        raise ConfigError("no series has a reading")
    return Origins.joined(some)


if __name__ == "__main__":
    typer.run(main)
