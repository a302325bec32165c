"""Columns of readings on their way to a ReadingBatch: what every format checks alike.

I know nothing of any one format. A record that is refused takes all its readings with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from connectors.records import RecordBatch
from stream_engine.codec.times import MAX_NS, time_ns, whole_times_ns
from stream_engine.records import Bools, Float64s, Int64s, ReadingBatch, Reject

MAX_NAME = 1_024
"""Longest sensor, channel or group name, in characters: names go into keys and headers."""
MAX_KEY_BYTES = 65_536
"""Longest record key: forecasts take it over, and must fit their topic."""
MAX_DETAIL = 300
"""Longest detail of a reject, in characters."""
MIN_INT, MAX_INT = -(2**63), 2**64 - 1
"""A sensor may be sent as a whole number within these."""
NO_TIMESTAMP = -1


class Refused(Exception):
    """A message that cannot be read; `reason` is a reject's, the text its detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Refusals:
    """The rejects of one batch: for each record the first fault found; lives for one decode."""

    def __init__(self) -> None:
        self._rejects: dict[int, Reject] = {}

    def __len__(self) -> int:
        return len(self._rejects)

    def refuse(self, row: int, reason: str, detail: str) -> None:
        """Refuse a record, unless it is refused already."""
        if row not in self._rejects:
            text = detail if len(detail) <= MAX_DETAIL else detail[:MAX_DETAIL] + "…"
            self._rejects[row] = Reject(row, reason, text)

    def kept(self, rows: Int64s) -> Bools:
        """[n] whether the record of each reading still stands."""
        return ~np.isin(rows, np.fromiter(self._rejects, dtype=np.int64, count=len(self._rejects)))

    def rejects(self) -> list[Reject]:
        """All of them, in order of their rows."""
        return [self._rejects[row] for row in sorted(self._rejects)]


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """Columns of n readings, in the order sent; those of refused records are still among them.

    Attributes:
        rows: [n] index of each reading's record, never decreasing.
        sensors, channels, groups: n names each; groups None where no reading names one.
        times_ns: [n].
        values: [n], NaN for a slot without a reading.
        valid: [n] whether reading.valid_where holds, or None without such a condition.
    """

    rows: Int64s
    sensors: Sequence[str]
    channels: Sequence[str]
    groups: Sequence[str] | None
    times_ns: Int64s
    values: Float64s
    valid: Bools | None


def assemble(
    records: RecordBatch, draft: Draft, max_future_ns: int | None, refusals: Refusals
) -> tuple[ReadingBatch, list[Reject]]:
    """Refuse what lies in the future, drop the refused, and blank the invalid.

    Args:
        max_future_ns: most that a reading may be ahead of its record, or None for any.
    """
    _check_future(records, draft, max_future_ns, refusals)
    _check_keys(records, refusals)
    if len(refusals):
        draft = _only(draft, refusals.kept(draft.rows))
    values, num_invalid = draft.values, 0
    if draft.valid is not None:
        failed = ~draft.valid & ~np.isnan(values)
        num_invalid = int(failed.sum())
        values = np.where(failed, np.nan, values)
    batch = ReadingBatch(
        records=records,
        rows=draft.rows,
        sensors=draft.sensors,
        channels=draft.channels,
        groups=draft.groups,
        times_ns=draft.times_ns,
        values=values,
        num_invalid=num_invalid,
    )
    return batch, refusals.rejects()


def _check_keys(records: RecordBatch, refusals: Refusals) -> None:
    for row, key in enumerate(records.keys):
        if key is not None and len(key) > MAX_KEY_BYTES:
            detail = f"the record's key has {len(key)} bytes; at most {MAX_KEY_BYTES} are taken over by its forecasts"
            refusals.refuse(row, "too_large", detail)


def looked_into(value: bytes | None, most_bytes: int, wanted: str) -> bytes:
    """A message's bytes, where they can be looked into.

    Raises:
        Refused: there are none (`undecodable`, telling what is wanted), or too many (`too_large`).
    """
    if not value:
        what = "has no value (a tombstone)" if value is None else "is empty"
        raise Refused("undecodable", f"the message {what}; send {wanted}")
    if len(value) > most_bytes:
        detail = f"the message has {len(value)} bytes; at most {most_bytes} are read (reading.max_bytes)"
        raise Refused("too_large", detail)
    return value


def check_lengths(what: str, names: Sequence[str], rows: Sequence[int], refusals: Refusals) -> None:
    """Refuse (`too_large`) records with a name beyond MAX_NAME; `what` says of what."""
    if not names or max(map(len, names)) <= MAX_NAME:
        return
    for name, row in zip(names, rows, strict=True):
        if len(name) > MAX_NAME:
            refusals.refuse(row, "too_large", too_long(what, name))


def too_long(what: str, name: str) -> str:
    """The detail of a reject for a name beyond MAX_NAME."""
    return f"the {what} has {len(name)} characters; at most {MAX_NAME} may be"


def sensor_names(given: Sequence[object], rows: Sequence[int], records: RecordBatch, refusals: Refusals) -> list[str]:
    """The sensor of each entry: as given, a whole number as its digits, else (None) the record's key.

    Refuses (`no_sensor`) what is neither; such an entry's name is "".
    """
    if set(map(type, given)) <= {str} and all(given):
        return given  # type: ignore[return-value]
    names = []
    for entry, row in zip(given, rows, strict=True):
        name, detail = _sensor_name(entry, records.keys[row])
        if not name:
            refusals.refuse(row, "no_sensor", detail)
        names.append(name)
    return names


def _sensor_name(given: object, key: bytes | None) -> tuple[str, str]:
    """The name, or "" and why there is none."""
    if isinstance(given, str):
        return given, "the sensor is empty; give each sensor an id"
    if isinstance(given, int) and not isinstance(given, bool):
        if MIN_INT <= given <= MAX_INT:
            return str(given), ""
        return "", "the sensor is a number beyond 64 bits; send it as text"
    if given is not None:
        return "", "the sensor must be text or a whole number"
    if not key:
        return "", "there is neither a sensor field nor a record key; send one of them (see reading.sensor)"
    try:
        return key.decode(), ""
    except UnicodeDecodeError:
        return "", "there is no sensor field, and the record's key is not UTF-8 text; send one of them as text"


def event_times(
    given: Sequence[object], unit: str, rows: Sequence[int], records: RecordBatch, refusals: Refusals
) -> Int64s:
    """[n] UTC nanoseconds of each entry: as given, else (None) the record's timestamp.

    Refuses (`bad_time`) what is neither; such an entry's time is 0.
    """
    whole = whole_times_ns(given, unit)
    if whole is not None:
        return whole
    times = np.zeros(len(given), np.int64)
    for index, (entry, row) in enumerate(zip(given, rows, strict=True)):
        if entry is None:
            times[index] = stamp = int(records.timestamps_ns[row])
            if stamp == NO_TIMESTAMP:
                refusals.refuse(
                    row, "bad_time", "there is neither a time field nor a record timestamp (see reading.time)"
                )
            continue
        try:
            times[index] = time_ns(entry, unit)
        except ValueError as error:
            refusals.refuse(row, "bad_time", f"the time {error}")
    return times


def _check_future(records: RecordBatch, draft: Draft, max_future_ns: int | None, refusals: Refusals) -> None:
    if max_future_ns is None or not len(draft.rows):
        return
    stamps = records.timestamps_ns[draft.rows]
    limits = np.minimum(stamps, MAX_NS - max_future_ns) + max_future_ns
    ahead = (draft.times_ns > limits) & (stamps != NO_TIMESTAMP)
    for index in np.flatnonzero(ahead).tolist():
        seconds = (int(draft.times_ns[index]) - int(stamps[index])) / 1e9
        detail = (
            f"the time is {seconds:.0f} s ahead of the record's timestamp; at most {max_future_ns / 1e9:g} s may be"
        )
        refusals.refuse(int(draft.rows[index]), "future_time", f"{detail} (max_future)")


def _only(draft: Draft, kept: Bools) -> Draft:
    indices = np.flatnonzero(kept).tolist()
    return Draft(
        rows=draft.rows[kept],
        sensors=[draft.sensors[index] for index in indices],
        channels=[draft.channels[index] for index in indices],
        groups=None if draft.groups is None else [draft.groups[index] for index in indices],
        times_ns=draft.times_ns[kept],
        values=draft.values[kept],
        valid=None if draft.valid is None else draft.valid[kept],
    )
