"""A Kafka topic as a Sink, by confluent-kafka (librdkafka). I know nothing of what the bytes mean.

Records go out in order (idempotent, all in-sync replicas, lz4), keys to the partition Java's client would choose.
Only failed deliveries are reported back; one leaves the sink failed: every later write and flush says so, so that
no position after it can be committed.
"""

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.contracts import Sink
from connectors.errors import ConnectorError, RecordTooLargeError, ServerUnavailableError
from connectors.kafka_settings import KafkaSettings, unreachable
from connectors.librdkafka.client import Admin, Faults, make, translated
from connectors.records import SinkRecord
from connectors.retry import Deadline

DEFAULT_MAX_BYTES = 1_048_576
ANY_PARTITION = -1
ENVELOPE_BYTES = 512  # room for a record's and its batch's own fields


class LibrdkafkaSink(Sink):
    """Owned by the engine's thread, from `open` to `close`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self._faults = Faults()
        self._max_bytes = DEFAULT_MAX_BYTES
        self._num_failed = 0
        self._failure: ConnectorError | None = None

    def open(self, num_partitions: int, timeout_s: float) -> None:
        """Connect; create the topic with num_partitions where it is missing."""
        settings = self._settings
        with Admin(settings, timeout_s) as admin:
            if settings.topic not in admin.topics():
                admin.create(settings.topic, num_partitions)
            topic_limit = admin.max_message_bytes(settings.topic)
        wanted = settings.librdkafka_options().get("message.max.bytes")
        self._max_bytes = int(wanted or topic_limit or DEFAULT_MAX_BYTES)
        timeout_ms = int(settings.broker_timeout_s * 1000)
        self._faults = Faults()
        self._producer = make(
            Producer,
            settings,
            self._faults,
            acks="all",
            enable__idempotence=True,
            partitioner="murmur2_random",
            compression__type="lz4",
            linger__ms=5,
            batch__size=min(1 << 20, self._max_bytes),
            message__max__bytes=self._max_bytes,
            message__timeout__ms=timeout_ms,
            request__timeout__ms=max(1000, min(30_000, timeout_ms)),
            delivery__report__only__error=True,
            on_delivery=self._note_failed,
            queue__buffering__max__messages=500_000,
        )

    @property
    def max_record_bytes(self) -> int:
        """Largest key + value + headers: the topic's max.message.bytes, less the envelope."""
        return self._max_bytes - ENVELOPE_BYTES

    def write(self, records: Sequence[SinkRecord]) -> None:
        """Hand records over, in order.

        Raises:
            RecordTooLargeError: one is larger than max_record_bytes; those before it are on their way.
            ServerUnavailableError: the buffer stayed full for broker_timeout_s, or an earlier record was lost.
        """
        producer = self._open_producer()
        producer.poll(0)
        self._raise_failure()
        topic, produce = self._settings.topic, producer.produce
        for record in records:
            key, value, headers, timestamp_ns = record
            timestamp_ms = 0 if timestamp_ns is None else timestamp_ns // 1_000_000  # 0: now
            try:
                fields = headers if isinstance(headers, list) else list(headers)
                produce(topic, value, key, ANY_PARTITION, None, None, timestamp_ms, fields)
            except BufferError:
                self._make_room_for(record, timestamp_ms)
            except KafkaException as error:
                raise self._refusal(error, record) from error

    def _make_room_for(self, record: SinkRecord, timestamp_ms: int) -> None:
        """The buffer is full: wait until the broker has taken some of it."""
        producer = self._open_producer()
        deadline = Deadline.after(self._settings.broker_timeout_s)
        while True:
            producer.poll(0.05)
            self._raise_failure()
            try:
                producer.produce(
                    self._settings.topic, record.value, record.key, timestamp=timestamp_ms, headers=list(record.headers)
                )
                return
            except BufferError as error:
                if deadline.is_over:
                    raise unreachable(self._settings, self._settings.broker_timeout_s, "the buffer is full") from error

    def _refusal(self, error: KafkaException, record: SinkRecord) -> ConnectorError | Exception:
        if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
            return translated(error, self._settings, self._settings.broker_timeout_s, self._faults)
        headers = sum(len(name) + len(text) for name, text in record.headers)
        size = len(record.key or b"") + len(record.value or b"") + headers
        return RecordTooLargeError(
            f"a record of {size} bytes is larger than {self._settings.address} takes ({self.max_record_bytes}); "
            "raise the topic's max.message.bytes"
        )

    def flush(self, timeout_s: float) -> None:
        """Wait until every record is acknowledged."""
        left = self._open_producer().flush(timeout_s)
        self._raise_failure()
        if left:
            raise unreachable(self._settings, timeout_s, f"{left} records are not acknowledged")

    def close(self) -> None:
        """Free everything; what was not flushed may be lost."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(1)
            producer.close()

    def _note_failed(self, error: KafkaError | None, _message: object) -> None:
        """librdkafka's delivery report; with delivery.report.only.error it comes for failed records alone."""
        if error is None or error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return
        self._num_failed += 1
        self._failure = ServerUnavailableError(
            f"{self._num_failed} records could not be delivered to {self._settings.address} ({error.name()}); "
            "start the engine again: it goes on from the committed positions"
        )

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _open_producer(self) -> Producer:
        if self._producer is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return self._producer
