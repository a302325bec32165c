"""Exactly-once: what is not committed is taken back and made again, whatever happens in between."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import LostPartitionsError, ServerUnavailableError
from connectors.records import Partition, SinkRecord
from stream_engine.pipeline import Rhythm
from tests.support.engine import Engine, message
from tests.support.executors import WhenTold
from tests.support.scripted import Log

A, B = Partition("readings", 0), Partition("readings", 1)
SENSORS = {A: "abc", B: "xyz"}


def log_of(num: int) -> Log:
    log = Log({A: [], B: []})
    for minute in range(num):
        add_tick(log, minute)
    return log


def add_tick(log: Log, minute: int) -> None:
    for partition, sensors in SENSORS.items():
        log.append(partition, *(message(sensor, minute, minute + ord(sensor)) for sensor in sensors))
        log.append(partition, b"{broken")


def engine_on(log: Log, max_records: int = 4) -> Engine:
    rhythm = Rhythm(max_records=max_records, commit_s=2.0, checkpoint_s=5.0)
    return Engine(log, rhythm=rhythm, is_exactly_once=True, writer=WhenTold())


def run_out(engine: Engine) -> None:
    """Turn until all is folded, then commit and save."""
    ends = {partition: len(records) for partition, records in engine.log.partitions.items()}
    for _ in range(10 + 4 * sum(ends.values())):
        engine.turns(1, seconds_each=0.5)
        if engine.pipeline.positions == ends:
            break
    engine.pipeline.checkpoint()


def check_once(engine: Engine, num: int) -> None:
    """Each reading has one forecast and each bad record one dead letter; states are a serial run's."""
    sent = engine.sent()
    assert sorted(sent) == sorted((sensor, minute) for minute in range(num) for sensor in "abcxyz")
    buried = [(dict(r.headers)["source-partition"], dict(r.headers)["source-offset"]) for r in engine.dead.kept]
    assert len(set(buried)) == len(buried) == 2 * num
    serial = Engine(log_of(num))
    serial.turns(2 + 4 * num)
    assert engine.states() == serial.states()


def test_nothing_is_out_before_its_commit_and_everything_once_after() -> None:
    engine = engine_on(log_of(6))
    engine.turns(2)
    assert (engine.sent(), engine.log.commits) == ([], {})
    run_out(engine)
    check_once(engine, 6)


def test_a_killed_engine_sends_nothing_again() -> None:
    engine = engine_on(log_of(6))
    engine.turns(3, seconds_each=1.0)
    again = engine.next_life()
    run_out(again)
    check_once(again, 6)


def test_a_refused_commit_takes_everything_back_and_it_is_made_again() -> None:
    engine = engine_on(log_of(6))
    engine.turns(1)
    engine.pipeline.checkpoint()
    engine.turns(2)
    engine.delivery.is_stale = True
    engine.clock.advance(2.0)
    engine.turns(1)
    assert engine.pipeline.positions == {}
    engine.delivery.is_stale = False
    run_out(engine)
    assert engine.delivery.num_aborts == 1
    check_once(engine, 6)


def test_a_checkpoint_that_is_refused_takes_back_before_the_next_turn_folds() -> None:
    engine = engine_on(log_of(6))
    engine.turns(3)
    engine.delivery.is_stale = True
    engine.clock.advance(5.0)
    engine.turns(1)
    engine.delivery.is_stale = False
    run_out(engine)
    check_once(engine, 6)


def test_partitions_lost_without_warning_take_what_was_written_of_them_with_them() -> None:
    engine = engine_on(log_of(6))
    engine.turns(3)
    engine.source.lose(B)
    engine.turns(1)
    assert list(engine.pipeline.positions) == [A]
    engine.pipeline.checkpoint()
    assert {sensor for sensor, _ in engine.sent()} <= set("abc")
    engine.source.assign(B)
    run_out(engine)
    check_once(engine, 6)


def test_partitions_lost_with_nothing_open_take_nothing_back() -> None:
    engine = engine_on(log_of(6))
    engine.turns(3)
    engine.pipeline.commit()
    engine.source.lose(B)
    engine.turns(1)
    assert engine.delivery.num_aborts == 0


def test_a_turn_that_broke_off_while_it_wrote_is_taken_back_when_partitions_are_revoked() -> None:
    engine = engine_on(log_of(6))
    engine.turns(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.dead, "write", _refuse)
        with pytest.raises(ServerUnavailableError):
            engine.turns(1)
    engine.source.revoke(A, B)
    assert (engine.sent(), engine.log.commits) == ([], {})
    again = engine.next_life()
    run_out(again)
    check_once(again, 6)


def _refuse(records: list[SinkRecord]) -> None:
    raise ServerUnavailableError("it does not answer")


def test_what_is_no_longer_ours_is_not_begun_again() -> None:
    engine = engine_on(log_of(6))
    engine.turns(2)
    engine.pipeline.commit()
    engine.turns(1)
    engine.delivery.is_stale = True
    engine.clock.advance(2.0)
    engine.turns(1)
    epochs = dict(engine.store.epochs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.source, "commit", _not_ours)
        engine.turns(2)
    assert engine.store.epochs == epochs, "the epoch is the new owner's"
    assert engine.pipeline.positions == {}
    engine.delivery.is_stale = False
    run_out(engine)
    check_once(engine, 6)


def test_a_partition_that_comes_while_the_store_is_away_waits_and_the_others_go_on() -> None:
    engine = engine_on(log_of(6))
    engine.turns(2)
    engine.source.revoke(B)
    engine.source.assign(B)
    engine.store.is_away = True
    engine.turns(3, seconds_each=1.0)
    assert engine.pipeline.positions == {A: 16}
    engine.store.is_away = False
    run_out(engine)
    check_once(engine, 6)


def _not_ours(positions: object) -> None:
    raise LostPartitionsError("another member holds them")


def turn(engine: Engine) -> Engine:
    engine.turns(1, seconds_each=1.0)
    return engine


def tick(engine: Engine) -> Engine:
    add_tick(engine.log, len(engine.log.partitions[A]) // 4)
    return engine


def save(engine: Engine) -> Engine:
    engine.clock.advance(5.0)
    return turn(engine)


def work(engine: Engine) -> Engine:
    engine.writer.work()
    return engine


def refuse(engine: Engine) -> Engine:
    engine.delivery.is_stale = True
    save(engine)
    engine.delivery.is_stale = False
    return engine


def kill(engine: Engine) -> Engine:
    return engine.next_life()


def wipe(engine: Engine) -> Engine:
    engine.store.clear()
    return engine


def store_away(engine: Engine) -> Engine:
    engine.store.is_away = True
    save(engine)
    work(engine)
    engine.store.is_away = False
    return engine


def revoke(partition: Partition) -> Callable[[Engine], Engine]:
    def happen(engine: Engine) -> Engine:
        if partition in engine.pipeline.positions and engine.source.holds(partition):
            engine.source.revoke(partition)
            engine.source.assign(partition)
        return engine

    return happen


def lose(partition: Partition) -> Callable[[Engine], Engine]:
    def happen(engine: Engine) -> Engine:
        if engine.source.holds(partition):
            engine.source.lose(partition)
            engine.source.assign(partition)
        return engine

    return happen


def break_off(engine: Engine) -> Engine:
    """A fault of the sink within a turn, which ends the engine: it leaves the group, and is started again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.dead, "write", _refuse)
        try:
            engine.turns(1)
        except ServerUnavailableError:
            engine.source.revoke(*filter(engine.source.holds, engine.pipeline.positions))
            return engine.next_life()
    return engine


EVENTS = [turn, turn, turn, tick, save, work, refuse, kill, wipe, store_away, break_off]
EVENTS += [how(partition) for how in (revoke, lose) for partition in (A, B)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(EVENTS), max_size=40), st.integers(1, 9))
def test_whatever_happens_each_reading_is_folded_and_forecast_once(
    events: list[Callable[[Engine], Engine]], max_records: int
) -> None:
    engine = engine_on(log_of(2), max_records)
    for event in events:
        engine = event(engine)
    run_out(engine)
    check_once(engine, len(engine.log.partitions[A]) // 4)
