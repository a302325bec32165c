"""An in-process log as a Sink. I know nothing of what the bytes mean."""

from collections.abc import Sequence

from connectors.contracts import Sink
from connectors.embedded.log import Log, create_log
from connectors.embedded.settings import EmbeddedSettings
from connectors.errors import RecordTooLargeError
from connectors.records import SinkRecord

MAX_RECORD_BYTES = 16 << 20


class EmbeddedSink(Sink):
    """Writes at once: what is written is kept as long as the process lives."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        self._settings = settings
        self._log: Log | None = None

    def open(self, num_partitions: int, timeout_s: float) -> None:
        """Make the log where there is none."""
        self._log = create_log(self._settings.topic, self._settings.partitions or num_partitions)

    @property
    def max_record_bytes(self) -> int:
        """Largest key + value + headers of one record."""
        return MAX_RECORD_BYTES

    def write(self, records: Sequence[SinkRecord]) -> None:
        """Add records to the log, in order.

        Raises:
            RecordTooLargeError: one is larger than max_record_bytes; none was written.
        """
        log = self._open_log()
        for record in records:
            headers = sum(len(name) + len(text) for name, text in record.headers)
            size = len(record.key or b"") + len(record.value or b"") + headers
            if size > MAX_RECORD_BYTES:
                raise RecordTooLargeError(
                    f"a record of {size} bytes is larger than {self._settings.address} takes ({MAX_RECORD_BYTES})"
                )
        log.append(records)

    def flush(self, timeout_s: float) -> None:
        """Nothing is under way."""
        self._open_log()

    def close(self) -> None:
        """Let go of the log."""
        self._log = None

    def _open_log(self) -> Log:
        if self._log is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return self._log
