"""What a backtest scores is what the live pipeline sends: the same readings give the same forecasts."""

from pathlib import Path

import numpy as np
import orjson
import pyarrow.parquet
import pytest
import torch

from connectors.records import Partition
from recurrent_core.weights import load_model
from stream_engine.backtest.run import Candidate, Plan, run_backtest
from stream_engine.router import Late, RouterPolicy
from tests.support.engine import Engine, message
from tests.support.scripted import Log

HERE = Partition("readings", 0)
NUM_ROWS, HORIZON = 120, 12


def readings() -> list[tuple[str, int, float]]:
    """(sensor, minute, value) in order of arrival: gaps, a late one, a double one."""
    rng = np.random.default_rng(11)
    found = []
    for row in range(NUM_ROWS):
        for number, sensor in enumerate("abcd"):
            if rng.random() < 0.9:
                value = 40 + 10 * np.sin(row / 9 + number) + rng.normal()
                found.append((sensor, 5 * row + number, round(float(value), 3)))
    found[50], found[54] = found[54], found[50]
    return [*found[:90], found[89], *found[90:]]


@pytest.mark.parametrize(("records_a_turn", "late"), [(7, "drop"), (1_000, "drop"), (7, "merge"), (1_000, "merge")])
def test_backtest_equals_live(records_a_turn: int, late: Late, tmp_path: Path) -> None:
    model = load_model("default")
    log = Log({HERE: []})
    log.append(HERE, *(message(sensor, minute, value) for sensor, minute, value in readings()))
    live = Engine(log, model=model, policy=RouterPolicy(late=late), max_per_poll=records_a_turn)
    while log.commits.get(HERE) != len(log.partitions[HERE]):
        live.turns(1, seconds_each=2.0)
    sent = {}
    for record in live.forecasts.kept:
        body = orjson.loads(record.value or b"")
        sent[(body["sensor"], body["origin"])] = (body["quantiles"]["0.5"], body["scale"])
    path = tmp_path / "t.csv"
    lines = [f"{sensor},{minute * 60},{value}" for sensor, minute, value in readings()]
    path.write_text("unique_id,ds,y\n" + "\n".join(lines) + "\n")
    plan = Plan(path, horizon=HORIZON, only_at_readings=True, is_late_merged=late == "merge")
    run_backtest(plan, Candidate(model, torch.device("cpu"), 0), tmp_path)
    table = pyarrow.parquet.read_table(tmp_path / "forecasts.parquet")
    columns = [table.column(name).cast(kind).to_pylist() for name, kind in COLUMNS.items()]
    num_compared = 0
    for sensor, target_ns, origin_ns, median in zip(*columns, strict=True):
        lead = round((target_ns - origin_ns) / 300e9)
        wanted, scale = sent[(sensor, origin_ns // 10**6)]
        # 1e-3 of the sensor's scale: what JSON's rounding leaves; 1e-4 is what the model itself may differ by
        assert median == pytest.approx(wanted[lead - 1], abs=2e-3 * scale)
        num_compared += 1
    assert num_compared > 3_000


COLUMNS = {"unique_id": "string", "ds": "int64", "cutoff": "int64", "default": "float64"}
