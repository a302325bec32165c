"""Appends records to a file of JSON lines: {"key": …, "value": …, "headers": {…}, "timestamp_ns": …}.

I know nothing of what records mean. Keys and headers become text; a value that is JSON stands as JSON,
other text as text, and bytes that are no UTF-8 as {"base64": …}.
"""

import base64
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import orjson

from connectors.contracts import Sink
from connectors.errors import ConnectorConfigError, RecordTooLargeError, ServerUnavailableError
from connectors.records import SinkRecord


class JsonLinesSink(Sink):
    """One file that grows by one line a record; what was there before stays.

    Args:
        path: the file.
        max_record_bytes: the largest record; a file has no limit of its own.
    """

    def __init__(self, path: Path, max_record_bytes: int = 1 << 30) -> None:
        self._path = path
        self._max_record_bytes = max_record_bytes
        self._file: IO[bytes] | None = None

    def open(self, num_partitions: int, timeout_s: float) -> None:
        """Open the file for appending; its folder is created where it is missing.

        Raises:
            ConnectorConfigError: the file cannot be written to.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        except OSError as error:
            raise ConnectorConfigError(f"{self._path} cannot be written to: {error.strerror or error}") from error

    @property
    def max_record_bytes(self) -> int:
        """One gibibyte unless told otherwise."""
        return self._max_record_bytes

    def write(self, records: Sequence[SinkRecord]) -> None:
        """Append one line a record.

        Raises:
            RecordTooLargeError: a record has more than max_record_bytes; those before it are written.
        """
        lines: list[bytes] = []
        for record in records:
            if _size(record) > self._max_record_bytes:
                self._append(lines)
                raise RecordTooLargeError(f"{self._path}: a record is larger than {self._max_record_bytes} bytes")
            lines.append(_line(record))
        self._append(lines)

    def flush(self, timeout_s: float) -> None:
        """Wait until every line is on the disk.

        Raises:
            ServerUnavailableError: the disk refused (full, gone).
        """
        self._do(_sync)

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file is not None:
            try:
                self._do(lambda file: file.close())
            finally:
                self._file = None

    def _append(self, lines: Sequence[bytes]) -> None:
        self._do(lambda file: file.write(b"".join(lines)))

    def _do(self, action: Callable[[IO[bytes]], object]) -> None:
        if self._file is None:
            raise ConnectorConfigError(f"{self._path} is not open; call open() before writing to it")
        try:
            action(self._file)
        except OSError as error:
            raise ServerUnavailableError(f"{self._path} could not be written: {error.strerror or error}") from error


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _size(record: SinkRecord) -> int:
    headers = sum(len(name.encode()) + len(text) for name, text in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _line(record: SinkRecord) -> bytes:
    line: dict[str, object] = {
        "key": _text(record.key),
        "value": _value(record.value),
        "headers": {name: _text(value) for name, value in record.headers},
    }
    if record.timestamp_ns is not None:
        line["timestamp_ns"] = record.timestamp_ns
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _text(raw: bytes | None) -> str | dict[str, str] | None:
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _value(raw: bytes | None) -> object:
    try:
        return orjson.Fragment(raw) if raw is not None and orjson.loads(raw) is not None else _text(raw)
    except orjson.JSONDecodeError:
        return _text(raw)
