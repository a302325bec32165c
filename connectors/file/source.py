"""Reads a table file as a log of one partition, in arrival order, in packed records.

I know nothing of what the numbers mean, nor of file formats. Position = number of the entry in the file's order
(`Table.as_events`). One record holds a run of entries as an Arrow IPC stream of one record batch: the columns id
(text), time (UTC nanoseconds), value and the file's own columns; the record's offset is that of its first entry.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pyarrow as pa

from connectors.contracts import RevokeCallback, Source
from connectors.errors import AddressError, MissingTopicError, nearest_names
from connectors.file.read import read_table
from connectors.file.tables import Table, TableError
from connectors.records import Bounds, Partition, Polled, Position, RecordBatch


@dataclass(frozen=True, slots=True)
class Layout:
    """How entries are packed.

    Attributes:
        id_column, time_column, value_column: names of the first three columns.
        channel: the file's column that becomes the value; the others keep their names beside it. None: the only
            channel of the file; where there are several, each entry becomes a row for each of them.
        channel_column: name of the column that tells these rows apart.
        entries_per_record: the longest run in one record.
    """

    id_column: str = "sensor"
    time_column: str = "ts"
    value_column: str = "value"
    channel: str | None = None
    channel_column: str = "channel"
    entries_per_record: int = 8192

    @classmethod
    def from_url(cls, url: str) -> "Layout":
        """Read the settings of file:///path?channel=name.

        Raises:
            AddressError: there is a setting of another name, or without a value.
        """
        asked = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        for name, value in asked.items():
            if name != "channel" or not value:
                raise AddressError(f"{url} has the setting {name}={value}; known: channel=name of a column")
        return cls(channel=asked.get("channel"))


def pack(table: Table, layout: Layout, first: int, end: int) -> bytes:
    """Entries first … end - 1 of an event table as one Arrow IPC stream.

    Raises:
        TableError: the table lacks the layout's channel.
    """
    channels = table.channels if layout.channel is None else (table.channel(layout.channel),)
    rows = np.repeat(np.arange(first, end), len(channels))
    ids = pa.DictionaryArray.from_arrays(pa.array(table.series[rows]), pa.array(table.ids, pa.string()))
    values = np.stack([table.columns[name][first:end].astype(np.float64) for name in channels], axis=1).reshape(-1)
    columns = {
        layout.id_column: ids,
        layout.time_column: pa.array(table.times_ns[rows], pa.timestamp("ns", tz="UTC")),
        layout.value_column: pa.array(values, from_pandas=True),
    }
    if len(channels) > 1:
        numbers = pa.array(np.tile(np.arange(len(channels), dtype=np.int32), end - first))
        columns[layout.channel_column] = pa.DictionaryArray.from_arrays(numbers, pa.array(channels))
    for name, column in table.columns.items():
        columns.setdefault(name, pa.array(column[rows], from_pandas=True))
    batch = pa.record_batch(columns)
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(stream.getvalue())


class FileSource(Source):
    """One table file as a source of one partition; nothing is committed beyond this object's life."""

    def __init__(self, path: Path, layout: Layout | None = None) -> None:
        self._path = path
        self._layout = layout if layout is not None else Layout()
        self._table: Table | None = None
        self._partition = Partition(path.name, 0)
        self._is_assigned = False
        self._position: Position | None = None
        self._committed: Position | None = None
        self._on_revoke: RevokeCallback | None = None

    def open(self, on_revoke: RevokeCallback, timeout_s: float) -> None:
        """Read the file.

        Raises:
            MissingTopicError: there is no such file.
            TableError: it cannot be read as a table.
        """
        if not self._path.is_file():
            beside = self._path.parent
            names = [path.name for path in beside.iterdir() if path.is_file()] if beside.is_dir() else []
            hint = nearest_names(self._path.name, names)
            raise MissingTopicError(f"{self._path} is not a file; wanted a CSV, Parquet or NPZ file; {hint}")
        self._table = read_table(self._path).as_events()
        self._on_revoke = on_revoke

    @property
    def num_partitions(self) -> int:
        """Always 1."""
        return 1

    def poll(self, max_records: int, timeout_s: float) -> Polled:
        """Hand out at most max_records packed records; at_end once none are left."""
        events = self._events()
        if not self._is_assigned:
            self._is_assigned = True
            return Polled(assigned=frozenset((self._partition,)))
        if self._position is None:
            return Polled()
        size, num_entries = self._layout.entries_per_record, len(events.times_ns)
        end = min(num_entries, self._position + size * max_records)
        if self._position > num_entries:
            self._position = None
            return Polled(outside=frozenset((self._partition,)))
        if end <= self._position:
            return Polled(at_end=True)
        starts = range(self._position, end, size)
        batch = RecordBatch(
            partition=self._partition,
            offsets=np.array(starts, np.int64),
            timestamps_ns=np.array([self._newest_ns(first, min(first + size, end)) for first in starts], np.int64),
            keys=[None] * len(starts),
            values=[pack(events, self._layout, first, min(first + size, end)) for first in starts],
            headers=None,
            next_position=end,
        )
        self._position = end
        return Polled(batches=(batch,), at_end=end == num_entries)

    def seek(self, partition: Partition, position: Position) -> None:
        """Read on from entry number position."""
        self._position = position

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, Position | None]:
        """The position of this object's last commit."""
        return dict.fromkeys(partitions, self._committed)

    def commit(self, positions: Mapping[Partition, Position]) -> None:
        """Remember a position as long as this object lives."""
        self._committed = positions.get(self._partition, self._committed)

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, Bounds]:
        """From the first entry to the file's end."""
        return dict.fromkeys(partitions, Bounds(0, len(self._events().times_ns)))

    def positions_at(self, partitions: Iterable[Partition], time_ns: int) -> dict[Partition, Position]:
        """The first entry of that time or later."""
        is_later = self._events().times_ns >= time_ns
        first = int(is_later.argmax()) if is_later.any() else len(is_later)
        return dict.fromkeys(partitions, first)

    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The latest time of any entry."""
        times_ns = self._events().times_ns
        return dict.fromkeys(partitions, int(times_ns.max())) if len(times_ns) else {}

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """The latest positions."""
        return {partition: bounds.latest for partition, bounds in self.bounds(partitions).items()}

    def close(self) -> None:
        """Give the partition back and free the table."""
        if self._on_revoke is not None and self._is_assigned:
            self._on_revoke(frozenset((self._partition,)))
        self._on_revoke, self._table, self._is_assigned, self._position = None, None, False, None

    def _events(self) -> Table:
        if self._table is None:
            raise TableError(f"{self._path} is not open; call open() before reading from it")
        return self._table

    def _newest_ns(self, first: int, end: int) -> int:
        """A packed record's own timestamp: the newest of its entries."""
        return int(self._events().times_ns[first:end].max())
