"""A Kafka topic as a Sink, by confluent-kafka (librdkafka). I know nothing of what the bytes mean."""

from collections.abc import Sequence

from connectors.contracts import Sink
from connectors.kafka_settings import KafkaSettings
from connectors.librdkafka.producer import LibrdkafkaProducer, ensure_topic
from connectors.records import SinkRecord


class LibrdkafkaSink(Sink):
    """Owned by the engine's thread, from `open` to `close`; it has a producer of its own."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer = LibrdkafkaProducer(settings)

    def open(self, num_partitions: int, timeout_s: float) -> None:
        """Connect; create the topic with num_partitions where it is missing."""
        self._producer = LibrdkafkaProducer(self._settings)
        self._producer.open(ensure_topic(self._settings, num_partitions, timeout_s))

    @property
    def max_record_bytes(self) -> int:
        """Largest key + value + headers: the topic's max.message.bytes, less the envelope."""
        return self._producer.max_record_bytes

    def write(self, records: Sequence[SinkRecord]) -> None:
        """Hand records over, in order.

        Raises:
            RecordTooLargeError: one is larger than max_record_bytes; those before it are on their way.
            ServerUnavailableError: the buffer stayed full for broker_timeout_s, or an earlier record was lost.
        """
        self._producer.write(self._settings.topic, records)

    def flush(self, timeout_s: float) -> None:
        """Wait until every record is acknowledged."""
        self._producer.flush(timeout_s)

    def close(self) -> None:
        """Free everything; what was not flushed may be lost."""
        self._producer.close()
