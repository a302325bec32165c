"""At-least-once delivery: two sinks, each with its own producer, flushed before the positions are committed.

What was sent and not committed before a crash is sent again. I know nothing of what the bytes mean.
"""

from collections.abc import Mapping

from connectors.contracts import Delivery, Sink, Source
from connectors.records import Partition, Position


class AtLeastOnce(Delivery):
    """Owned by the engine's thread, from `open` to `close`; any source and any sinks will do."""

    def __init__(self, source: Source, forecasts: Sink, dead_letters: Sink) -> None:
        self._source = source
        self._forecasts = forecasts
        self._dead_letters = dead_letters

    @property
    def forecasts(self) -> Sink:
        """Where forecasts are written."""
        return self._forecasts

    @property
    def dead_letters(self) -> Sink:
        """Where dead letters are written."""
        return self._dead_letters

    def open(self, num_partitions: int, timeout_s: float) -> None:
        """Connect both sinks."""
        self._forecasts.open(num_partitions, timeout_s)
        self._dead_letters.open(num_partitions, timeout_s)

    def commit(self, positions: Mapping[Partition, Position], timeout_s: float) -> None:
        """(1) Flush the forecasts; (2) flush the dead letters; (3) commit the positions."""
        self._forecasts.flush(timeout_s)
        self._dead_letters.flush(timeout_s)
        self._source.commit(positions)

    def abort(self) -> bool:
        """What is written is out."""
        return False

    def close(self) -> None:
        """Close both sinks."""
        self._forecasts.close()
        self._dead_letters.close()
