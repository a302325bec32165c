"""The exception tree of the engine; I know nothing of what raises it.

    EngineError          the engine cannot go on (exit status 1)
    └── ConfigError      what was asked can never work as written (exit status 2)
        └── PositionError    the log does not hold what is to be read next, and `reset` is `fail`

A bad record is no exception: it is a `records.Reject`. Faults of servers are those of `connectors.errors`.
Every message is one sentence: what, where, wanted, way out; it holds no secret and no payload.
"""

import difflib
from collections.abc import Iterable


class EngineError(Exception):
    """Root of every fault the engine raises; `exit_status` is what a command ends with."""

    exit_status = 1


class ConfigError(EngineError):
    """What was asked can never work as written."""

    exit_status = 2


class PositionError(ConfigError):
    """The log does not hold the position to read from, and the configuration says to fail then."""


def nearest_name(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, else all known ones, as the end of a sentence."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}"
