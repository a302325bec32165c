"""`make default-model`: trains the model that ships with the package."""

import time
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
from stream_engine.training.default.sets import left_in, read_sets, trained_on
from stream_engine.training.fit import Course, Regimen
from stream_engine.training.harvest import Origins, Sampling, balanced, harvest
from stream_engine.training.material import Part
from stream_engine.training.passages import as_it_came

NUM_ORIGINS = 25_000
"""Of each set."""
NUM_VARIED, NUM_GENERATED = 24, 500
"""Series made of each set, and out of nothing."""
NUM_YOUNG = 120
"""A slot's first readings, from which more is learned: a new sensor must be served well."""


def main(
    out: Annotated[Path, typer.Option(help="folder of the artifact")],
    data: Annotated[Path, typer.Option(help="folder of the development sets")] = Path("../shared/data"),
    leave_out: Annotated[
        str, typer.Option(help="sets to leave out, with their groups' fellows; or a group's number 0 to 3")
    ] = "",
    steps: Annotated[int, typer.Option(min=1, help="gradient steps")] = 2500,
    seed: Annotated[int, typer.Option(min=0, help="decides everything that is drawn")] = 0,
) -> None:
    """Train one network that serves any sensor from its first readings, and save the model with it."""
    torch.set_num_threads(1)
    console = Console(stderr=True)
    draw, began_s = np.random.default_rng(seed), time.monotonic()
    model = Elinformer.untrained()
    names = left_in(leave_out)
    sets: list[Origins] = []
    for part in read_sets(data, names):
        share = min(1.0, NUM_ORIGINS / part.values.size)
        sampling = Sampling(share, 0.5, NUM_YOUNG if len(part.sensors) > 4 else 3 * NUM_YOUNG)
        sets.append(balanced(harvest(part, as_it_came(part, len(part.values)), model, sampling, draw)))
        sets.append(_many([varied(part, draw) for _ in range(NUM_VARIED)], model, draw))
        console.print(f"{part.name}: {len(sets[-2])} + {len(sets[-1])} origins", highlight=False)
    sets.append(_many(list(generated(NUM_GENERATED, seed)), model, draw))
    console.print(f"generated: {len(sets[-1])} origins; {time.monotonic() - began_s:.0f} s", highlight=False)
    course = Course(sets, Regimen(num_steps=steps), seed)
    course.learn(steps, lambda _: None)
    console.print(f"learned; {time.monotonic() - began_s:.0f} s", highlight=False)
    facts = {"trained_on": ["generated series", *trained_on(names)], "seed": seed, "steps": steps}
    save_model(model.with_networks(course.averaged.mix_net, None, "default", "1"), out, facts)


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
