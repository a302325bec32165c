"""A schedule of faults, drawn from a seed: the same seed gives the same faults in the same order.

I decide; `tests.chaos.run` carries out.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.worker import PHASES

KINDS = {
    "kill": 6,
    "phase": 8,
    "freeze": 2,
    "redis restart": 1,
    "redis pause": 1,
    "redis flush": 1,
    "broker restart": 1,
    "broker pause": 1,
    "kafka line pause": 1,
    "kafka line pause past session": 1,
    "kafka line cut": 1,
    "kafka line cut past session": 1,
    "redis line pause": 1,
    "redis line cut": 1,
    "add": 1,
    "remove": 1,
}
"""Kind of fault -> how often it comes, beside the others. A line is one worker's way to one server: paused, nothing
passes and connections stay open; cut, they are reset and new ones refused."""

CLIENTS = ("librdkafka", "python")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: one of KINDS.
        pause_s: quiet time before it.
        chance: [0, 1), picks the worker that it hits.
        phase, count: for `phase`: what the killed worker's heir dies of, and after how many times.
        client: for `add`: of the new worker.
        length_s: how long something stays away, frozen or broken.
    """

    kind: str
    pause_s: float
    chance: float
    phase: str
    count: int
    client: str
    length_s: float


def faults(seed: int, num: int, session_s: float, first: tuple[str, ...] = ()) -> Iterator[Fault]:
    """That many faults; the kinds named first come first, and every phase before any comes twice."""
    draw = random.Random(seed)
    phases: list[str] = []
    for number in range(num):
        kind = first[number] if number < len(first) else draw.choices(list(KINDS), list(KINDS.values()))[0]
        if not phases:
            phases = draw.sample(list(PHASES), len(PHASES))
        yield Fault(
            kind=kind,
            pause_s=draw.uniform(0.3, 2.5),
            chance=draw.random(),
            phase=phases.pop() if kind == "phase" else "",
            count=draw.randint(1, 4),
            client=draw.choice(CLIENTS),
            length_s=session_s + draw.uniform(1.0, 2.5) if _outlasts_session(kind) else draw.uniform(0.5, 3.0),
        )


def _outlasts_session(kind: str) -> bool:
    return kind == "freeze" or kind.endswith("past session")
