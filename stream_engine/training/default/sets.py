"""The development sets: how each is read, and which must be left out together.

I know nothing of models. The files themselves are no part of the project.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from stream_engine.backtest.history import Choice
from stream_engine.config import Condition
from stream_engine.errors import ConfigError
from stream_engine.localtime import Calendar
from stream_engine.training.material import Cuts, Part, read_parts

MAX_SENSORS = 32
"""Sensors of a set that are learned from, evenly spaced."""
PLAIN, MASKED = Choice(), Choice(mask_zeros=True)
SETS: dict[str, tuple[str, Choice]] = {
    "ETTh1": ("ETTh1", PLAIN),
    "ETTh2": ("ETTh2", PLAIN),
    "ETTm1": ("ETTm1", PLAIN),
    "aarhus_count": ("aarhus_traffic", Choice("count")),
    "aarhus_parking": ("aarhus_parking", PLAIN),
    "aarhus_speed": ("aarhus_traffic", Choice("speed", mask_zeros=True, valid_where=Condition("count > 0"))),
    "beijing_air": ("beijing_air", PLAIN),
    "birmingham_parking": ("birmingham_parking", PLAIN),
    "ecl_35days": ("ecl_35days", PLAIN),
    "exchange_rate": ("exchange_rate", PLAIN),
    "metr_la_full10": ("metr_la_full10", MASKED),
    "metr_la_tail65": ("metr_la_tail65", MASKED),
    "nab_TravelTime_387": ("nab_TravelTime_387", PLAIN),
    "nab_ambient_temperature_system_failure": ("nab_ambient_temperature_system_failure", PLAIN),
    "nab_ec2_request_latency_system_failure": ("nab_ec2_request_latency_system_failure", PLAIN),
    "nab_machine_temperature_system_failure": ("nab_machine_temperature_system_failure", PLAIN),
    "nab_nyc_taxi": ("nab_nyc_taxi", PLAIN),
    "nab_occupancy_6005": ("nab_occupancy_6005", PLAIN),
    "nab_speed_7578": ("nab_speed_7578", PLAIN),
    "pems08_flow_tail": ("pems08_flow_tail", MASKED),
    "pemsd7_25": ("pemsd7_25", PLAIN),
    "pjm_hourly": ("pjm_hourly", PLAIN),
}
"""Name -> file and what counts as a reading in it."""
GROUPS: tuple[frozenset[str], ...] = (
    frozenset({"pems08_flow_tail", "ETTh1", "ETTh2", "ETTm1", "beijing_air", "pjm_hourly"}),
    frozenset(
        {
            "metr_la_full10",
            "metr_la_tail65",
            "aarhus_speed",
            "aarhus_count",
            "exchange_rate",
            "birmingham_parking",
        }
    ),
    frozenset(
        {"pemsd7_25", "aarhus_parking", "ecl_35days", "nab_speed_7578", "nab_occupancy_6005", "nab_TravelTime_387"}
    ),
    frozenset(
        {
            "nab_machine_temperature_system_failure",
            "nab_ambient_temperature_system_failure",
            "nab_nyc_taxi",
            "nab_ec2_request_latency_system_failure",
        }
    ),
)
"""Sets that are left out together, since they come from one place or kind."""


def left_in(left_out: str) -> list[str]:
    """The sets to learn from, once those named (with their groups' fellows) are left out.

    Args:
        left_out: names parted by commas, or the number of a group; empty for none.
    Raises:
        ConfigError: there is no such set.
    """
    names = [name.strip() for name in left_out.split(",") if name.strip()]
    gone: set[str] = set()
    for name in names:
        if name.isdigit() and int(name) < len(GROUPS):
            gone |= GROUPS[int(name)]
        elif name in SETS:
            gone |= next((group for group in GROUPS if name in group), frozenset({name}))
        else:
            raise ConfigError(
                f"--leave-out: there is no set {name!r}; there are {', '.join(SETS)}, or a group's number"
            )
    return [name for name in SETS if name not in gone]


def trained_on(names: list[str]) -> list[str]:
    """The sets and the files they come from, so that a backtest of either is known for one that is not zero-shot."""
    return sorted({*names, *(SETS[name][0] for name in names)})


def read_sets(folder: Path, names: list[str]) -> Iterator[Part]:
    """Each set whole, at most MAX_SENSORS of its sensors.

    Raises:
        ConfigError, TableError: a file is missing or cannot be read.
    """
    for name in names:
        file, choice = SETS[name]
        (part,) = read_parts([folder / f"{file}.npz"], choice, Cuts(), Calendar())
        chosen = np.unique(np.linspace(0, len(part.sensors) - 1, MAX_SENSORS).round().astype(np.int64))
        yield replace(
            part,
            name=name,
            sensors=tuple(part.sensors[i] for i in chosen),
            numbers=part.numbers[chosen],
            values=part.values[:, chosen],
        )
