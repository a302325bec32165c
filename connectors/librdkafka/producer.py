"""One confluent-kafka producer and the topics written through it. I know nothing of what the bytes mean.

Records go out in order (idempotent, all in-sync replicas, lz4), keys to the partition Java's client would choose.
Only failed deliveries are reported back; one leaves the producer failed: every later write and flush says so, so that
no position after it can be committed.
"""

import logging
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.contracts import Outlet
from connectors.errors import ConnectorError, RecordTooLargeError, ServerUnavailableError
from connectors.kafka_settings import KafkaSettings, came_to_nothing, fenced, unreachable
from connectors.librdkafka.client import Admin, Faults, make, translated
from connectors.records import SinkRecord
from connectors.retry import Deadline

logger = logging.getLogger(__name__)

DEFAULT_MAX_BYTES = 1_048_576
ANY_PARTITION = -1
END_TIMEOUT_S = 10.0
"""Longest wait for the end of a client. librdkafka's may wait for ever after a transaction whose records timed out."""
ENVELOPE_BYTES = 512  # room for a record's and its batch's own fields

_FENCED = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


def ensure_topic(settings: KafkaSettings, num_partitions: int, timeout_s: float) -> int:
    """Create the topic where it is missing; the largest message that it, or the user's own option, takes."""
    with Admin(settings, timeout_s) as admin:
        if settings.topic not in admin.topics():
            admin.create(settings.topic, num_partitions)
        topic_limit = admin.max_message_bytes(settings.topic)
    wanted = settings.librdkafka_options().get("message.max.bytes")
    return int(wanted or topic_limit or DEFAULT_MAX_BYTES)


class LibrdkafkaProducer:
    """Owned by one sink or delivery, from its `open` to its `close`.

    Args:
        settings: of the cluster, and of the topic that its errors name.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: Producer | None = None
        self.faults = Faults()
        self._max_bytes = DEFAULT_MAX_BYTES
        self._num_failed = 0
        self._failure: Exception | None = None

    def open(self, max_bytes: int, **ours: Any) -> None:
        """Make the client, for messages of at most max_bytes; names in `ours` have __ for dots."""
        self._max_bytes = max_bytes
        timeout_ms = int(self._settings.broker_timeout_s * 1000)
        self.faults = Faults()
        options: dict[str, Any] = {
            "acks": "all",
            "enable__idempotence": True,
            "partitioner": "murmur2_random",
            "compression__type": "lz4",
            "linger__ms": 5,
            "batch__size": min(1 << 20, max_bytes),
            "message__max__bytes": max_bytes,
            "message__timeout__ms": timeout_ms,
            "request__timeout__ms": max(1000, min(30_000, timeout_ms)),
            "delivery__report__only__error": True,
            "on_delivery": self._note_failed,
            "queue__buffering__max__messages": 500_000,
        }
        self._producer = make(Producer, self._settings, self.faults, **{**options, **ours})

    @property
    def max_record_bytes(self) -> int:
        """Largest key + value + headers: the topic's max.message.bytes, less the envelope."""
        return self._max_bytes - ENVELOPE_BYTES

    @property
    def client(self) -> Producer:
        """The library's own producer."""
        if self._producer is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return self._producer

    def write(self, topic: str, records: Sequence[SinkRecord]) -> None:
        """Hand records over, in order; errors as for `Outlet.write`."""
        produce = self.client.produce
        self._serve(0)
        for record in records:
            key, value, headers, timestamp_ns = record
            timestamp_ms = 0 if timestamp_ns is None else timestamp_ns // 1_000_000  # 0: now
            try:
                fields = headers if isinstance(headers, list) else list(headers)
                produce(topic, value, key, ANY_PARTITION, None, None, timestamp_ms, fields)
            except BufferError:
                self._make_room_for(topic, record, timestamp_ms)
            except KafkaException as error:
                raise self._refusal(error, topic, record) from error

    def _make_room_for(self, topic: str, record: SinkRecord, timestamp_ms: int) -> None:
        """The buffer is full: wait until the broker has taken some of it."""
        deadline = Deadline.after(self._settings.broker_timeout_s)
        while True:
            self._serve(0.05)
            try:
                self.client.produce(
                    topic, record.value, record.key, timestamp=timestamp_ms, headers=list(record.headers)
                )
                return
            except BufferError as error:
                if deadline.is_over:
                    raise unreachable(self._settings, self._settings.broker_timeout_s, "the buffer is full") from error

    def _refusal(self, error: KafkaException, topic: str, record: SinkRecord) -> ConnectorError | Exception:
        if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
            return translated(error, self._settings, self._settings.broker_timeout_s, self.faults)
        headers = sum(len(name) + len(text) for name, text in record.headers)
        size = len(record.key or b"") + len(record.value or b"") + headers
        address = replace(self._settings, topic=topic).address
        return RecordTooLargeError(
            f"a record of {size} bytes is larger than {address} takes ({self.max_record_bytes}); "
            "raise the topic's max.message.bytes"
        )

    def flush(self, timeout_s: float) -> None:
        """Wait until every record is acknowledged; errors as for `Sink.flush`."""
        self.raise_failure()
        try:
            left = self.client.flush(timeout_s)
        except KafkaException as error:
            raise self.failed(error) from error
        self.raise_failure()
        if left:
            raise unreachable(self._settings, timeout_s, f"{left} records are not acknowledged")

    def close(self) -> None:
        """Free everything; what was not flushed may be lost. A client that does not end is left to itself."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaException):  # what had failed for good before says so once more
                producer.purge()
                producer.flush(1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # that a transaction was not aborted: the broker does
                end = threading.Thread(target=producer.close, name="producer's end", daemon=True)
                end.start()
                end.join(END_TIMEOUT_S)
            if end.is_alive():
                logger.warning("%s: its client does not end; left to itself", self._settings.address)

    def _serve(self, timeout_s: float) -> None:
        """Let the library report what has failed, and raise it."""
        self.raise_failure()
        try:
            self.client.poll(timeout_s)
        except KafkaException as error:
            raise self.failed(error) from error
        self.raise_failure()

    def failed(self, error: KafkaException) -> Exception:
        """Our error for one after which nothing more can be written: every later write and flush raises it."""
        cause = error.args[0]
        if cause.code() in _FENCED:
            self._failure = fenced(self._settings, cause.name())
        elif cause.retriable():
            self._failure = unreachable(self._settings, self._settings.broker_timeout_s, cause.name())
        else:
            found = translated(error, self._settings, self._settings.broker_timeout_s, self.faults)
            is_told = not isinstance(found, ServerUnavailableError)
            self._failure = found if is_told else came_to_nothing(self._settings, cause.str())
        return self._failure

    @property
    def has_failed(self) -> bool:
        """Whether nothing more can be written."""
        return self._failure is not None

    def raise_failure(self) -> None:
        """Raise what has gone wrong for good, if anything has."""
        if self._failure is not None:
            raise self._failure

    def _note_failed(self, error: KafkaError | None, _message: object) -> None:
        """librdkafka's delivery report; with delivery.report.only.error it comes for failed records alone."""
        if error is None or error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):
            return
        self._num_failed += 1
        self._failure = ServerUnavailableError(
            f"{self._num_failed} records could not be delivered to {self._settings.address} ({error.name()}); "
            "start the engine again: it goes on from the committed positions"
        )


class LibrdkafkaOutlet(Outlet):
    """One topic of a producer that others share."""

    def __init__(self, topic: str, producer: LibrdkafkaProducer) -> None:
        self._topic = topic
        self._producer = producer

    @property
    def max_record_bytes(self) -> int:
        """Largest key + value + headers that the producer takes."""
        return self._producer.max_record_bytes

    def write(self, records: Sequence[SinkRecord]) -> None:
        """Hand records over, in order."""
        self._producer.write(self._topic, records)
