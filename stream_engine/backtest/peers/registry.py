"""Names of the peers -> what makes one for a sensor; a library that is not installed is named with its install line.

I know nothing of histories or scores. The libraries are imported on first use.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream_engine.backtest.peers.peer import Peer, Season
from stream_engine.errors import ConfigError

HOLT_WINTERS, AUTO_ETS, AUTO_THETA = "holt_winters", "auto_ets", "auto_theta"
PEERS = (HOLT_WINTERS, AUTO_ETS, AUTO_THETA)

_LIBRARIES = {HOLT_WINTERS: "river", AUTO_ETS: "statsforecast", AUTO_THETA: "statsforecast"}
_CLASSES = {AUTO_ETS: "AutoETS", AUTO_THETA: "AutoTheta"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a peer is made.

    Attributes:
        make: a new one for a sensor whose readings have this season.
        settings: a sentence about its settings for that season.
    """

    make: Callable[[Season], Peer]
    settings: Callable[[Season], str]


def check_installed(names: Sequence[str]) -> None:
    """Refuse peers whose library is missing.

    Raises:
        ConfigError: one is.
    """
    for name in names:
        library = _LIBRARIES.get(name)
        if library is not None and importlib.util.find_spec(library) is None:
            raise ConfigError(
                f"--baselines: {name} needs {library}, which is not installed; pip install 'stream-engine[peers]'"
            )


def recipe(name: str) -> Recipe:
    """The recipe of a peer whose library is installed."""
    if name == HOLT_WINTERS:
        from stream_engine.backtest.peers import holt_winters

        return Recipe(holt_winters.StreamedHoltWinters, holt_winters.settings)
    from stream_engine.backtest.peers.refitted import Habit, Refitted

    kind = _CLASSES[name]
    return Recipe(lambda season: Refitted(Habit.of(kind, season)), lambda season: str(Habit.of(kind, season)))
