"""The way of a reading, and what a crash, a revoke or a lost store leaves behind."""

import random
from collections.abc import Sequence

import numpy as np
import orjson
import pytest

from connectors.errors import ServerUnavailableError, StaleEpochError, StoredStateError
from connectors.records import Partition
from stream_engine.checkpoint import decode_shard
from stream_engine.errors import ConfigError
from stream_engine.pipeline import Choice, Rhythm
from stream_engine.records import StepBatch, StepResult
from stream_engine.router import RouterPolicy
from stream_engine.watermark import Progress
from tests.support.engine import CountingModel, Engine, message
from tests.support.scripted import DictStore, Log

A, B = Partition("readings", 0), Partition("readings", 1)


def log_of(num: int, partitions: tuple[Partition, ...] = (A,), sensors: str = "abc") -> Log:
    log = Log({partition: [] for partition in partitions})
    for minute in range(num):
        for partition in partitions:
            log.append(partition, *(message(sensor, minute, minute + ord(sensor)) for sensor in sensors))
    return log


def test_every_reading_has_its_forecast_in_order() -> None:
    engine = Engine(log_of(3))
    engine.turns(3)
    engine.pipeline.checkpoint()
    assert engine.sent() == [(sensor, minute) for minute in range(3) for sensor in "abc"]
    assert engine.log.commits == {A: 9}
    record = engine.forecasts.kept[0]
    headers = dict(record.headers)
    assert record.key == b"a"
    assert headers["forecast-id"] == b"a||0|counting@1"
    assert (headers["source-topic"], headers["source-partition"], headers["source-offset"]) == (b"readings", b"0", b"0")
    body = orjson.loads(record.value or b"")
    assert body["quantiles"]["0.5"] == [97.0] * 12
    assert body["quantiles"]["0.1"] == [96.0] * 12


def test_bad_records_are_buried_and_their_neighbours_pass() -> None:
    log = Log({A: []})
    log.append(A, message("a", 0, 1.0), b"{broken", None, message("a", 1, 2.0), b'{"ts": 1, "value": 1}')
    engine = Engine(log)
    engine.turns(2)
    engine.pipeline.commit()
    assert engine.sent() == [("a", 0), ("a", 1)]
    assert [dict(r.headers)["reason"] for r in engine.dead.kept] == [b"undecodable", b"undecodable", b"no_sensor"]
    assert [dict(r.headers)["source-offset"] for r in engine.dead.kept] == [b"1", b"2", b"4"]
    assert engine.dead.kept[0].value == b"{broken"


def test_positions_are_committed_only_after_the_sink_has_kept_everything() -> None:
    engine = Engine(log_of(2))
    engine.turns(2)
    engine.forecasts.is_failing = True
    with pytest.raises(ServerUnavailableError):
        engine.pipeline.commit()
    assert engine.log.commits == {}
    assert engine.store.meta == {}


def test_commits_and_checkpoints_keep_their_rhythm() -> None:
    engine = Engine(log_of(40), rhythm=Rhythm(max_records=3, commit_s=2.0, checkpoint_s=6.0))
    committed, saved = [], []
    for _ in range(14):
        engine.turns(1, seconds_each=1.0)
        committed.append(engine.log.commits.get(A, 0))
        saved.append(len(engine.store.meta))
    assert committed[:8] == [0, 0, 3, 3, 9, 9, 15, 15], "of the turns before, at every second turn"
    assert saved[5:8] == [0, 1, 1]


def test_a_killed_engine_loses_nothing_and_repeats_only_what_was_in_flight() -> None:
    log = log_of(200, partitions=(A, B))
    whole = Engine(Log({p: list(v) for p, v in log.partitions.items()}))
    whole.turns(3)
    rng = random.Random(3)
    engine = Engine(log, rhythm=Rhythm(max_records=20, commit_s=1.0, checkpoint_s=3.0))
    for _ in range(12):
        engine.turns(rng.randrange(1, 8), seconds_each=rng.random())
        engine = engine.next_life()
    engine.turns(80, seconds_each=0.5)
    engine.pipeline.checkpoint()
    assert engine.states() == whole.states()
    sent = engine.sent()
    assert set(sent) == {(sensor, minute) for minute in range(200) for sensor in "abc"}
    assert engine.log.commits == {A: 600, B: 600}
    assert len(sent) - 2 * 600 < 12 * 8 * 40, "only what was not committed is sent again"


def test_the_records_between_the_stored_and_the_committed_position_are_folded_in_silence() -> None:
    engine = Engine(log_of(10), rhythm=Rhythm(max_records=6, commit_s=0.0, checkpoint_s=1000.0))
    engine.turns(7)
    assert engine.log.commits == {A: 30}
    assert engine.store.meta == {}
    engine.log.append(A, message("a", 10, 7.0), b"bad")
    engine = engine.next_life()
    engine.turns(1)
    assert engine.pipeline.is_replaying
    engine.turns(8)
    assert not engine.pipeline.is_replaying
    assert engine.sent() == [*((sensor, minute) for minute in range(10) for sensor in "abc"), ("a", 10)]
    assert len(engine.dead.kept) == 1


def test_a_new_group_that_starts_at_the_end_is_warmed_by_history() -> None:
    engine = Engine(log_of(5), rhythm=Rhythm(choice=Choice("latest"), commit_s=0.0))
    engine.turns(3)
    assert engine.sent() == []
    assert engine.states()[(A, "a")][0] == 5
    engine.log.append(A, message("a", 5, 1.0))
    engine.turns(2)
    assert engine.sent() == [("a", 5)]


def test_an_emptied_store_is_filled_again_from_memory() -> None:
    engine = Engine(log_of(5))
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.store.clear()
    engine.log.append(A, message("a", 5, 1.0))
    engine.turns(1)
    engine.pipeline.checkpoint()
    states = engine.states()
    again = engine.next_life()
    again.turns(1)
    assert again.states() == states


def test_a_store_that_lost_everything_is_rebuilt_from_the_log() -> None:
    engine = Engine(log_of(20))
    engine.turns(2)
    engine.pipeline.checkpoint()
    states, sent = engine.states(), engine.sent()
    again = engine.next_life(store=DictStore())
    again.turns(3)
    assert again.states() == states
    assert again.sent() == sent


def test_a_damaged_shard_is_rebuilt_from_the_log() -> None:
    engine = Engine(log_of(20))
    engine.turns(2)
    engine.pipeline.checkpoint()
    states = engine.states()
    blob = engine.store.shards[A][0]
    engine.store.shards[A][0] = blob[:-5] + b"wrong"
    again = engine.next_life()
    again.turns(3)
    assert again.states() == states


def test_a_store_that_is_away_does_not_stop_the_engine() -> None:
    engine = Engine(log_of(5))
    engine.turns(1)
    engine.store.is_away = True
    engine.turns(2)
    assert engine.pipeline.checkpoint() is False
    assert engine.log.commits == {A: 15}
    engine.store.is_away = False
    assert engine.pipeline.checkpoint() is True
    assert engine.store.meta[A]


def test_a_stale_owner_is_refused_and_stops() -> None:
    engine = Engine(log_of(5))
    engine.turns(2)
    engine.next_life().turns(1)
    with pytest.raises(StaleEpochError):
        engine.pipeline.checkpoint()


def test_revoked_partitions_are_committed_saved_and_forgotten() -> None:
    log = log_of(6, partitions=(A, B))
    engine = Engine(log)
    engine.turns(2)
    states = engine.states()
    engine.source.revoke(B)
    assert engine.log.commits == {A: 18, B: 18}
    assert list(engine.pipeline.positions) == [A]
    assert engine.slots.num_resident == 3
    engine.source.assign(B)
    engine.turns(2)
    assert engine.states() == states


def test_a_turn_that_was_broken_off_saves_nothing() -> None:
    engine = Engine(log_of(6), rhythm=Rhythm(max_records=9))
    engine.turns(2)
    engine.pipeline.checkpoint()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.forecasts, "write", _refuse)
        with pytest.raises(ServerUnavailableError):
            engine.turns(1)
    engine.source.revoke(A)
    assert engine.log.commits == {A: 9}
    again = engine.next_life()
    again.turns(4)
    again.pipeline.checkpoint()
    assert again.sent() == [(sensor, minute) for minute in range(6) for sensor in "abc"]
    assert again.states()[(A, "a")][0] == 6


def _refuse(records: object) -> None:
    raise ServerUnavailableError("the sink does not answer")


def test_lost_partitions_are_forgotten_without_saving() -> None:
    engine = Engine(log_of(6, partitions=(A, B)))
    engine.turns(2)
    engine.source.lose(B)
    engine.turns(1)
    assert list(engine.pipeline.positions) == [A]
    assert engine.log.commits == {}


def test_more_sensors_than_slots_come_back_from_host_and_store() -> None:
    sensors = "".join(chr(ord("a") + number) for number in range(20))
    wide = Engine(log_of(30, sensors=sensors))
    wide.turns(3)
    narrow = Engine(
        log_of(30, sensors=sensors),
        rhythm=Rhythm(max_records=50, commit_s=0.0, checkpoint_s=2.0),
        capacity=3,
        shelf_rows=4,
    )
    narrow.turns(20, seconds_each=1.0)
    assert narrow.states() == wide.states()
    assert narrow.sent() == [(sensor, minute) for minute in range(30) for sensor in sensors]
    assert narrow.store.num_loads > 0, "some rows were only in the store"
    again = narrow.next_life(capacity=5)
    again.turns(3)
    assert again.states() == wide.states()


@pytest.mark.parametrize("leaves_by", ["eviction", "checkpoint"])
def test_a_state_that_has_turned_nan_is_reset_and_counted_and_never_stored(leaves_by: str) -> None:
    engine = Engine(log_of(3), capacity=3, shelf_rows=1, rhythm=Rhythm(commit_s=0.0, checkpoint_s=0.0))
    engine.turns(2)
    handle = engine.ledger.find(A, ("b", ""))
    slot = engine.ledger.slot[[handle]]
    engine.stepper.put(slot, np.asarray([[1.0, np.nan, 3.0]], np.float32))  # the forecast does not read it
    engine.log.append(A, *(message("def"[n], 3, 1.0) for n in range(3 if leaves_by == "eviction" else 1)))
    engine.turns(3, seconds_each=1.0)
    engine.pipeline.checkpoint()
    stored = [decode_shard("counting-1", blob) for blob in engine.store.shards[A].values()]
    assert all(np.isfinite(shard.rows).all() for shard in stored)
    assert engine.states()[(A, "b")][2] == [0.0, 0.0, 0.0]
    engine.log.append(A, message("b", 4, 8.0))
    engine.turns(1)
    assert b"stream_engine_state_resets_total 1.0" in engine.metrics.render()
    assert engine.states()[(A, "b")][2] == [8.0, 8.0, 1.0]


@pytest.mark.parametrize("fault", ["short", "twice", "another's"])
def test_a_sound_shard_in_the_wrong_place_is_refused_and_the_state_rebuilt(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    sensors = [f"s-{number}" for number in range(200)]
    log = Log({A: [(None, message(sensor, 1, 5.0)) for sensor in sensors]})
    engine = Engine(log, capacity=300, shelf_rows=0)
    engine.turns(2)
    engine.pipeline.checkpoint()
    wanted, shards = engine.states(), engine.store.shards[A]
    if fault == "another's":
        few = Engine(log, capacity=8, shelf_rows=0, store=engine.store)
        few.turns(1)
        shards[1] = shards[0]
        with pytest.raises(StoredStateError, match="other series than were stored"):
            few.checkpointer.row(int(few.ledger.handles(A)[199]))
    shards[0] = shards[1] if fault == "short" else shards[0]
    shards[1] = shards[0] if fault == "twice" else shards[1]
    again = engine.next_life(capacity=300)
    again.turns(2)
    assert "does not hold the series that it should; its state is rebuilt from the log" in caplog.text
    assert again.states() == wanted


def test_state_of_another_model_is_refused_with_the_way_out() -> None:
    engine = Engine(log_of(2))
    engine.turns(2)
    engine.pipeline.checkpoint()
    with pytest.raises(ConfigError, match=r"made by model counting@1 .* names counting@2 .* store.prefix"):
        engine.next_life(model=CountingModel(version="2")).turns(1)


def test_offsets_rewound_by_an_operator_rebuild_the_state_and_send_again() -> None:
    engine = Engine(log_of(10))
    engine.turns(2)
    engine.pipeline.checkpoint()
    states = engine.states()
    engine.log.commits[A] = 15
    again = engine.next_life()
    again.turns(3)
    again.pipeline.commit()
    assert again.states() == states
    assert again.sent()[30:] == engine.sent()[15:30]


def test_a_topic_that_was_recreated_starts_afresh() -> None:
    engine = Engine(log_of(10))
    engine.turns(2)
    engine.pipeline.checkpoint()
    again = engine.next_life(log=Log({A: [(None, message("a", 1, 5.0))]}, commits=dict(engine.log.commits)))
    again.turns(2)
    again.pipeline.commit()
    assert again.states() == {(A, "a"): (1, again.states()[(A, "a")][1], [5.0, 5.0, 1.0])}
    assert again.sent()[-1] == ("a", 1)


def test_state_older_than_a_recreated_topic_is_not_used_either() -> None:
    engine = Engine(log_of(10))
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.commits[A] = 60
    again = engine.next_life(log=Log({A: list(engine.log.partitions[A]) * 2}, commits={A: 90}))
    again.turns(2)
    again.pipeline.commit()
    assert again.sent()[30:] == engine.sent()[:30], "all of the new topic's readings are new"


def test_a_crash_while_history_warms_the_state_does_not_make_it_new() -> None:
    engine = Engine(log_of(10), rhythm=Rhythm(max_records=9, choice=Choice("latest"), commit_s=0.0, checkpoint_s=0.0))
    engine.turns(3)
    assert engine.pipeline.is_replaying
    again = engine.next_life()
    again.log.append(A, message("a", 10, 1.0))
    again.turns(6)
    again.pipeline.commit()
    assert again.sent() == [("a", 10)]


def test_a_record_with_several_late_readings_is_buried_once() -> None:
    values = {"x": 1.0, "y": 2.0, "z": 3.0}
    log = Log({A: []})
    for ts in (600_000, 0):
        log.append(A, orjson.dumps({"sensor": "a", "ts": ts, "values": values}))
    engine = Engine(log, policy=RouterPolicy(late="dead_letter"))
    engine.turns(2)
    engine.pipeline.commit()
    assert len(engine.dead.kept) == 1
    assert len(engine.forecasts.kept) == 3


def test_a_key_too_large_for_a_forecast_stops_nobody() -> None:
    log = Log({A: [(b"k" * 100_000, message("a", 1, 1.0)), (None, message("a", 2, 1.0))]})
    engine = Engine(log)
    engine.turns(2)
    engine.pipeline.commit()
    assert [dict(r.headers)["reason"] for r in engine.dead.kept] == [b"too_large"]
    assert engine.sent() == [("a", 2)]


def test_a_store_that_is_away_is_waited_for_where_a_row_is_nowhere_else() -> None:
    engine = Engine(log_of(3, sensors="abcdefgh"), capacity=2, shelf_rows=1)
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.append(A, *(message(sensor, 9, 1.0) for sensor in "abcdefgh"))
    loads = engine.store.load
    faults = [ServerUnavailableError("away"), ServerUnavailableError("away")]

    def load(partition: Partition, shards: list[int]) -> list[bytes | None]:
        if faults:
            raise faults.pop()
        return loads(partition, shards)

    engine.store.load = load  # type: ignore[method-assign, assignment]
    engine.turns(1)
    assert not faults
    assert engine.states()[(A, "a")][0] == 4


def test_turns_take_as_many_records_as_their_time_allows() -> None:
    engine = Engine(log_of(2_000), rhythm=Rhythm(max_records=4_000))
    taken, step = [], engine.stepper.step

    def slow_step(batch: StepBatch, progress: Sequence[Progress]) -> StepResult:
        engine.clock.advance(len(batch) / 500.0)
        return step(batch, progress)

    engine.stepper.step = slow_step  # type: ignore[method-assign]
    for _ in range(5):
        before = sum(engine.pipeline.positions.values())
        engine.turns(1)
        taken.append(sum(engine.pipeline.positions.values()) - before)
    assert taken == [0, 2_000, 500, 500, 500], "a second each at 500 readings a second"


def test_late_readings_are_buried_where_asked() -> None:
    log = Log({A: [(None, message("a", 5, 1.0)), (None, message("a", 3, 1.0))]})
    engine = Engine(log, policy=RouterPolicy(late="dead_letter"))
    engine.turns(2)
    engine.pipeline.commit()
    assert [dict(r.headers)["reason"] for r in engine.dead.kept] == [b"late"]


def test_a_state_that_is_not_finite_starts_afresh_and_sends_no_nonsense() -> None:
    log = Log({A: [(None, message("a", 1, 1.0)), (None, message("a", 2, 1e300)), (None, message("a", 3, 2.0))]})
    engine = Engine(log, max_per_poll=1)
    engine.turns(5)
    engine.pipeline.commit()
    for record in engine.forecasts.kept:
        body = orjson.loads(record.value or b"")
        assert all(number is not None for number in body["mean"])
    assert engine.sent() == [("a", 1), ("a", 2), ("a", 3)]


def test_a_store_that_stays_away_is_asked_ever_less_often_and_saved_to_once_it_is_back() -> None:
    engine = Engine(log_of(5), rhythm=Rhythm(commit_s=0.0, checkpoint_s=10.0, store_away_s=60.0))
    engine.turns(2, 1.0)
    engine.store.is_away = True
    failures: list[int] = []
    for minute in range(10):
        engine.log.append(A, message("a", 5 + minute, 1.0))
        engine.turns(60, 1.0)
        failures.append(int(engine.metrics.registry.get_sample_value("stream_engine_store_failures_total") or 0))
        assert engine.metrics.registry.get_sample_value("stream_engine_store_away") == 1
    assert failures[1] >= 3
    assert 8 <= failures[-1] <= 25, "between 30 and 60 s from one attempt to the next in the end"
    engine.store.is_away = False
    engine.turns(62, 1.0)
    assert engine.metrics.registry.get_sample_value("stream_engine_store_away") == 0
    assert engine.store.meta.keys() >= {A}
    assert engine.sent()[-1] == ("a", 14)
