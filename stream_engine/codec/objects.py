"""Readings from messages that are one object each: its fields, what they may hold, and the columns they become.

I know nothing of how an object is written: JSON, Avro and JSON Schema come to me alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from connectors.records import RecordBatch
from stream_engine.codec.draft import Draft, Refusals, assemble, check_lengths, event_times, sensor_names
from stream_engine.codec.times import RFC3339
from stream_engine.config import ReadingConfig
from stream_engine.records import Bools, Float64s, Int64s, ReadingBatch, Reject

_SCALARS = (str, bool, int, float)
_NO_VALUE = "there is no value; send a number or null (see reading.value)"


@dataclass(frozen=True, slots=True)
class ObjectField:
    """One field of a message: its name, what it may hold, and why a record is refused where it holds another."""

    attribute: str
    name: str
    kind: Any
    default: Any
    reason: str
    wanted: str


class Objects:
    """The fields that are read of each object, named by the configuration; lives as long as its decoder.

    Attributes:
        fields: in the order in which their faults are looked for.
        message: a struct of these fields and nothing else, which objects are parsed into.
    """

    def __init__(self, config: ReadingConfig, max_future_ns: int | None, is_time_typed: bool = False) -> None:
        """Make the struct for the configured names.

        Args:
            max_future_ns: most that a reading may be ahead of its record, or None for any.
            is_time_typed: whether a message's schema may give its time a unit of its own.
        """
        self._config = config
        self._max_future_ns = max_future_ns
        self.fields = _fields(config, is_time_typed)
        self._attributes = {field.name: field.attribute for field in self.fields}
        self.message = msgspec.defstruct(
            "Message",
            [(field.attribute, field.kind, field.default) for field in self.fields],
            rename={field.attribute: field.name for field in self.fields},
            gc=False,
        )

    def readings(
        self,
        records: RecordBatch,
        messages: Sequence[Any],
        rows: Sequence[int],
        refusals: Refusals,
        units: Sequence[str] | None = None,
    ) -> tuple[ReadingBatch, list[Reject]]:
        """The readings of parsed messages, and all that is refused.

        Args:
            messages: structs of `message`.
            rows: the record that each message came in, ascending.
            refusals: records refused so far; more are added.
            units: the unit of each message's time; None where all are the configured one.
        """
        sensors = sensor_names([message.sensor for message in messages], rows, records, refusals)
        groups = [message.group or "" for message in messages]
        check_lengths("sensor", sensors, rows, refusals)
        check_lengths("group", groups, rows, refusals)
        draft = Draft(
            rows=np.array(rows, dtype=np.int64),
            sensors=sensors,
            channels=[""] * len(messages),
            groups=groups if any(groups) else None,
            times_ns=self._times(records, messages, rows, refusals, units),
            values=np.zeros(0),
            valid=self._valid(messages),
        )
        draft = _with_values(draft, messages, refusals)
        for row in draft.rows[np.isinf(draft.values)].tolist():
            refusals.refuse(row, "bad_value", "a value is infinite; send null where there is no reading")
        return assemble(records, draft, self._max_future_ns, refusals)

    def _times(
        self,
        records: RecordBatch,
        messages: Sequence[Any],
        rows: Sequence[int],
        refusals: Refusals,
        units: Sequence[str] | None,
    ) -> Int64s:
        given = [message.time for message in messages]
        if units is None:
            return event_times(given, self._config.time_unit, rows, records, refusals)
        times_ns = np.zeros(len(given), np.int64)
        for unit in set(units):
            mine = [index for index, one in enumerate(units) if one == unit]
            times_ns[mine] = event_times(
                [given[index] for index in mine], unit, [rows[index] for index in mine], records, refusals
            )
        return times_ns

    def _valid(self, messages: Sequence[Any]) -> Bools | None:
        """[messages] whether reading.valid_where holds, or None without it."""
        condition = self._config.valid_where
        if condition is None:
            return None
        columns = {}
        for name in condition.fields:
            column = np.empty(len(messages), dtype=object)
            column[:] = _scalars(messages, self._attributes[name], name)
            columns[name] = column
        return np.broadcast_to(condition.evaluate(columns), (len(messages),))


def _fields(config: ReadingConfig, is_time_typed: bool) -> list[ObjectField]:
    """The fields that are read, in the order in which their faults are looked for."""
    time: tuple[Any, str] = (int | float | None, "a finite number (see reading.time_unit)")
    if is_time_typed:
        time = (int | float | str | None, "a number or text (see reading.time_unit)")
    elif config.time_unit == RFC3339:
        time = (str | None, "RFC 3339 text")
    number = float | None
    roles = [
        ObjectField("sensor", config.sensor, str | int | None, None, "no_sensor", "text or a whole number"),
        ObjectField("time", config.time, time[0], None, "bad_time", time[1]),
        ObjectField("value", config.value, number | UnsetType, UNSET, "bad_value", "a finite number or null"),
        ObjectField(
            "values",
            config.values,
            dict[str, number] | None,
            None,
            "bad_value",
            "an object of finite numbers or nulls",
        ),
        ObjectField("group", config.group, str | None, None, "schema", "text"),
    ]
    names = {field.name for field in roles}
    conditions = config.valid_where.fields if config.valid_where else ()
    extra = [name for name in conditions if name not in names]
    return roles + [
        ObjectField(f"extra_{index}", name, Any, None, "bad_value", "a number that a double can hold")
        for index, name in enumerate(extra)
    ]


def _with_values(draft: Draft, messages: Sequence[Any], refusals: Refusals) -> Draft:
    """The draft with its values: one entry a message becomes one a channel."""
    if not any(message.values is not None for message in messages):
        values = [message.value for message in messages]
        if UNSET in values:
            _refuse_without_value(draft, values, refusals)
            values = [None if value is UNSET else value for value in values]
        return _spread(draft, None, draft.channels, np.array(values, dtype=np.float64))
    counts: list[int] = []
    channels: list[str] = []
    flat: list[float | None] = []
    for row, message in zip(draft.rows.tolist(), messages, strict=True):
        readings = _readings(message)
        if not readings:
            refusals.refuse(row, "bad_value", _NO_VALUE)
        counts.append(len(readings))
        channels.extend(channel for channel, _ in readings)
        flat.extend(value for _, value in readings)
    spread = _spread(draft, np.array(counts, dtype=np.int64), channels, np.array(flat, dtype=np.float64))
    check_lengths("channel", channels, spread.rows.tolist(), refusals)
    return spread


def _refuse_without_value(draft: Draft, values: Sequence[object], refusals: Refusals) -> None:
    for row, value in zip(draft.rows.tolist(), values, strict=True):
        if value is UNSET:
            refusals.refuse(row, "bad_value", _NO_VALUE)


def _readings(message: Any) -> list[tuple[str, float | None]]:
    """Channel and value of each reading in a message: `value` stands for the channel without a name."""
    channels = message.values or {}
    is_alone = message.value is not UNSET and (message.value is not None or not channels)
    return [("", message.value), *channels.items()] if is_alone else list(channels.items())


def _spread(draft: Draft, counts: Int64s | None, channels: Sequence[str], values: Float64s) -> Draft:
    """Repeat each entry counts times (None: once)."""
    if counts is None:
        indices = None
        rows, times_ns, valid = draft.rows, draft.times_ns, draft.valid
        sensors, groups = draft.sensors, draft.groups
    else:
        indices = np.repeat(np.arange(len(counts)), counts)
        rows, times_ns = draft.rows[indices], draft.times_ns[indices]
        valid = None if draft.valid is None else draft.valid[indices]
        order = indices.tolist()
        sensors = [draft.sensors[index] for index in order]
        groups = None if draft.groups is None else [draft.groups[index] for index in order]
    return Draft(rows, sensors, channels, groups, times_ns, values, valid)


def _scalars(messages: Sequence[Any], attribute: str, name: str) -> list[object]:
    """A field of each message, else its channel of that name; None where it is absent or no scalar."""
    found = list(map(attrgetter(attribute), messages))
    for index, message in enumerate(messages):
        if message.values and (found[index] is None or found[index] is UNSET):
            found[index] = message.values.get(name)
    return [value if type(value) in _SCALARS else None for value in found]
