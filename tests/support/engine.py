"""A whole pipeline on lists and a tiny model, for tests of the runtime alone."""

from dataclasses import dataclass, field

import orjson
import torch
from torch import Tensor

from connectors.records import Partition
from recurrent_core.models.interface import Arrival, Outlook, Question, StreamingModel
from stream_engine.checkpoint import Checkpointer
from stream_engine.clock import ManualClock
from stream_engine.codec import decoder_for, encoder_for
from stream_engine.config import ReadingConfig
from stream_engine.metrics import Metrics
from stream_engine.pipeline import AtLeastOnce, Parts, Pipeline, Rhythm
from stream_engine.router import Router, RouterPolicy
from stream_engine.slots import Ledger, Slots
from stream_engine.stepper import Stepper, served
from tests.support.executors import AtOnce, WhenTold
from tests.support.scripted import DictStore, ListSink, ListTransactions, Log, ScriptedSource


class CountingModel(StreamingModel):
    """State: last value, sum of values, count. Forecasts the last value; easy to check by hand."""

    def __init__(self, version: str = "1") -> None:
        self._version = version

    name = "counting"
    state_floats = 3
    layout_id = "counting-1"
    max_horizon = 24

    @property
    def version(self) -> str:
        return self._version

    def init_state(self, num_slots: int) -> Tensor:
        return torch.zeros(num_slots, 3)

    def advance(self, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
        value = arrival.value.float()
        state[:] = torch.stack([value, state[:, 1] + value, state[:, 2] + 1], dim=1)
        return self._outlook(state, horizon)

    def ask(self, question: Question, state: Tensor, horizon: int) -> Outlook:
        return self._outlook(state, horizon)

    def _outlook(self, state: Tensor, horizon: int) -> Outlook:
        mean = state[:, :1].double().expand(-1, horizon).contiguous()
        spread = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)[:, None]
        flags = torch.zeros(len(state), dtype=torch.bool)
        return Outlook(mean, mean[:, None, :] + spread, torch.ones(len(state), dtype=torch.float64), flags, flags)

    def describe(self, state: Tensor) -> dict[str, float]:
        return {"last": float(state[0]), "sum": float(state[1]), "count": float(state[2])}


class CreepingClock(ManualClock):
    """Each look at it takes a while, so that what goes by the time comes in small slices."""

    def monotonic_s(self) -> float:
        self.advance(0.008)
        return super().monotonic_s()


def message(sensor: str, minute: int, value: float | None) -> bytes:
    """A reading as JSON."""
    return orjson.dumps({"sensor": sensor, "ts": minute * 60_000, "value": value})


@dataclass
class Engine:
    """One life of the engine over a log, sinks and a store that outlive it."""

    log: Log
    forecasts: ListSink = field(default_factory=ListSink)
    dead: ListSink = field(default_factory=ListSink)
    store: DictStore = field(default_factory=DictStore)
    rhythm: Rhythm = field(default_factory=lambda: Rhythm(commit_s=1.0, checkpoint_s=10.0))
    policy: RouterPolicy = field(default_factory=RouterPolicy)
    model: StreamingModel = field(default_factory=CountingModel)
    capacity: int = 64
    shelf_rows: int = 64
    max_per_poll: int = 1_000_000
    wait_s: float = 30.0
    is_exactly_once: bool = False
    writer: WhenTold = field(default_factory=AtOnce)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.ledger, self.slots = Ledger(self.policy.is_merging), Slots(self.capacity)
        self.stepper = Stepper(served(self.model, self.policy.is_merging), torch.device("cpu"), 12)
        self.checkpointer = Checkpointer(
            self.store, self.ledger, self.stepper, self.clock, self.writer, self.shelf_rows, self.wait_s
        )
        self.source = ScriptedSource(self.log, self.max_per_poll)
        self.metrics = Metrics()
        made = ListTransactions if self.is_exactly_once else AtLeastOnce
        self.delivery = made(self.source, self.forecasts, self.dead)
        parts = Parts(
            source=self.source,
            delivery=self.delivery,
            store=self.store,
            decoder=decoder_for(ReadingConfig(), None),
            encoder=encoder_for("json", self.stepper.model_label),
            router=Router(self.policy, self.ledger, self.slots),
            ledger=self.ledger,
            slots=self.slots,
            stepper=self.stepper,
            checkpointer=self.checkpointer,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.pipeline = Pipeline(parts, self.rhythm)
        self.source.open(self.pipeline.revoke, 1.0)
        self.delivery.open(1, 1.0)

    def turns(self, count: int, seconds_each: float = 0.0) -> None:
        """Run some turns, moving the clock after each."""
        for _ in range(count):
            self.pipeline.turn()
            self.clock.advance(seconds_each)

    def next_life(self, **changes: object) -> "Engine":
        """The engine after a crash: memory and what was not flushed are gone."""
        kept = {"log": self.log, "forecasts": self.forecasts, "dead": self.dead, "store": self.store}
        more = {"rhythm": self.rhythm, "policy": self.policy, "model": self.model, "capacity": self.capacity}
        more |= {"shelf_rows": self.shelf_rows, "max_per_poll": self.max_per_poll, "wait_s": self.wait_s}
        more |= {"writer": type(self.writer)(), "clock": type(self.clock)()}
        return Engine(**{**kept, **more, "is_exactly_once": self.is_exactly_once, **changes})

    def states(self) -> dict[tuple[Partition, str], tuple[int, int, list[float]]]:
        """Count, digest and state row of every series held."""
        found = {}
        for partition in self.ledger.partitions:
            for handle in self.ledger.handles(partition).tolist():
                entry = self.ledger.entries[handle]
                row = self.checkpointer.row(handle).tolist()
                found[(partition, self.ledger.keys[handle][0])] = (int(entry["count"]), int(entry["digest"]), row)
        return found

    def sent(self) -> list[tuple[str, int]]:
        """(sensor, minute) of every forecast kept, in order."""
        bodies = [orjson.loads(record.value or b"") for record in self.forecasts.kept]
        return [(body["sensor"], body["origin"] // 60_000) for body in bodies]
