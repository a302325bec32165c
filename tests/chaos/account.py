"""What a run under faults came to, against what went in and against a serial run.

The oracle of the guarantees: of each sensor, count and digest of the readings folded; of each reading, its forecast;
of each record that is none, its dead letter.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from stream_engine.checkpoint import Shard
from tests.chaos.feed import POISON
from tests.support.topics import TopicRecord

States = dict[tuple[str, str], Shard]

TOLERANCE = 1e-4
"""Of a sensor's scale: what two runs' forecasts of one reading may differ by (DESIGN, section 7)."""


@dataclass
class Account:
    """The sums; `lines` shows them."""

    delivery: str
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    phases: Counter[str] = field(default_factory=Counter)
    ended: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    readings: int = 0
    forecasts: int = 0
    forecasts_missing: int = 0
    forecasts_twice: int = 0
    forecasts_unexpected: int = 0
    forecasts_differ: int = 0
    poison: int = 0
    letters_missing: int = 0
    letters_twice: int = 0
    sensors: int = 0
    counts_differ: int = 0
    digests_differ: int = 0
    state_difference: float = 0.0
    taken_back: int = 0
    tracebacks: int = 0

    @property
    def is_right(self) -> bool:
        """Whether the guarantees held."""
        wrong = self.forecasts_missing + self.forecasts_unexpected + self.forecasts_differ + self.letters_missing
        wrong += self.counts_differ + self.digests_differ + self.tracebacks
        if self.delivery == "exactly_once":
            wrong += self.forecasts_twice + self.letters_twice
        return wrong == 0 and self.readings > 0 and self.sensors > 0 and self.ended.keys() <= {-9, 0, 1}

    def lines(self) -> Iterator[str]:
        """The account, for people."""
        yield f"delivery {self.delivery}, seed {self.seed}, {self.seconds:.0f} s"
        yield f"faults            {sum(self.faults.values()):>8}   {_shown(self.faults)}"
        yield f"killed just after {sum(self.phases.values()):>8}   {_shown(self.phases)}"
        yield f"processes ended   {sum(self.ended.values()):>8}   by status {_shown(self.ended)}"
        yield (
            f"readings          {self.readings:>8}   forecasts {self.forecasts}: missing {self.forecasts_missing}, "
            f"twice {self.forecasts_twice}, unexpected {self.forecasts_unexpected}, other than serial "
            f"{self.forecasts_differ}; taken back before they were seen: {self.taken_back} times"
        )
        yield (
            f"bad records       {self.poison:>8}   dead letters missing {self.letters_missing}, twice "
            f"{self.letters_twice}"
        )
        yield (
            f"sensors           {self.sensors:>8}   count differs {self.counts_differ}, digest differs "
            f"{self.digests_differ}, largest difference of a state {self.state_difference:.1e}"
        )
        yield "all promises kept" if self.is_right else "A PROMISE WAS BROKEN"


def _shown(counts: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=str))


def sort_out(account: Account, sent: Sequence[TopicRecord]) -> tuple[set[str], set[tuple[int, int]]]:
    """What went in: the forecasts wanted, as `sensor||origin`, and the places of the records that are no readings."""
    wanted, bad = set(), set()
    for record in sent:
        if record.value in POISON:
            bad.add((record.partition, record.offset))
        else:
            body = orjson.loads(record.value or b"")
            wanted.add(f"{body['sensor']}||{body['ts']}")
    account.readings, account.poison = len(wanted), len(bad)
    return wanted, bad


def name_of(record: TopicRecord) -> str:
    """A forecast's `sensor||origin`."""
    return dict(record.headers)["forecast-id"].decode().rpartition("|")[0]


def check_forecasts(
    account: Account, wanted: set[str], found: Sequence[TopicRecord], serial: Sequence[TopicRecord]
) -> None:
    """Each reading has its forecast, the one of the serial run."""
    counts = Counter(map(name_of, found))
    account.forecasts = len(found)
    account.forecasts_missing = len(wanted - counts.keys())
    account.forecasts_unexpected = len(counts.keys() - wanted)
    account.forecasts_twice = sum(count - 1 for count in counts.values())
    right = {name_of(record): orjson.loads(record.value or b"") for record in serial}
    for record in found:
        mine, other = orjson.loads(record.value or b""), right.get(name_of(record))
        account.forecasts_differ += int(other is None or not _is_alike(mine, other))


def _is_alike(mine: dict[str, object], other: dict[str, object]) -> bool:
    room = TOLERANCE * max(float(str(other["scale"])), 1e-9)
    plain = ("sensor", "origin", "last_reading", "cadence_ms", "horizon", "model", "status")
    return bool(np.allclose(mine["mean"], other["mean"], rtol=0, atol=room)) and all(  # type: ignore[arg-type]
        mine[name] == other[name] for name in plain
    )


def check_letters(account: Account, bad: set[tuple[int, int]], found: Sequence[TopicRecord]) -> None:
    """Each bad record has its dead letter."""
    counts: Counter[tuple[int, int]] = Counter()
    for record in found:
        headers = dict(record.headers)
        counts[int(headers["source-partition"]), int(headers["source-offset"])] += 1
    account.letters_missing = len(bad - counts.keys()) + len(counts.keys() - bad)
    account.letters_twice = sum(count - 1 for count in counts.values())


def check_states(account: Account, mine: States, serial: States) -> None:
    """Each sensor has folded the same readings in the same order."""
    account.sensors = len(serial)
    account.counts_differ = len(mine.keys() ^ serial.keys())
    for key in mine.keys() & serial.keys():
        one, other = mine[key], serial[key]
        account.counts_differ += int(one.entries["count"][0] != other.entries["count"][0])
        account.digests_differ += int(one.entries["digest"][0] != other.entries["digest"][0])
        size = np.maximum(1.0, np.abs(other.rows))
        difference = float(np.nanmax(np.abs(one.rows - other.rows) / size))
        account.state_difference = max(account.state_difference, difference)
