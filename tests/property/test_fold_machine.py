"""Any interleaving of readings, turns, assignments, revocations, crashes and faults of the store keeps the fold.

The real pipeline, router, ledger, slots, stepper and checkpointer of two workers, over a log, a store and sinks that
outlive them. The oracle is a serial run in plain Python over the log from its beginning.
"""

import math
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connectors.errors import ServerUnavailableError, StaleEpochError, StoredStateError
from connectors.records import Partition
from stream_engine import slots, stepper
from stream_engine.checkpoint import checkpointer, decode_meta, decode_shard
from stream_engine.pipeline import Rhythm
from stream_engine.router import RouterPolicy
from stream_engine.slots import NO_SLOT
from stream_engine.watermark import NUM_EARLY_GAPS, Progress
from tests.support.engine import CreepingClock, Engine, message
from tests.support.executors import WhenTold
from tests.support.scripted import DictStore, ListSink, Log

PARTITIONS = tuple(Partition("readings", number) for number in range(2))
SENSORS = "abcdef"
WORKERS = (0, 1)
MINUTE_NS = 60_000_000_000
MASK = 2**64 - 1
NUM_RECENT = 3
NUM_FLOATS = 3
"""Of the model's own state; where late readings are merged, what is needed for that stands behind it."""
STOPPED_BY = (ServerUnavailableError, StaleEpochError, StoredStateError)

workers = st.sampled_from(WORKERS)
partitions = st.sampled_from(PARTITIONS)
readings = st.tuples(
    st.sampled_from(SENSORS), st.integers(-6, 4), st.integers(-50, 50).map(float) | st.just(1.0) | st.none()
)
"""Sensor, minutes after the partition's newest (so that some are late and some double), value."""
rubbish = st.sampled_from([None, b"", b"{", b'{"ts": 1, "value": 1}'])


@pytest.fixture(autouse=True)
def in_small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restores and checkpoints of a few sensors come in several slices and shards; some readings are too late."""
    monkeypatch.setattr(slots, "NUM_RECENT", NUM_RECENT)
    monkeypatch.setattr(stepper, "NUM_RECENT", NUM_RECENT)
    for name, value in {"SHARD_SIZE": 2, "SHARDS_AT_ONCE": 1, "ROWS_AT_ONCE": 2}.items():
        monkeypatch.setattr(checkpointer, name, value)


def next_digest(digest: int, time_ns: int, value: float) -> int:
    """The rolling digest by whole numbers."""
    mixed = ((digest ^ (time_ns & MASK)) * 0x9E3779B97F4A7C15) & MASK
    mixed ^= mixed >> 29
    mixed = ((mixed ^ struct.unpack("<Q", struct.pack("<d", value))[0]) * 0xBF58476D1CE4E5B9) & MASK
    return mixed ^ (mixed >> 32)


@dataclass
class Serial:
    """A partition folded reading by reading.

    Attributes:
        num_recent: how many of a sensor's newest times are remembered; 1 where late readings are dropped.
        series: sensor -> (count, digest, [last value, sum, count]) after each record; index 0 is before the first.
        progress: event time and early gaps after each record.
        emitted: (sensor, minute) of the reading that each record brings, where it is folded and not late.
    """

    num_recent: int
    series: list[dict[str, tuple[int, int, list[float]]]] = field(default_factory=lambda: [{}])
    progress: list[Progress] = field(default_factory=lambda: [Progress()])
    emitted: list[tuple[str, int] | None] = field(default_factory=list)
    recent: dict[str, list[int]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)

    def fold(self, reading: tuple[str, int, float | None] | None) -> None:
        """Fold what one record holds."""
        series, before = dict(self.series[-1]), self.progress[-1]
        progress = Progress(before.watermark_ns, list(before.early_gaps_ns))
        emitted = None
        if reading is not None:
            sensor, minute, value = reading
            time_ns = minute * MINUTE_NS
            count, digest, row = series.get(sensor, (0, 0, [0.0, 0.0, 0.0]))
            gap = time_ns - self.seen.get(sensor, time_ns)
            if gap > 0 and len(progress.early_gaps_ns) < NUM_EARLY_GAPS:
                progress.early_gaps_ns.append(gap)
            self.seen[sensor] = max(time_ns, self.seen.get(sensor, time_ns))
            recent = self.recent.setdefault(sensor, [])
            is_too_late = len(recent) == self.num_recent and time_ns < recent[0]
            if value is not None and time_ns not in recent and not is_too_late:
                is_late = bool(recent) and time_ns < recent[-1]
                self.recent[sensor] = sorted([*recent, time_ns])[-self.num_recent :]
                row = [row[0] if is_late else value, row[1] + value, row[2] + 1]
                count, digest = count + 1, next_digest(digest, time_ns, value)
                progress.watermark_ns = max(time_ns, before.watermark_ns or 0)
                emitted = None if is_late else (sensor, minute)
            series[sensor] = (count, digest, row)
        self.series.append(series)
        self.progress.append(progress)
        self.emitted.append(emitted)


class FoldMachine(RuleBasedStateMachine):
    """Two workers, what happens to them, and what must hold after each event."""

    policy = RouterPolicy()

    def __init__(self) -> None:
        super().__init__()
        self.log = Log({partition: [] for partition in PARTITIONS})
        self.store = DictStore()
        num_recent = NUM_RECENT if self.policy.is_merging else 1
        self.serial = {partition: Serial(num_recent) for partition in PARTITIONS}
        self.newest = dict.fromkeys(PARTITIONS, 10)
        self.owner: dict[Partition, int] = {}
        self.sinks: list[ListSink] = []
        self.may_stop: set[int] = set()
        self.workers = {number: self._fresh() for number in WORKERS}

    def _fresh(self) -> Engine:
        self.sinks.append(ListSink())
        engine = Engine(
            self.log,
            forecasts=self.sinks[-1],
            store=self.store,
            rhythm=Rhythm(commit_s=1.0, checkpoint_s=3.0),
            policy=self.policy,
            capacity=3,
            shelf_rows=2,
            max_per_poll=3,
            wait_s=0.0,
            writer=WhenTold(),
            clock=CreepingClock(),
        )
        engine.source.unassign(*PARTITIONS)
        return engine

    def _do(self, number: int, action: Callable[[Engine], object]) -> None:
        """Let a worker do something; one that meets a fault it may meet stops, as the program does."""
        try:
            action(self.workers[number])
        except STOPPED_BY:
            assert number in self.may_stop or self.store.is_away, "nothing was done to this worker that may stop it"
            self.crash(number)

    @rule(partition=partitions, some=st.lists(readings | rubbish, min_size=1, max_size=12))
    def records_come(self, partition: Partition, some: list[tuple[str, int, float | None] | bytes | None]) -> None:
        for one in some:
            if one is None or isinstance(one, bytes):
                self.log.append(partition, one)
                self.serial[partition].fold(None)
                continue
            sensor, step, value = one
            minute = max(0, self.newest[partition] + step)
            self.newest[partition] = max(self.newest[partition], minute)
            self.log.append(partition, message(sensor, minute, value))
            self.serial[partition].fold((sensor, minute, value))

    @rule(number=workers, turns=st.integers(1, 8), seconds=st.sampled_from([0.0, 0.3, 0.6, 5.0]))
    def turn(self, number: int, turns: int, seconds: float) -> None:
        self._do(number, lambda engine: engine.turns(turns, seconds))

    @rule(number=workers, is_away=st.booleans())
    def the_writer_works(self, number: int, is_away: bool) -> None:
        """What a checkpoint hands to the thread comes to the store now, however long ago it was begun, or fails."""
        self.store.is_away = is_away
        self.workers[number].writer.work()
        self.store.is_away = False

    @rule(number=workers, is_saved=st.booleans())
    def commit(self, number: int, is_saved: bool) -> None:
        self._do(number, lambda engine: engine.pipeline.checkpoint() if is_saved else engine.pipeline.commit())

    @initialize(number=workers, other=workers)
    def begin(self, number: int, other: int) -> None:
        self.assign(PARTITIONS[0], number)
        self.assign(PARTITIONS[1], other)

    @rule(partition=partitions, number=workers)
    def assign(self, partition: Partition, number: int) -> None:
        if partition not in self.owner:
            self.owner[partition] = number
            self.workers[number].source.assign(partition)

    @rule(partition=partitions)
    def revoke(self, partition: Partition) -> None:
        number = self.owner.pop(partition, None)
        if number is not None:
            engine = self.workers[number]
            engine.source.unassign(partition)
            if engine.source.holds(partition):
                engine.source.revoke(partition)

    @rule(partition=partitions)
    def lose(self, partition: Partition) -> None:
        """The group gives a partition to somebody else; its owner hears of it at its next poll, or when it commits."""
        number = self.owner.pop(partition, None)
        if number is not None:
            engine = self.workers[number]
            engine.source.unassign(partition)
            if engine.source.holds(partition):
                engine.source.lose(partition)
                self.may_stop.add(number)

    @rule(number=workers)
    def crash(self, number: int) -> None:
        """kill -9, and a new process without partitions."""
        self.owner = {partition: owner for partition, owner in self.owner.items() if owner != number}
        self.workers[number] = self._fresh()
        self.may_stop.discard(number)

    @rule(number=workers)
    def the_sink_fails(self, number: int) -> None:
        engine = self.workers[number]
        engine.forecasts.is_failing = True
        self.may_stop.add(number)
        self._do(number, lambda engine: engine.turns(2, 5.0))
        engine.forecasts.is_failing = False

    @rule(number=workers, turns=st.integers(1, 4))
    def the_store_is_away(self, number: int, turns: int) -> None:
        self.store.is_away = True
        self._do(number, lambda engine: engine.turns(turns, 5.0))
        self.workers[number].writer.work()
        self.store.is_away = False

    @rule()
    def the_store_is_emptied(self) -> None:
        self.store.clear()
        self.may_stop |= set(WORKERS)

    @rule(partition=partitions, place=st.integers(0, 10_000), is_meta=st.booleans())
    def a_stored_byte_flips(self, partition: Partition, place: int, is_meta: bool) -> None:
        """What is stored is refused as a whole, by the worker that needs it, and rebuilt from the log."""
        shards = self.store.shards.get(partition)
        if is_meta and partition in self.store.meta:
            self.store.meta[partition] = _flipped(self.store.meta[partition], place)
        elif shards:
            shards[0] = _flipped(shards[0], place)
            self.may_stop |= set(WORKERS)

    @invariant()
    def what_is_in_memory_is_a_serial_run(self) -> None:
        for engine in self.workers.values():
            for partition, position in engine.pipeline.positions.items():
                wanted = self.serial[partition].series[position]
                handles = engine.ledger.handles(partition).tolist()
                entries = [engine.ledger.entries[handle] for handle in handles]
                found = {
                    engine.ledger.keys[handle][0]: (int(entry["count"]), int(entry["digest"]))
                    for handle, entry in zip(handles, entries, strict=True)
                }
                assert found == {sensor: (count, digest) for sensor, (count, digest, _) in wanted.items()}
                assert engine.pipeline._held[partition].progress == self.serial[partition].progress[position]

    @invariant()
    def no_slot_is_shared(self) -> None:
        for engine in self.workers.values():
            ledger, holder = engine.ledger, engine.slots.holder
            mine = [handle for partition in ledger.partitions for handle in ledger.handles(partition).tolist()]
            resident = {handle: int(ledger.slot[handle]) for handle in mine if ledger.slot[handle] != NO_SLOT}
            assert {slot: handle for handle, slot in resident.items()} == {
                slot: handle for slot, handle in enumerate(holder.tolist()) if handle >= 0
            }
            assert len(resident) <= engine.slots.capacity

    @invariant()
    def what_is_stored_is_a_serial_run_up_to_what_is_emitted(self) -> None:
        for partition, blob in self.store.meta.items():
            try:
                meta = decode_meta(blob)
                shards = [decode_shard(meta.layout_id, one) for one in self.store.shards[partition].values()]
            except StoredStateError:
                continue
            assert meta.position <= self.log.commits.get(partition, 0)
            wanted = self.serial[partition].series[meta.position]
            found = {
                key[0]: (int(entry["count"]), int(entry["digest"]), row.tolist()[:NUM_FLOATS])
                for shard in shards
                for key, entry, row in zip(shard.keys, shard.entries, shard.rows, strict=True)
            }
            assert found == wanted
            assert meta.progress == self.serial[partition].progress[meta.position]

    def teardown(self) -> None:
        """One worker takes everything and reads to the end: nothing is missing, nothing was made up."""
        for number in WORKERS:
            self.crash(number)
        engine = self._fresh()
        engine.source.assign(*PARTITIONS)
        try:
            engine.turns(2 + sum(map(len, self.log.partitions.values())))
        except StoredStateError:  # a byte that flipped under rows that were only stored: the next start rebuilds
            engine = self._fresh()
            engine.source.assign(*PARTITIONS)
            engine.turns(2 + sum(map(len, self.log.partitions.values())))
        engine.pipeline.commit()
        for partition, serial in self.serial.items():
            assert engine.pipeline.positions[partition] == len(serial.emitted)
            assert serial.series[-1] == {
                sensor: (count, digest, row[:NUM_FLOATS])
                for (held, sensor), (count, digest, row) in engine.states().items()
                if held == partition
            }
        self._check_forecasts()

    def _check_forecasts(self) -> None:
        """Each reading folded in order has its forecast, repeated only as the same one; no other reading has."""
        found: dict[tuple[int, str, int], bytes | None] = {}
        for sink in self.sinks:
            for record in sink.kept:
                body = orjson.loads(record.value or b"")
                number = int(dict(record.headers)["source-partition"])
                place = (number, body["sensor"], body["origin"] * 1_000_000 // MINUTE_NS)
                assert found.setdefault(place, record.value) == record.value, "repeated, but not the same"
                assert all(map(math.isfinite, body["mean"]))
        wanted = {
            (partition.number, *reading)
            for partition, serial in self.serial.items()
            for reading in serial.emitted
            if reading is not None
        }
        assert found.keys() == wanted


def _flipped(blob: bytes, place: int) -> bytes:
    changed = bytearray(blob)
    changed[place % len(changed)] ^= 1 << place % 8
    return bytes(changed)


class MergingFoldMachine(FoldMachine):
    """The same where late readings are merged."""

    policy = RouterPolicy(late="merge")


FoldMachine.TestCase.settings = MergingFoldMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestFold = FoldMachine.TestCase
TestMergingFold = MergingFoldMachine.TestCase


def drive(machine: FoldMachine, seed: int, num_events: int = 80) -> None:
    """One seeded schedule, in which faults are rarer than work: it comes deeper than what hypothesis draws."""
    rng = random.Random(seed)
    machine.begin(number=rng.choice(WORKERS), other=rng.choice(WORKERS))

    def some() -> list[tuple[str, int, float | None]]:
        values = (None, 1.0, float(rng.randint(-50, 50)), float(rng.randint(-50, 50)))
        return [(rng.choice(SENSORS), rng.randint(-3, 4), rng.choice(values)) for _ in range(rng.randint(1, 12))]

    def partition() -> Partition:
        return rng.choice(PARTITIONS)

    def number() -> int:
        return rng.choice(WORKERS)

    events: list[tuple[int, Callable[[], object]]] = [
        (30, lambda: machine.records_come(partition=partition(), some=[*some(), None, b"{"])),
        (30, lambda: machine.turn(number=number(), turns=rng.randint(1, 8), seconds=rng.choice([0.0, 0.3, 0.6, 5.0]))),
        (20, lambda: machine.the_writer_works(number=number(), is_away=rng.random() < 0.3)),
        (10, lambda: machine.commit(number=number(), is_saved=rng.random() < 0.5)),
        (20, lambda: machine.assign(partition=partition(), number=number())),
        (5, lambda: machine.revoke(partition=partition())),
        (3, lambda: machine.lose(partition=partition())),
        (3, lambda: machine.crash(number=number())),
        (2, lambda: machine.the_sink_fails(number=number())),
        (2, lambda: machine.the_store_is_away(number=number(), turns=2)),
        (1, lambda: machine.the_store_is_emptied()),
        (1, lambda: machine.a_stored_byte_flips(partition=partition(), place=rng.randrange(10_000), is_meta=True)),
        (1, lambda: machine.a_stored_byte_flips(partition=partition(), place=rng.randrange(10_000), is_meta=False)),
    ]
    weights, actions = zip(*events, strict=True)
    for action in rng.choices(actions, weights, k=num_events):
        action()
        machine.what_is_in_memory_is_a_serial_run()
        machine.no_slot_is_shared()
        machine.what_is_stored_is_a_serial_run_up_to_what_is_emitted()
    machine.teardown()


@pytest.mark.parametrize("seed", range(25))
def test_a_seeded_schedule_keeps_the_fold(seed: int) -> None:
    drive(FoldMachine(), seed)


@pytest.mark.parametrize("seed", range(10))
def test_a_seeded_schedule_keeps_the_fold_where_late_readings_are_merged(seed: int) -> None:
    drive(MergingFoldMachine(), seed)


def test_the_oracles_digest_is_the_routers() -> None:
    from stream_engine.router import digest_next

    rng = np.random.default_rng(3)
    digest, wanted = np.zeros(1, np.uint64), 0
    for time_ns, value in zip(rng.integers(-(2**62), 2**62, 50), rng.normal(size=50), strict=True):
        digest = digest_next(digest, np.asarray([time_ns]), np.asarray([value]))
        wanted = next_digest(wanted, int(time_ns), float(value))
        assert int(digest[0]) == wanted
