"""What every format keeps: bytes to readings, forecasts to bytes.

I know nothing of any one format.
"""

from abc import ABC, abstractmethod

from connectors.records import RecordBatch, SinkRecord
from stream_engine.records import ForecastBatch, ReadingBatch, Reject


class Decoder(ABC):
    """Records to readings; holds no state between batches.

    Promises:
        1. No bytes make `decode` raise: a bad record is a returned Reject. Only a server that is away does, and then
           nothing of the batch is refused or lost: it can be decoded again.
        2. A record gives readings or one Reject, never both; a bad one does not touch its neighbours.
        3. A batch gives what its records give one by one.
        4. Readings come in the records' order, and within a record in the order sent.
    """

    def open(self, timeout_s: float) -> None:  # noqa: B027 (most formats need nothing)
        """Reach what decoding needs, before the first batch.

        Raises:
            ServerUnavailableError: a server did not answer within timeout_s.
        """

    @abstractmethod
    def decode(self, records: RecordBatch) -> tuple[ReadingBatch, list[Reject]]:
        """All readings of a batch as columns, and the records that hold none, in order of their rows."""


class Encoder(ABC):
    """Forecasts to records for the sink; holds no state between batches."""

    def open(self, timeout_s: float) -> None:  # noqa: B027 (most formats need nothing)
        """Reach what encoding needs, before the first batch.

        Raises:
            ConfigError: what forecasts are written as is refused.
            ServerUnavailableError: a server did not answer within timeout_s.
        """

    @abstractmethod
    def encode(self, forecasts: ForecastBatch) -> list[SinkRecord]:
        """Records in the forecasts' order."""
