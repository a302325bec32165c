"""What goes on beside the turns: a checkpoint and a restore in slices, and what may happen in the middle of one."""

import logging

import pytest

from connectors.records import Partition
from stream_engine.checkpoint import checkpointer, decode_meta, decode_shard
from stream_engine.pipeline import Rhythm
from tests.support.engine import CreepingClock, Engine, message
from tests.support.executors import WhenTold
from tests.support.scripted import Log

A, B = Partition("readings", 0), Partition("readings", 1)
SENSORS = [f"s-{number:02d}" for number in range(40)]
RHYTHM = Rhythm(commit_s=0.0, checkpoint_s=100.0, stop_s=0.2)


@pytest.fixture(autouse=True)
def in_small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SHARD_SIZE": 4, "SHARDS_AT_ONCE": 1, "ROWS_AT_ONCE": 2}.items():
        monkeypatch.setattr(checkpointer, name, value)


def add_tick(log: Log, minute: int, *partitions: Partition) -> None:
    for partition in partitions:
        log.append(partition, *(message(sensor, minute, minute + 0.5) for sensor in SENSORS))


def engine_of(*partitions: Partition) -> Engine:
    """An engine that has folded two ticks and saved nothing, whose writer waits to be told."""
    log = Log({partition: [] for partition in partitions})
    for minute in range(2):
        add_tick(log, minute, *partitions)
    engine = Engine(log, rhythm=RHYTHM, writer=WhenTold(), clock=CreepingClock())
    engine.turns(3)
    return engine


def begin_checkpoint(engine: Engine) -> None:
    engine.clock.advance(100.0)
    engine.turns(1)


def copy_all(engine: Engine) -> None:
    while engine.checkpointer.is_copying:
        engine.turns(1)


def stored(engine: Engine, partition: Partition) -> tuple[int, dict[str, list[float]]]:
    """The stored position, and each sensor's stored row."""
    shards = [decode_shard("counting-1", blob) for blob in engine.store.shards[partition].values()]
    rows = {key[0]: row.tolist() for shard in shards for key, row in zip(shard.keys, shard.rows, strict=True)}
    return decode_meta(engine.store.meta[partition]).position, rows


def test_readings_flow_while_a_checkpoint_is_copied_and_it_holds_the_moment_it_began_at() -> None:
    engine = engine_of(A)
    begin_checkpoint(engine)
    assert engine.checkpointer.is_copying, "or else nothing is shown here"
    add_tick(engine.log, 2, A)
    engine.turns(2)
    assert engine.pipeline.positions == {A: 120}
    assert engine.checkpointer.is_copying
    copy_all(engine)
    assert engine.store.meta == {}, "the writer has not worked yet"
    engine.writer.work()
    assert stored(engine, A) == (80, {sensor: [1.5, 2.0, 2.0] for sensor in SENSORS})
    engine.turns(1)
    assert not engine.checkpointer.is_saving
    begin_checkpoint(engine)
    copy_all(engine)
    engine.writer.work()
    assert stored(engine, A) == (120, {sensor: [2.5, 4.5, 3.0] for sensor in SENSORS})


def test_a_turn_is_small_and_waits_for_nothing_while_rows_are_copied() -> None:
    engine = engine_of(A)
    asked: list[tuple[int, float]] = []
    poll = engine.source.poll

    def noted(max_records: int, timeout_s: float) -> object:
        asked.append((max_records, timeout_s))
        return poll(max_records, timeout_s)

    engine.source.poll = noted  # type: ignore[method-assign, assignment]
    engine.pipeline._max_records = 50_000
    begin_checkpoint(engine)
    engine.turns(1)
    copy_all(engine)
    engine.turns(1)
    assert asked[0] == asked[-1] == (50_000, RHYTHM.poll_s)
    assert set(asked[1:-1]) == {(2_000, 0.0)}


def test_a_crash_in_the_middle_of_a_checkpoint_leaves_the_one_before() -> None:
    engine = engine_of(A)
    engine.pipeline.checkpoint()
    add_tick(engine.log, 2, A)
    engine.turns(2)
    begin_checkpoint(engine)
    states = engine.states()
    again = engine.next_life()
    again.turns(1)
    assert stored(again, A)[0] == 80
    again.turns(20)
    assert again.states() == states


def test_a_revoke_waits_for_the_checkpoint_under_way_and_saves_what_came_after() -> None:
    engine = engine_of(A, B)
    begin_checkpoint(engine)
    add_tick(engine.log, 2, A, B)
    engine.turns(1)
    assert engine.checkpointer.is_copying
    engine.source.revoke(B)
    assert stored(engine, B) == (120, {sensor: [2.5, 4.5, 3.0] for sensor in SENSORS})
    assert stored(engine, A)[0] == 80, "what was under way"
    assert engine.log.commits[B] == 120
    engine.source.assign(B)
    engine.turns(20)
    assert engine.pipeline.positions == {A: 120, B: 120}
    assert engine.states()[(B, "s-07")][2] == [2.5, 4.5, 3.0]


def test_a_revoke_does_not_wait_for_a_stuck_store_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_of(A, B)
    begin_checkpoint(engine)
    copy_all(engine)
    engine.writer.is_stuck = True
    engine.source.revoke(B)
    assert "the store has not taken a checkpoint within 0." in caplog.text
    assert engine.pipeline.positions == {A: 80}
    assert (engine.store.meta, engine.log.commits) == ({}, {A: 80, B: 80})
    engine.writer.is_stuck = False
    engine.writer.work()
    assert engine.store.meta == {}, "what was given up is not written later"
    assert engine.pipeline.checkpoint()
    assert stored(engine, A)[0] == 80


def test_a_partition_lost_in_the_middle_of_a_checkpoint_leaves_the_others_alone() -> None:
    engine = engine_of(A, B)
    begin_checkpoint(engine)
    engine.source.lose(A)
    engine.turns(1)
    copy_all(engine)
    for _ in range(3):
        engine.writer.work()
    engine.turns(1)
    assert list(engine.store.meta) == [B]
    assert not engine.checkpointer.is_saving
    assert stored(engine, B) == (80, {sensor: [1.5, 2.0, 2.0] for sensor in SENSORS})


def test_a_write_that_fails_leaves_everything_to_be_saved(caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_of(A)
    begin_checkpoint(engine)
    copy_all(engine)
    engine.store.is_away = True
    engine.writer.work()
    engine.store.is_away = False
    engine.turns(1)
    assert "serving from memory: the store does not answer" in caplog.text
    assert engine.ledger.is_dirty[engine.ledger.handles(A)].all()
    assert engine.store.meta == {}
    begin_checkpoint(engine)
    copy_all(engine)
    engine.writer.work()
    engine.turns(1)
    assert stored(engine, A) == (80, {sensor: [1.5, 2.0, 2.0] for sensor in SENSORS})
    assert not engine.ledger.is_dirty.any()


def test_a_store_found_emptied_is_filled_again_beside_the_turns(caplog: pytest.LogCaptureFixture) -> None:
    engine = engine_of(A, B)
    engine.pipeline.checkpoint()
    engine.store.clear()
    add_tick(engine.log, 2, A, B)
    engine.turns(2)
    begin_checkpoint(engine)
    for _ in range(200):
        engine.turns(1)
        engine.writer.work()
    assert caplog.text.count("the store has lost its state") == 2
    assert stored(engine, A) == stored(engine, B) == (120, {sensor: [2.5, 4.5, 3.0] for sensor in SENSORS})


def test_rows_that_only_the_store_has_are_read_back_by_the_writer() -> None:
    engine = engine_of(A).next_life(capacity=4, shelf_rows=2)
    engine.turns(30)
    engine.pipeline.checkpoint()
    engine.log.append(A, message("s-00", 2, 2.5), message("s-39", 2, 2.5))
    begin_checkpoint(engine)
    engine.turns(2)
    loads = engine.store.num_loads
    begin_checkpoint(engine)
    copy_all(engine)
    assert engine.store.num_loads == loads
    engine.writer.work()
    assert engine.store.num_loads > loads
    position, rows = stored(engine, A)
    assert position == 82
    assert rows == {s: [2.5, 4.5, 3.0] if s in ("s-00", "s-39") else [1.5, 2.0, 2.0] for s in SENSORS}


def test_a_changed_row_stays_in_memory_until_its_own_save_has_ended() -> None:
    engine = engine_of(A, B).next_life(capacity=4, shelf_rows=2)
    engine.turns(40)
    engine.pipeline.checkpoint()
    add_tick(engine.log, 2, A, B)
    engine.turns(20)
    begin_checkpoint(engine)
    copy_all(engine)
    engine.writer.work()
    engine.turns(1)
    assert (stored(engine, A)[0], stored(engine, B)[0]) == (120, 80), "one is saved, the other on its way"
    add_tick(engine.log, 3, B)
    engine.turns(2)
    assert {row[2][1] for key, row in engine.states().items() if key[0] == B} == {8.0}


def saved_engine() -> Engine:
    """A new life over two partitions whose state is stored and whose log has one more tick."""
    engine = engine_of(A, B)
    engine.pipeline.checkpoint()
    add_tick(engine.log, 2, A, B)
    return engine.next_life()


def test_a_partition_is_served_while_another_is_restored() -> None:
    engine = saved_engine()
    engine.source.unassign(B)
    engine.turns(20)
    assert engine.pipeline.positions == {A: 120}
    engine.source.assign(B)
    engine.turns(1)
    add_tick(engine.log, 3, A)
    engine.turns(1)
    assert engine.pipeline.positions == {A: 160}, "A has gone on, B is on its way"
    assert len(engine.ledger.handles(B)) > 0
    engine.turns(20)
    assert engine.pipeline.positions == {A: 160, B: 120}
    assert engine.states()[(B, "s-07")][2] == [2.5, 4.5, 3.0]


@pytest.mark.parametrize("how", ["revoke", "lose"])
def test_a_partition_that_goes_while_it_is_restored_leaves_nothing_behind(how: str) -> None:
    engine = saved_engine()
    engine.turns(1)
    assert engine.pipeline.positions == {}
    assert len(engine.ledger.handles(A)) > 0
    getattr(engine.source, how)(A, B)
    engine.turns(1)
    assert engine.ledger.partitions == []
    before = len(engine.ledger.keys)
    engine.source.assign(A, B)
    engine.turns(40)
    assert engine.pipeline.positions == {A: 120, B: 120}
    assert len(engine.ledger.keys) == before, "its handles are used again"


def test_a_store_that_goes_away_during_a_restore_is_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    engine = saved_engine()
    engine.turns(1)
    engine.store.is_away = True
    engine.turns(2)
    assert "readings/0 waits, the others go on" in caplog.text
    assert engine.ledger.partitions == []
    engine.store.is_away = False
    engine.clock.advance(5.0)
    engine.turns(40)
    assert engine.pipeline.positions == {A: 120, B: 120}
    assert engine.states()[(A, "s-07")][2] == [2.5, 4.5, 3.0]


def test_a_damaged_shard_that_is_found_late_in_a_restore_lets_the_partition_be_rebuilt() -> None:
    engine = saved_engine()
    blob = engine.store.shards[A][9]
    engine.store.shards[A][9] = blob[:-1] + bytes([blob[-1] ^ 1])
    engine.turns(40)
    assert engine.pipeline.positions == {A: 120, B: 120}
    assert engine.states()[(A, "s-07")] == engine.states()[(B, "s-07")]
