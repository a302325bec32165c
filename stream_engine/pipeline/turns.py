"""The six verbs, once, in order: poll, decode, route, step, encode, write. Beside them, in slices: restore, checkpoint.

I decide nothing about forecasting and know no library: every part is handed to me. One thread, plain
blocking calls. Each partition held has two positions: `position` (everything before it is folded) and
`emitted` (everything before it is sent and committed); while position < emitted it is replayed in silence.
"""

import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import chain

import numpy as np

from connectors.errors import ConnectorError, LostPartitionsError, ServerUnavailableError
from connectors.records import Partition, Polled, Position, RecordBatch
from connectors.retry import Backoff, Deadline
from stream_engine.checkpoint import Saved
from stream_engine.codec import encode_dead_letters
from stream_engine.pipeline.beginning import Held, begin
from stream_engine.pipeline.parts import Parts, Rhythm
from stream_engine.records import ForecastBatch, ReadingBatch, Reject, StepBatch
from stream_engine.router import Routed

logger = logging.getLogger(__name__)

FIRST_RECORDS = 2_000
"""Most records of the first turn, when the pace is not known yet."""
FEWEST_RECORDS = 200
WRITTEN_AT_ONCE = 2_000
"""Forecasts that are encoded before they are written: the fewer, the more of them the core's own memory still holds."""
BESIDE_S = 0.01
"""How much of a turn may go to restores and to the copying of a checkpoint before the next readings are looked for."""
BESIDE_RECORDS = 2_000
"""Most records of a turn while those go on: their rows are copied before they change, and the next slice is not far."""
SOONEST_AGAIN_S = 2.0
"""Shortest wait (less jitter) before a store that is away is asked again, however often checkpoints are due."""


class Pipeline:
    """Carries readings from the source to the sink, turn by turn; lives as long as the worker."""

    def __init__(self, parts: Parts, rhythm: Rhythm) -> None:
        self._parts = parts
        self._rhythm = rhythm
        now = parts.clock.monotonic_s()
        self._held: dict[Partition, Held] = {}
        self._flush_s = rhythm.flush_s
        self._beginnings: dict[Partition, Generator[None, None, Held]] = {}
        self._waiting: set[Partition] = set()
        self._begin_due_s = now
        self._is_between_turns = True
        self._is_writing = False
        self._max_records = min(FIRST_RECORDS, rhythm.max_records)
        self._commit_due_s = now + rhythm.commit_s
        self._checkpoint_due_s = now + rhythm.checkpoint_s
        self._store_away_since_s: float | None = None
        self._num_postponed = 0
        self._is_store_emptied = False

    @property
    def positions(self) -> dict[Partition, Position]:
        """Up to where each partition held is folded."""
        return {partition: held.position for partition, held in self._held.items()}

    @property
    def is_replaying(self) -> bool:
        """Whether some partition is still catching up in silence."""
        return any(held.position < held.emitted for held in self._held.values())

    def turn(self) -> Polled:
        """Carry one batch from source to sink; return what was polled.

        What is due beside the way comes where it costs least: a checkpoint before the state moves on; a commit, of the
        turns before, when this turn's forecasts are made but not yet written, so that theirs are long acknowledged.
        """
        parts = self._parts
        polled = self._poll()
        started_s = parts.clock.monotonic_s()
        self._note_assignment(polled)
        begun = self._go_on_beginning(started_s + BESIDE_S)
        self._checkpoint_when_due()
        self._go_on_saving(started_s + BESIDE_S)
        records = [one for one in polled.batches if one.partition in self._held and one.partition not in begun]
        decoded = [parts.decoder.decode(batch) for batch in records]
        readings = [batch for batch, _ in decoded]
        self._is_between_turns = False
        routed = parts.router.route(readings, {p: held.progress for p, held in self._held.items()})
        forecasts = [self._step(step, readings) for step in routed.steps]
        self._commit_when_due()
        if any(batch.partition not in self._held for batch in records):
            self._is_between_turns = True  # all was taken back: no state is left that could be ahead of its position
            return polled
        self._is_writing = True
        for forecast in forecasts:
            for piece in forecast.pieces(WRITTEN_AT_ONCE):
                parts.delivery.forecasts.write(parts.encoder.encode(piece))
        for batch, (_, rejects), late in zip(records, decoded, routed.rejects, strict=True):
            self._bury(batch, [*rejects, *late])
            self._held[batch.partition].position = batch.next_position
        self._is_writing, self._is_between_turns = False, True
        self._count(records, readings, routed, forecasts)
        self._find_pace(len(polled), parts.clock.monotonic_s() - started_s)
        return polled

    def _poll(self) -> Polled:
        """What has come; while something goes on beside, it is not waited for, and taken in small turns."""
        if self._beginnings or self._parts.checkpointer.is_copying:
            return self._parts.source.poll(min(self._max_records, BESIDE_RECORDS), 0.0)
        return self._parts.source.poll(self._max_records, self._rhythm.poll_s)

    def _find_pace(self, num_records: int, seconds: float) -> None:
        """Let the next turn take as many records as its time allows, going by this one."""
        if num_records >= FEWEST_RECORDS:
            allowed = num_records if seconds <= 0 else int(num_records / seconds * self._rhythm.turn_s)
            self._max_records = min(self._rhythm.max_records, max(allowed, FEWEST_RECORDS))

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Commit and save partitions that are about to be taken from us, then forget them."""
        gone = frozenset(partitions)
        mine = [partition for partition in gone if partition in self._held]
        try:
            if self._is_writing and self._take_back("a turn was broken off while it wrote"):
                return
            self.commit()
            self._save(mine)
        except ConnectorError as error:
            logger.warning("could not save everything before partitions were revoked: %s", error)
            self._take_back(error)
        finally:
            self._drop(gone)

    def commit(self) -> None:
        """Commit the positions of all partitions held, and with them what was written: everything before is emitted.

        Raises:
            LostPartitionsError: some partitions are no longer ours.
            ServerUnavailableError: a server did not acknowledge in time.
        """
        positions = {p: state.position for p, state in self._held.items() if state.position > state.emitted}
        if not positions:
            return
        with self._parts.metrics.commit_seconds.time():
            self._parts.delivery.commit(positions, self._flush_s)
        for partition, position in positions.items():
            self._held[partition].emitted = position
        self._parts.metrics.commits.inc()

    def _take_back(self, why: object) -> bool:
        """Undo what is not committed, if this delivery can: its readings are folded and forecast anew.

        Memory is ahead of what is emitted now, so all of it is dropped; what is still ours after the next poll is
        restored from the store, as if it were newly assigned.
        """
        if not self._parts.delivery.abort():
            return False
        logger.warning("forecasts not committed yet are taken back and made again: %s", why)
        self._parts.metrics.aborts.inc()
        self._is_writing = False
        mine = set(self._held)
        self._drop(mine)
        self._waiting |= mine
        return True

    def checkpoint(self) -> bool:
        """Commit, then save what has changed of every partition held, to the end; False if the store is away."""
        self.commit()
        try:
            self._save(list(self._held))
        except ServerUnavailableError as error:
            self._postpone(error)
            return False
        self._note_store()
        return True

    def _postpone(self, error: ServerUnavailableError) -> None:
        """The store is away: serve from memory, and try again after a wait that grows."""
        metrics = self._parts.metrics
        metrics.store_failures.inc()
        metrics.store_away.set(1)
        now_s = self._parts.clock.monotonic_s()
        if self._store_away_since_s is None:
            self._store_away_since_s = now_s
        first_s = max(self._rhythm.checkpoint_s, SOONEST_AGAIN_S)
        wait_s = Backoff(first_s, self._rhythm.store_away_s).wait_s(self._num_postponed)
        self._num_postponed += 1
        self._checkpoint_due_s = now_s + wait_s
        logger.warning("checkpoint postponed by %.1f s, serving from memory: %s", wait_s, error)

    def _note_store(self) -> None:
        """The store has answered; one that was found emptied is to be filled at once."""
        now_s = self._parts.clock.monotonic_s()
        self._checkpoint_due_s = now_s + (0.0 if self._is_store_emptied else self._rhythm.checkpoint_s)
        self._is_store_emptied = False
        if self._store_away_since_s is not None:
            logger.info("the store answers again: saved, after %.1f s from memory", now_s - self._store_away_since_s)
            self._parts.metrics.store_away.set(0)
        self._store_away_since_s, self._num_postponed = None, 0

    def finish(self) -> None:
        """The last commit and checkpoint of a clean stop, with less patience than on the way."""
        self._flush_s = self._rhythm.stop_s
        self._survive_a_rebalance(self.checkpoint)

    def _save(self, partitions: Sequence[Partition]) -> None:
        """Save the state of partitions as it is now, to the end; what is on its way already comes first.

        Within a turn, also one that a fault has broken off, the state is ahead of its position: nothing is saved then.
        """
        if not self._is_between_turns:
            logger.warning("a turn was broken off: its state is not saved, and is folded again at the next start")
            return
        checkpointer, deadline = self._parts.checkpointer, Deadline.after(self._rhythm.stop_s)
        self._note_saved(checkpointer.finish(deadline.remaining_s))
        while self._begin_saving(partitions):  # once more where the store is found emptied
            self._note_saved(checkpointer.finish(deadline.remaining_s))

    def _begin_saving(self, partitions: Iterable[Partition]) -> bool:
        """Begin to save what is new of partitions; only what is committed may be saved (folded <= emitted)."""
        held = {partition: self._held[partition] for partition in partitions}
        new = {p: one for p, one in held.items() if one.position != one.saved and one.position <= one.emitted}
        if new:
            self._parts.checkpointer.begin({p: (one.position, one.progress) for p, one in new.items()})
        return bool(new)

    def _go_on_saving(self, until_s: float) -> None:
        """Let the checkpoint under way go on beside the turns; a store that is away is left alone for a while."""
        checkpointer = self._parts.checkpointer
        if not checkpointer.is_saving:
            return
        try:
            self._note_saved(checkpointer.go_on(until_s))
        except ServerUnavailableError as error:
            self._postpone(error)
            return
        if not checkpointer.is_saving:
            self._note_store()

    def _note_saved(self, ended: Iterable[Saved]) -> None:
        for saved in ended:
            self._held[saved.partition].saved = saved.position
            self._is_store_emptied |= saved.position is None
            self._parts.metrics.checkpoints.inc(saved.position is not None)
            self._parts.metrics.checkpoint_seconds.observe(saved.seconds)

    def _checkpoint_when_due(self) -> None:
        now_s = self._parts.clock.monotonic_s()
        if now_s >= self._checkpoint_due_s and not self._parts.checkpointer.is_saving:
            self._checkpoint_due_s = now_s + self._rhythm.checkpoint_s
            self._survive_a_rebalance(self.commit)
            self._begin_saving(self._held)
            self._measure_lag()

    def _commit_when_due(self) -> None:
        if self._parts.clock.monotonic_s() >= self._commit_due_s:
            self._survive_a_rebalance(self.commit)
            self._commit_due_s = self._parts.clock.monotonic_s() + self._rhythm.commit_s

    def _survive_a_rebalance(self, commit: Callable[[], object]) -> None:
        """Commit, or be told that partitions were lost: the next poll says which, and their memory is dropped."""
        try:
            commit()
        except LostPartitionsError as error:
            logger.warning("not committed: %s", error)
            self._take_back(error)

    def _note_assignment(self, polled: Polled) -> None:
        """Forget what was lost, and see what is ours now."""
        if polled.outside & self._held.keys():
            self._begin_again(polled.outside)
        lost = polled.lost & self._held.keys()
        if any(self._held[partition].position > self._held[partition].emitted for partition in lost):
            self._take_back(f"{', '.join(map(str, sorted(lost)))} went to another member")
        self._drop(polled.lost)
        committed = self._still_ours()
        if polled.assigned:
            committed |= self._parts.source.committed(sorted(polled.assigned))
        for partition in sorted(committed):
            self._beginnings[partition] = begin(self._parts, self._rhythm.choice, partition, committed[partition])
        if polled.assigned or polled.lost:
            self._parts.metrics.rebalances.inc()

    def _go_on_beginning(self, until_s: float) -> set[Partition]:
        """Go on with restores, one partition after the other; those that are held now, and read from elsewhere."""
        begun: set[Partition] = set()
        for partition, beginning in list(self._beginnings.items()):
            try:
                while True:
                    next(beginning)
                    if self._parts.clock.monotonic_s() >= until_s:
                        return begun
            except StopIteration as end:
                self._held[partition] = end.value
                begun.add(partition)
            except (ServerUnavailableError, LostPartitionsError) as error:
                logger.warning("%s waits, the others go on: %s", partition, error)
                self._waiting.add(partition)
                self._begin_due_s = self._parts.clock.monotonic_s() + SOONEST_AGAIN_S
            del self._beginnings[partition]
        self._parts.metrics.partitions.set(len(self._held))
        return begun

    def _begin_again(self, outside: frozenset[Partition]) -> None:
        """Keep what was read of partitions whose position the log no longer holds, and find their place anew."""
        self._survive_a_rebalance(self.checkpoint)
        again = outside & self._held.keys()
        self._drop(again)
        self._waiting |= again

    def _still_ours(self) -> dict[Partition, Position | None]:
        """Partitions that may begin now, after their memory was dropped or the store was away; with their positions.

        Committing a position once more tells whether we may: one who is no longer the owner must not take the epoch.
        """
        if not self._waiting or self._parts.clock.monotonic_s() < self._begin_due_s:
            return {}
        committed = self._parts.source.committed(sorted(self._waiting))
        try:
            self._parts.source.commit({p: position for p, position in committed.items() if position is not None})
        except LostPartitionsError as error:
            logger.warning("not restored yet: %s", error)
            return {}
        self._waiting.clear()
        return committed

    def _drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions, held, on their way or waiting."""
        for partition in set(partitions):
            self._waiting.discard(partition)
            if partition in self._beginnings:
                self._beginnings.pop(partition).close()
            if partition in self._held:
                self._parts.slots.release(self._parts.checkpointer.drop(partition))
                del self._held[partition]
        self._parts.metrics.partitions.set(len(self._held))

    def _step(self, batch: StepBatch, readings: Sequence[ReadingBatch]) -> ForecastBatch:
        """Carry out one step batch; the forecasts to send, in order of arrival."""
        parts = self._parts
        parts.checkpointer.make_room(batch.placement)
        parts.checkpointer.keep(batch.handles)
        result = parts.stepper.step(batch, [self._held[one.records.partition].progress for one in readings])
        parts.metrics.resets.inc(result.num_resets)
        parts.metrics.evictions.inc(len(batch.placement.evicted))
        records = [one.records for one in readings]
        rows = _record_rows(batch, readings)
        is_live = np.asarray([self._held[one.partition].emitted for one in records])[batch.source] <= _offsets(
            batch, records, rows
        )
        parts.metrics.replayed.inc(int((~is_live).sum()))
        sent = batch.arrival[(batch.is_due & is_live)[batch.arrival]]
        first = np.cumsum([0, *(len(one) for one in readings)])
        places = first[batch.source[sent]] + batch.readings[sent]
        return ForecastBatch(
            sources=records,
            source=batch.source[sent],
            rows=rows[sent],
            sensors=_picked([one.sensors for one in readings], places),
            channels=_picked([one.channels for one in readings], places),
            origins_ns=batch.times_ns[sent],
            last_readings_ns=batch.times_ns[sent],
            cadences_ns=batch.cadences_ns[sent],
            mean=result.mean[sent],
            quantiles=result.quantiles[sent],
            scale=result.scale[sent],
            status=result.status[sent],
        )

    def _bury(self, records: RecordBatch, rejects: Sequence[Reject]) -> None:
        """Write the dead letters of records that were not buried before."""
        parts = self._parts
        emitted = self._held[records.partition].emitted
        fresh = [reject for reject in rejects if records.offsets[reject.row] >= emitted]
        if fresh:
            outlet = parts.delivery.dead_letters
            outlet.write(encode_dead_letters(records, fresh, outlet.max_record_bytes))
            parts.metrics.dead_letters.inc(len(fresh))
            for reject in fresh:
                parts.metrics.rejects.labels(reject.reason).inc()

    def _count(
        self,
        records: Sequence[RecordBatch],
        readings: Sequence[ReadingBatch],
        routed: Routed,
        forecasts: Sequence[ForecastBatch],
    ) -> None:
        metrics = self._parts.metrics
        metrics.turns.inc()
        metrics.records.inc(sum(len(batch) for batch in records))
        metrics.readings.inc(sum(len(step) for step in routed.steps))
        metrics.duplicates.inc(routed.num_duplicates)
        metrics.late.inc(routed.num_late)
        metrics.merged.inc(routed.num_merged)
        metrics.invalid.inc(sum(batch.num_invalid for batch in readings))
        metrics.forecasts.inc(sum(len(batch) for batch in forecasts))
        metrics.sensors.set(len(self._parts.ledger))
        metrics.resident_slots.set(self._parts.slots.num_resident)
        newest_ns = max((int(batch.timestamps_ns[-1]) for batch in records if len(batch)), default=-1)
        if newest_ns >= 0:
            metrics.delay_seconds.set((self._parts.clock.now_ns() - newest_ns) / 1e9)
        for (sensor, channel), here, there in routed.doubled:
            name = f"{sensor!r} ({channel})" if channel else repr(sensor)
            logger.warning(
                "sensor %s comes in %s and in %s: each keeps a state of its own; key the readings by sensor so "
                "that they share a partition",
                name,
                there,
                here,
            )

    def _measure_lag(self) -> None:
        for partition, end in self._parts.source.ends(list(self._held)).items():
            lag = end - self._held[partition].position
            self._parts.metrics.lag_records.labels(str(partition)).set(max(0, lag))


def _picked(names: Sequence[Sequence[str]], places: np.ndarray) -> list[str]:
    """The names at these places of all the columns one after the other."""
    found: list[str] = np.fromiter(chain.from_iterable(names), dtype=object)[places].tolist()
    return found


def _record_rows(batch: StepBatch, readings: Sequence[ReadingBatch]) -> np.ndarray:
    """The row, within its RecordBatch, of each reading that steps, [n] int64."""
    rows = np.empty(len(batch), np.int64)
    for number, one in enumerate(readings):
        mine = batch.source == number
        rows[mine] = one.rows[batch.readings[mine]]
    return rows


def _offsets(batch: StepBatch, records: Sequence[RecordBatch], rows: np.ndarray) -> np.ndarray:
    """The source offset of each reading that steps, [n] int64."""
    offsets = np.empty(len(batch), np.int64)
    for number, one in enumerate(records):
        mine = batch.source == number
        offsets[mine] = one.offsets[rows[mine]]
    return offsets
