"""Series that hear each other: what they hear is a fold over their partition, and outlives the engine."""

import math
import random

import numpy as np
import orjson

from connectors.records import Partition
from recurrent_core.models.elinformer.model import Known
from stream_engine.pipeline import Rhythm
from tests.support.engine import Engine, message
from tests.support.models import with_series_nets
from tests.support.scripted import Log

A, B = Partition("readings", 0), Partition("readings", 1)
MODEL = with_series_nets(5, Known(("a", "b", "c"), cadence_s=60.0), 1.0)
NUM = 120


def log_of(louder: str = "") -> Log:
    """Three known series and an unknown one in A, one known in B; readings of `louder`, such as 0a, are higher."""
    log = Log({A: [], B: []})
    draw = random.Random(2)
    for minute in range(NUM):
        for partition, sensor in ((A, "a"), (A, "b"), (A, "c"), (A, "x"), (B, "c")):
            value = 50.0 + 8.0 * math.sin(minute / 9.0) + draw.gauss(0.0, 1.0)
            told = value + 15.0 * (f"{partition.number}{sensor}" == louder)
            log.append(partition, message(sensor, minute, told))
    return log


def said(engine: Engine) -> dict[tuple[bytes, str, int], list[float]]:
    """The median of every forecast kept, by source partition, sensor and origin."""
    found = {}
    for record in engine.forecasts.kept:
        body = orjson.loads(record.value or b"")
        found[dict(record.headers)["source-partition"], body["sensor"], body["origin"]] = body["quantiles"]["0.5"]
    return found


def whole(log: Log) -> dict[tuple[bytes, str, int], list[float]]:
    engine = Engine(log, model=MODEL)
    engine.turns(2)
    engine.pipeline.commit()
    return said(engine)


def apart(one: dict[tuple[bytes, str, int], list[float]], other: dict[tuple[bytes, str, int], list[float]]) -> float:
    assert one.keys() == other.keys()
    return max(float(np.abs(np.subtract(one[key], other[key])).max()) for key in one)


def test_kills_and_other_cuts_change_nothing_that_is_heard() -> None:
    wanted = whole(log_of())
    assert len(wanted) == 5 * NUM
    draw = random.Random(3)
    engine = Engine(log_of(), model=MODEL, rhythm=Rhythm(max_records=23, commit_s=1.0, checkpoint_s=2.0))
    for _ in range(8):
        engine.turns(draw.randrange(1, 6), seconds_each=draw.random())
        engine = engine.next_life()
    engine.turns(60, seconds_each=0.5)
    engine.pipeline.commit()
    assert apart(said(engine), wanted) < 1e-2


def test_known_series_of_a_partition_hear_each_other_and_nobody_else_does() -> None:
    plain = whole(log_of())
    for louder, hears in (("0a", {"a", "b", "c", "x"}), ("0x", {"x"}), ("1c", set())):
        moved = whole(log_of(louder))
        changed = {sensor for (partition, sensor, _), said in moved.items() if partition == b"0"} & {
            key[1] for key in plain if key[0] == b"0" and plain[key] != moved[key]
        }
        assert changed == hears, louder
