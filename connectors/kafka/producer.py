"""One kafka-python producer and the topics written through it. I know nothing of what the bytes mean.

Records go out in order (idempotent, all in-sync replicas, lz4). A record that could not be delivered leaves the
producer failed: every later write and flush says so, so that no position after it can be committed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kafka import KafkaProducer
from kafka import errors as faults

from connectors.contracts import Outlet
from connectors.errors import RecordTooLargeError, ServerUnavailableError
from connectors.kafka.admin import Admin
from connectors.kafka.client import make, translated
from connectors.kafka_settings import KafkaSettings, unreachable
from connectors.records import SinkRecord

DEFAULT_MAX_BYTES = 1_048_576
ENVELOPE_BYTES = 512  # room for a record's and its batch's own fields

_TOO_LARGE = (faults.MessageSizeTooLargeError, faults.RecordListTooLargeError)


def ensure_topic(settings: KafkaSettings, num_partitions: int, timeout_s: float) -> int:
    """Create the topic where it is missing; the largest message that it, or the user's own option, takes."""
    with Admin(settings, timeout_s) as admin:
        if settings.topic not in admin.topics():
            admin.create(settings.topic, num_partitions)
        topic_limit = admin.max_message_bytes(settings.topic)
    wanted = settings.python_options().get("max_request_size")
    return int(wanted or topic_limit or DEFAULT_MAX_BYTES)


class PythonProducer:
    """Owned by one sink or delivery, from its `open` to its `close`.

    Args:
        settings: of the cluster, and of the topic that its errors name.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: KafkaProducer | None = None
        self._max_bytes = DEFAULT_MAX_BYTES
        self._under_way: list[Any] = []
        self._failure: Exception | None = None

    def open(self, max_bytes: int, timeout_s: float, **ours: Any) -> None:
        """Make the client, for messages of at most max_bytes."""
        self._max_bytes = max_bytes
        timeout_ms = int(self._settings.broker_timeout_s * 1000)
        linger_ms = 5
        options: dict[str, Any] = {
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": "lz4",
            "linger_ms": linger_ms,
            "batch_size": min(128 << 10, max_bytes),
            "max_request_size": max_bytes,
            "request_timeout_ms": max(1000, min(30_000, timeout_ms - linger_ms)),
            "delivery_timeout_ms": max(1000 + linger_ms, timeout_ms),
            "max_block_ms": timeout_ms,
            "allow_auto_create_topics": False,
            "metrics_enabled": False,
        }
        self._producer = make(KafkaProducer, self._settings, timeout_s, **{**options, **ours})

    @property
    def max_record_bytes(self) -> int:
        """Largest key + value + headers: the topic's max.message.bytes, less the envelope."""
        return self._max_bytes - ENVELOPE_BYTES

    @property
    def client(self) -> KafkaProducer:
        """The library's own producer."""
        if self._producer is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return self._producer

    def write(self, topic: str, records: Sequence[SinkRecord]) -> None:
        """Hand records over, in order; errors as for `Outlet.write`."""
        self._forget_delivered()
        self.raise_failure()
        send, note = self.client.send, self._under_way.append
        for key, value, headers, timestamp_ns in records:
            try:
                note(
                    send(
                        topic,
                        # kafka-python refuses a record that has neither; Kafka does not
                        b"" if value is None and key is None else value,
                        key,
                        list(headers),
                        None,
                        None if timestamp_ns is None else timestamp_ns // 1_000_000,
                    )
                )
            except _TOO_LARGE as error:
                raise self._too_large(topic, key, value, headers) from error
            except faults.KafkaError as error:
                raise translated(error, self._settings, self._settings.broker_timeout_s) from error

    def flush(self, timeout_s: float) -> None:
        """Wait until every record is acknowledged; errors as for `Sink.flush`."""
        try:
            self.client.flush(timeout_s)
        except faults.KafkaTimeoutError as error:
            self._forget_delivered()
            self.raise_failure()
            raise unreachable(
                self._settings, timeout_s, f"{len(self._under_way)} records are not acknowledged"
            ) from error
        self._forget_delivered()
        self.raise_failure()

    def forget_written(self) -> None:
        """What was written is taken back: what becomes of it is no failure."""
        self._under_way = []

    def close(self) -> None:
        """Free everything; what was not flushed may be lost."""
        producer, self._producer = self._producer, None
        self._under_way = []
        if producer is None:
            return
        try:
            producer.close(timeout=0.5)
        except faults.KafkaTimeoutError:
            # It gives up where something is still under way, and leaves its thread running.
            producer._sender.force_close()
            producer._sender.join(5)
            producer.close(timeout=0.5)
        producer._sender.join(5)  # it leaves a slow one running, too

    def fail(self, failure: Exception) -> None:
        """From now on every write and flush raises this."""
        self._failure = failure

    @property
    def has_failed(self) -> bool:
        """Whether nothing more can be written."""
        return self._failure is not None

    def raise_failure(self) -> None:
        """Raise what has gone wrong for good, if anything has."""
        if self._failure is not None:
            raise self._failure

    def _forget_delivered(self) -> None:
        """Keep only records still under way; note the first that failed."""
        still = [future for future in self._under_way if not future.is_done or future.exception is not None]
        failed = [future for future in still if future.exception is not None]
        self._under_way = [future for future in still if future.exception is None] if failed else still
        if failed and self._failure is None:
            cause = failed[0].exception
            self._failure = ServerUnavailableError(
                f"{len(failed)} records could not be delivered to {self._settings.address} "
                f"({type(cause).__name__}); start the engine again: it goes on from the committed positions"
            )

    def _too_large(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Any]
    ) -> RecordTooLargeError:
        size = len(key or b"") + len(value or b"") + sum(len(name) + len(text) for name, text in headers)
        return RecordTooLargeError(
            f"a record of {size} bytes is larger than {replace(self._settings, topic=topic).address} takes "
            f"({self.max_record_bytes}); raise the topic's max.message.bytes"
        )


class PythonOutlet(Outlet):
    """One topic of a producer that others share."""

    def __init__(self, topic: str, producer: PythonProducer) -> None:
        self._topic = topic
        self._producer = producer

    @property
    def max_record_bytes(self) -> int:
        """Largest key + value + headers that the producer takes."""
        return self._producer.max_record_bytes

    def write(self, records: Sequence[SinkRecord]) -> None:
        """Hand records over, in order."""
        self._producer.write(self._topic, records)
