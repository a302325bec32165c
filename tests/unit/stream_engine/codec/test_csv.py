"""CSV lines: cells by the configured columns, bad lines refused with their message."""

import numpy as np
import pytest

from stream_engine.codec import CsvDecoder
from stream_engine.config import Condition, ReadingConfig
from tests.support.messages import HOUR_NS, NOW_NS, messages


def decode(values, keys=None, **reading):
    return CsvDecoder(ReadingConfig(format="csv", **reading), HOUR_NS).decode(messages(values, keys))


def test_a_message_holds_one_line_or_more():
    batch, rejects = decode([b"a,1700000000000,1.5", b"b,,\r\nb,1699999999999.5,-2e3\n\n"])
    assert not rejects
    assert batch.rows.tolist() == [0, 1, 1]
    assert batch.sensors == ["a", "b", "b"]
    assert (NOW_NS - batch.times_ns).tolist() == [0, 0, 500_000]
    assert batch.values[[0, 2]].tolist() == [1.5, -2000]
    assert np.isnan(batch.values[1])


def test_columns_in_any_order_with_channel_group_and_others():
    columns = ["value", "quality", "group", "channel", "ts"]
    batch, _ = decode(
        [b"1,good,g,x,\n2,bad,,y,"], keys=[b"k"], columns=columns, valid_where=Condition("quality == 'good'")
    )
    assert (batch.sensors, batch.channels, batch.groups) == (["k", "k"], ["x", "y"], ["g", ""])
    assert np.isnan(batch.values).tolist() == [False, True]
    assert batch.num_invalid == 1


def test_conditions_see_numbers_as_numbers():
    settings = {"columns": ["sensor", "value", "count"], "valid_where": Condition("count >= 2 and missing != 1")}
    batch, _ = decode([b"a,1,2"], **settings)
    assert batch.num_invalid == 1  # a column that is not there makes it unknown
    batch, _ = decode(
        [b"a,1,2\na,1,1\na,1,"], columns=["sensor", "value", "count"], valid_where=Condition("count >= 2")
    )
    assert np.isnan(batch.values).tolist() == [False, True, True]


def test_cells_may_be_quoted():
    assert decode(['"ü,""1""",,7'.encode()])[0].sensors == ['ü,"1"']


def test_times_as_text_and_exact_nanoseconds():
    assert decode([b"a,2023-11-14T22:13:20Z,7"], time_unit="rfc3339")[0].times_ns.tolist() == [NOW_NS]
    assert decode([b"a,-1700000000000000001,7"], time_unit="ns")[0].times_ns.tolist() == [-NOW_NS - 1]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "undecodable"),
        (b"", "undecodable"),
        (b"\n", "undecodable"),
        (b"\xff,1,2", "undecodable"),
        (b'"a,1,2', "undecodable"),
        (b"a,1", "schema"),
        (b"a,1,2,3", "schema"),
        (b"a,1,2\na,1", "schema"),
        (b"a,1,x", "bad_value"),
        (b"a,1,nan", "bad_value"),
        (b"a,1,inf", "bad_value"),
        (b"a,1,1e400", "bad_value"),
        (b"a,1,1_0", "bad_value"),
        (b"a,x,1", "bad_time"),
        (b"a,1e300,1", "bad_time"),
        (b"a,99999999999999999999,1", "bad_time"),
        (b",1,1", "no_sensor"),
        (b"a,1700003600001,1", "future_time"),
        (b"a" * 1_025 + b",1,1", "too_large"),
        (b"a,1,1\n" * 200_000, "too_large"),
    ],
)
def test_a_bad_line_spoils_its_message(value, reason):
    batch, [reject] = decode([b"a,,1", value, b"a,,2"])
    assert (reject.row, reject.reason) == (1, reason)
    assert batch.values.tolist() == [1, 2]
