"""Readings as CSV: a message holds one line or more, without a header.

I know nothing of files. Columns are those of `reading.columns`. An empty value is a slot without a reading, an
empty time the record's timestamp. A column that holds text may be quoted. One bad line spoils its message.
"""

import csv
import io
import math
from collections.abc import Sequence

import numpy as np

from connectors.records import RecordBatch
from stream_engine.codec.contract import Decoder
from stream_engine.codec.draft import Draft, Refusals, assemble, check_lengths, event_times, sensor_names
from stream_engine.codec.times import RFC3339
from stream_engine.config import ReadingConfig
from stream_engine.records import Bools, Float64s, ReadingBatch, Reject


class CsvDecoder(Decoder):
    """Lines of cells, in the configured order of columns."""

    def __init__(self, config: ReadingConfig, max_future_ns: int | None) -> None:
        """Find the columns that are read.

        Args:
            max_future_ns: most that a reading may be ahead of its record, or None for any.
        """
        self._config = config
        self._max_future_ns = max_future_ns
        self._names = config.columns or (config.sensor, config.time, config.value)
        self._place = {name: place for place, name in enumerate(self._names)}

    def decode(self, records: RecordBatch) -> tuple[ReadingBatch, list[Reject]]:
        """See Decoder.decode."""
        config = self._config
        refusals = Refusals()
        rows: list[int] = []
        lines: list[list[str]] = []
        for row, value in enumerate(records.values):
            found = self._lines(row, value, refusals)
            lines.extend(found)
            rows.extend([row] * len(found))
        times = self._cells(lines, config.time) or [""] * len(lines)
        given = [_time(cell) for cell in times] if config.time_unit != RFC3339 else [cell or None for cell in times]
        groups = self._cells(lines, config.group)
        channels = self._cells(lines, config.channel) or [""] * len(lines)
        sensors = sensor_names(self._cells(lines, config.sensor) or [None] * len(lines), rows, records, refusals)
        for what, names in (("sensor", sensors), ("channel", channels), ("group", groups)):
            check_lengths(what, names, rows, refusals)
        draft = Draft(
            rows=np.array(rows, dtype=np.int64),
            sensors=sensors,
            channels=channels,
            groups=groups if groups and any(groups) else None,
            times_ns=event_times(given, config.time_unit, rows, records, refusals),
            values=_values(self._cells(lines, config.value), rows, refusals),
            valid=self._valid(lines),
        )
        return assemble(records, draft, self._max_future_ns, refusals)

    def _lines(self, row: int, value: bytes | None, refusals: Refusals) -> list[list[str]]:
        """The cells of each line of a message; none if it is refused."""
        if not value:
            what = "has no value (a tombstone)" if value is None else "is empty"
            refusals.refuse(row, "undecodable", f"the message {what}; send lines of {','.join(self._names)}")
            return []
        most = self._config.most_bytes
        if len(value) > most:
            detail = f"the message has {len(value)} bytes; at most {most} are read (reading.max_bytes)"
            refusals.refuse(row, "too_large", detail)
            return []
        try:
            lines = _split(value.decode())
        except UnicodeDecodeError:
            refusals.refuse(row, "undecodable", "the text is not UTF-8")
            return []
        except csv.Error as error:
            refusals.refuse(row, "undecodable", f"the message is not CSV ({error})")
            return []
        if not lines:
            refusals.refuse(row, "undecodable", "the message has no line")
        width = len(self._names)
        wrong = next((len(line) for line in lines if len(line) != width), None)
        if wrong is not None:
            detail = f"a line has {wrong} cells; wanted {width} ({','.join(self._names)}; see reading.columns)"
            refusals.refuse(row, "schema", detail)
            return []
        return lines

    def _cells(self, lines: Sequence[Sequence[str]], name: str) -> list[str]:
        """The cells of a column; none where there is no such column."""
        place = self._place.get(name)
        return [] if place is None else [line[place] for line in lines]

    def _valid(self, lines: Sequence[Sequence[str]]) -> Bools | None:
        condition = self._config.valid_where
        if condition is None:
            return None
        columns = {}
        for name in condition.fields:
            column = np.empty(len(lines), dtype=object)
            cells = self._cells(lines, name)
            column[:] = [_scalar(cell) for cell in cells] if cells else None
            columns[name] = column
        return np.broadcast_to(condition.evaluate(columns), (len(lines),))


def _split(text: str) -> list[list[str]]:
    """The cells of each line that is not empty.

    Raises:
        csv.Error: a quote is out of place.
    """
    if '"' in text:
        return [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [line.split(",") for line in text.split("\n") if line]


def _values(cells: Sequence[str], rows: Sequence[int], refusals: Refusals) -> Float64s:
    values = np.full(len(cells), np.nan)
    for index, (cell, row) in enumerate(zip(cells, rows, strict=True)):
        if not cell:
            continue
        number = _number(cell)
        if number is None:
            refusals.refuse(row, "bad_value", "the value must be a finite number, or empty for no reading")
        else:
            values[index] = number
    return values


def _number(cell: str) -> float | None:
    """The finite number that a cell holds, or None."""
    if "_" in cell:  # Python's own digit groups are no CSV
        return None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _time(cell: str) -> int | float | str | None:
    """A time as sent: a number where the cell holds one, None where it is empty."""
    if not cell:
        return None
    if len(cell) <= 20 and cell.removeprefix("-").isdecimal():
        return int(cell)
    number = _number(cell)
    return cell if number is None else number


def _scalar(cell: str) -> str | float | None:
    """What a condition sees of a cell: a number where it reads as one, nothing where it is empty."""
    if not cell:
        return None
    number = _number(cell)
    return cell if number is None else number
