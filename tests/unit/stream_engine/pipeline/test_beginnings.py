"""Where a lost state is rebuilt from, and what becomes of a position that the log no longer holds."""

import pytest

from connectors.records import Partition
from stream_engine.config import Since
from stream_engine.errors import PositionError
from stream_engine.pipeline import Choice, Rhythm
from tests.support.engine import Engine, message
from tests.support.scripted import RECORD_NS, Log

A = Partition("readings", 0)


def log_of(num: int, sensors: str = "abc") -> Log:
    return Log({A: [(None, message(sensor, minute, 1.0)) for minute in range(num) for sensor in sensors]})


@pytest.mark.parametrize(
    ("since", "counted"),
    [
        ("earliest", 10),
        ("20m", 7),  # the newest of 30 records is of minute 29: records 9 and on, of which every third is of sensor a
        ("1970-01-01T00:12:00Z", 6),
        ("1970-01-01T00:25:00Z", 4),  # records 18 and on have not been sent: none of them is left out
        ("2100-01-01T00:00:00Z", 4),
    ],
)
def test_a_lost_state_is_rebuilt_from_the_time_that_is_told(since: str, counted: int) -> None:
    engine = Engine(log_of(10), rhythm=Rhythm(max_records=18, checkpoint_s=1000.0))
    engine.turns(2)
    engine.pipeline.commit()
    assert engine.log.commits == {A: 18}
    engine = engine.next_life(rhythm=Rhythm(choice=Choice(rebuild_from=Since.parse(since))))
    engine.clock.set_now_ns(10**18)
    engine.turns(3)
    engine.pipeline.checkpoint()
    assert engine.states()[(A, "a")][0] == counted
    assert engine.sent() == [(sensor, minute) for minute in range(10) for sensor in "abc"]
    again = engine.next_life()
    again.turns(2)
    assert again.states() == engine.states(), "what is stored goes on as it is"


def test_a_record_ahead_of_the_clock_does_not_make_a_rebuilt_state_short() -> None:
    engine = Engine(log_of(30, sensors="a"), rhythm=Rhythm(choice=Choice(rebuild_from=Since.parse("10m"))))
    engine.log.commits[A] = 30
    engine.clock.set_now_ns(20 * RECORD_NS)
    engine.turns(2)
    assert engine.states()[(A, "a")][0] == 20


RESETS = pytest.mark.parametrize("reset", ["earliest", "latest"])


def resets(engine: Engine) -> float:
    return engine.metrics.registry.get_sample_value("stream_engine_position_resets_total") or 0.0


@RESETS
@pytest.mark.parametrize("is_exactly_once", [False, True])
def test_records_removed_under_the_reader_are_told_and_the_state_goes_on(reset: str, is_exactly_once: bool) -> None:
    rhythm = Rhythm(max_records=6, choice=Choice(reset=reset))
    engine = Engine(log_of(10), rhythm=rhythm, is_exactly_once=is_exactly_once)
    engine.turns(2)
    engine.log.earliest = 15
    engine.log.append(A, message("a", 10, 1.0))
    engine.turns(2)
    assert resets(engine) == 1
    engine.log.append(A, message("b", 10, 1.0))
    engine.turns(9)
    engine.pipeline.checkpoint()
    counts = {sensor: count for (_, sensor), (count, _, _) in engine.states().items()}
    assert counts == {"a": 8, "b": 8, "c": 7}, "six, then what was not removed, in silence or not"
    minutes = range(5, 10) if reset == "earliest" else ()
    sent = [*((s, m) for m in range(2) for s in "abc"), *((s, m) for m in minutes for s in "abc")]
    sent += [("a", 10), ("b", 10)] if reset == "earliest" else [("b", 10)]
    assert engine.sent() == sent
    assert engine.log.commits == {A: 32}
    assert resets(engine) == 1


@RESETS
def test_the_state_of_a_recreated_topic_is_not_continued(reset: str) -> None:
    engine = Engine(log_of(10), rhythm=Rhythm(choice=Choice(reset=reset)))
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.partitions[A][:] = log_of(2).partitions[A]
    engine.turns(2)
    engine.log.append(A, message("a", 2, 1.0))
    engine.turns(3)
    engine.pipeline.checkpoint()
    assert resets(engine) == 1
    assert {sensor: count for (_, sensor), (count, _, _) in engine.states().items()} == {"a": 3, "b": 2, "c": 2}
    again = [(s, m) for m in range(2) for s in "abc"] if reset == "earliest" else []
    assert engine.sent()[30:] == [*again, ("a", 2)]
    assert engine.log.commits == {A: 7}


@RESETS
def test_a_recreated_topic_is_known_by_its_state_too(reset: str) -> None:
    """Kafka deletes a group's offsets with the topic."""
    engine = Engine(log_of(10))
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.partitions[A][:] = log_of(2).partitions[A]
    engine.log.commits.clear()
    engine = engine.next_life(rhythm=Rhythm(choice=Choice(reset=reset)))
    engine.turns(2)
    engine.log.append(A, message("a", 2, 1.0))
    engine.turns(2)
    engine.pipeline.checkpoint()
    assert resets(engine) == 1
    assert engine.states()[(A, "a")][0] == 3
    again = [(s, m) for m in range(2) for s in "abc"] if reset == "earliest" else []
    assert engine.sent()[30:] == [*again, ("a", 2)]


@RESETS
def test_a_topic_made_anew_is_known_by_its_id_where_it_has_grown_past_the_position(reset: str) -> None:
    engine = Engine(log_of(10))
    engine.log.log_id = "old"
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.partitions[A][:] = log_of(12, "xyz").partitions[A]
    engine.log.commits.clear()
    engine.log.log_id = "new"
    engine = engine.next_life(rhythm=Rhythm(choice=Choice(reset=reset)))
    engine.turns(2)
    engine.log.append(A, message("x", 12, 1.0))
    engine.turns(2)
    engine.pipeline.checkpoint()
    assert resets(engine) == 1
    assert {sensor: count for (_, sensor), (count, _, _) in engine.states().items()} == {"x": 13, "y": 12, "z": 12}
    again = [(s, m) for m in range(12) for s in "xyz"] if reset == "earliest" else []
    assert engine.sent()[30:] == [*again, ("x", 12)]
    again_after = engine.next_life()
    again_after.turns(2)
    assert resets(again_after) == 0
    assert again_after.states() == engine.states(), "what is stored is of the new topic now"


def test_a_commit_of_the_topic_made_anew_stands_and_only_the_state_is_rebuilt() -> None:
    engine = Engine(log_of(10))
    engine.log.log_id = "old"
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.partitions[A][:] = log_of(12, "xyz").partitions[A]
    engine.log.commits[A] = 33  # by another of the group, or by hand, since
    engine.log.log_id = "new"
    engine = engine.next_life()
    engine.turns(3)
    engine.pipeline.checkpoint()
    assert {sensor: count for (_, sensor), (count, _, _) in engine.states().items()} == {"x": 12, "y": 12, "z": 12}
    assert engine.sent()[30:] == [("x", 11), ("y", 11), ("z", 11)]


@pytest.mark.parametrize(("before", "after"), [("", "new"), ("old", ""), ("old", "old")])
def test_a_log_whose_id_is_not_known_or_the_same_goes_on(before: str, after: str) -> None:
    engine = Engine(log_of(10))
    engine.log.log_id = before
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.log_id = after
    engine = engine.next_life(rhythm=Rhythm(choice=Choice(reset="fail")))
    engine.log.append(A, message("a", 10, 1.0))
    engine.turns(3)
    engine.pipeline.checkpoint()
    assert engine.states()[(A, "a")][0] == 11
    assert engine.sent()[30:] == [("a", 10)]


def test_a_topic_made_anew_ends_the_engine_where_it_is_to() -> None:
    engine = Engine(log_of(10))
    engine.log.log_id = "old"
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.commits.clear()
    engine.log.log_id = "new"
    engine = engine.next_life(rhythm=Rhythm(choice=Choice(reset="fail")))
    with pytest.raises(
        PositionError, match=r"stood at 30 of a topic that has been deleted and made anew.*reset is fail"
    ):
        engine.turns(2)


def test_a_skip_to_the_end_is_committed_at_once() -> None:
    engine = Engine(log_of(4), rhythm=Rhythm(max_records=1, choice=Choice(reset="latest")))
    engine.log.commits[A] = 90
    engine.turns(1)
    assert engine.log.commits == {A: 12}, "a crash now must not skip more"


@pytest.mark.parametrize("is_running", [True, False])
def test_a_position_that_the_log_does_not_hold_ends_the_engine_where_it_is_to(is_running: bool) -> None:
    engine = Engine(log_of(10), rhythm=Rhythm(max_records=6, choice=Choice(reset="fail")))
    engine.turns(2)
    engine.pipeline.checkpoint()
    engine.log.earliest = 15
    engine = engine if is_running else engine.next_life()
    with pytest.raises(PositionError, match=r"readings/0: reading stood at 6, before the earliest record 15"):
        engine.turns(2)
    assert engine.log.commits == {A: 6}
