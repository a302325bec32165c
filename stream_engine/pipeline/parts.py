"""What a pipeline is made of and how often it does what; what it knows of each partition it holds.

Values only: I do nothing.
"""

from dataclasses import dataclass, field

from connectors.contracts import Delivery, Source, StateStore
from connectors.records import Position
from stream_engine.checkpoint import Checkpointer
from stream_engine.clock import Clock
from stream_engine.codec import Decoder, Encoder
from stream_engine.metrics import Metrics
from stream_engine.router import Router
from stream_engine.slots import Ledger, Slots
from stream_engine.stepper import Stepper
from stream_engine.watermark import Progress


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How much and how often.

    Attributes:
        max_records: most records a turn takes.
        turn_s: about how long a turn may take: while catching up it takes as many records as that allows, so that
            commits keep their rhythm and a stop is never far.
        poll_s: longest wait for the first of them.
        commit_s: from commit to commit of the emitted positions.
        checkpoint_s: from checkpoint to checkpoint of the state.
        store_away_s: longest wait between two attempts to save while the store is away.
        flush_s: longest wait for a commit.
        stop_s: the same at a clean stop.
        start: where a group without a committed position begins, `earliest` or `latest`.
    """

    max_records: int = 50_000
    turn_s: float = 1.0
    poll_s: float = 0.1
    commit_s: float = 0.5
    checkpoint_s: float = 5.0
    store_away_s: float = 60.0
    flush_s: float = 60.0
    stop_s: float = 30.0
    start: str = "earliest"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a pipeline is made of; opened and closed by its owner."""

    source: Source
    delivery: Delivery
    store: StateStore
    decoder: Decoder
    encoder: Encoder
    router: Router
    ledger: Ledger
    slots: Slots
    stepper: Stepper
    checkpointer: Checkpointer
    clock: Clock
    metrics: Metrics


@dataclass(slots=True)
class Held:
    """A partition we hold."""

    position: Position
    emitted: Position
    saved: Position | None
    progress: Progress = field(default_factory=Progress)
