"""How confluent-kafka's clients are made, topics asked and created; its faults turned into ours.

I know nothing of records. Nothing is created by asking: the metadata of all topics is read, not that of one.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from connectors.errors import AddressError, ConnectorConfigError, ServerUnavailableError
from connectors.kafka_settings import KafkaSettings, check_security, refused, unreachable
from connectors.records import Partition
from connectors.retry import Deadline, Retry

CLIENT_ID = "stream-engine"
FIRST_PATIENCE_S = 0.5
NEWEST = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]

Client = TypeVar("Client")

_REFUSALS = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)

_BAD_CERTIFICATE = "certificate verify failed"  # it comes as _SSL or as _TRANSPORT, by how far the handshake was
_SURROUNDINGS = re.compile(r"^\S+: | \(after \w+ in state \w+\)$")

_silent = logging.getLogger("librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Faults:
    """What librdkafka reports of its connections; owned by one client.

    Attributes:
        refusal: the last time that a broker, or its certificate, was refused: that is not retried.
        last: what a connection last failed of, for the sentence once the retries have taken too long.
    """

    def __init__(self) -> None:
        self.refusal: KafkaError | None = None
        self.last: KafkaError | None = None

    def note(self, error: KafkaError) -> None:
        """The client's error callback."""
        if error.code() in _REFUSALS or _BAD_CERTIFICATE in error.str():
            self.refusal = error
        elif error.code() != KafkaError._ALL_BROKERS_DOWN:
            self.last = error


def make(kind: Callable[[dict[str, Any]], Client], settings: KafkaSettings, faults: Faults, **ours: Any) -> Client:
    """A Consumer, Producer or AdminClient; names in `ours` have __ for dots. It connects in the background.

    Raises:
        AddressError: an option is unknown or has a value that librdkafka does not take.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": ",".join(settings.servers),
        "client.id": CLIENT_ID,
        "error_cb": faults.note,
        "logger": _silent,
        "reconnect.backoff.max.ms": 1000,
        "allow.auto.create.topics": False,
    }
    config |= {name.replace("__", "."): value for name, value in ours.items()}
    config |= {name: _as_text(value) for name, value in settings.librdkafka_options().items()}
    check_security(settings)
    try:
        return kind(config)
    except KafkaException as error:
        raise AddressError(f"kafka.options: librdkafka says: {error.args[0].str()}") from error


def _as_text(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def translated(error: KafkaException, settings: KafkaSettings, timeout_s: float, faults: Faults) -> Exception:
    """Our error for one of librdkafka's."""
    cause = error.args[0]
    if faults.refusal is not None or cause.code() in _REFUSALS:
        return refused(settings, _SURROUNDINGS.sub("", (faults.refusal or cause).str()))
    heard = cause.name() if faults.last is None else _SURROUNDINGS.sub("", faults.last.str())
    return unreachable(settings, timeout_s, heard)


class Admin:
    """One short conversation about topics; used as a context manager, at whose end its threads are gone."""

    def __init__(self, settings: KafkaSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._faults = Faults()
        self._deadline = Deadline.after(timeout_s)
        self._patience_s = FIRST_PATIENCE_S
        self._client: Any = make(AdminClient, settings, self._faults)

    def __enter__(self) -> "Admin":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client = None  # it has no close: letting go of it ends it, also where a traceback holds on to us

    def topics(self) -> dict[str, int]:
        """Every topic this user may see, with its number of partitions."""
        found = Retry((ServerUnavailableError,)).call(self._ask, self._deadline)
        return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}

    def _ask(self) -> Mapping[str, Any]:
        """Ask, each time with more patience: what the connections report is heard only in between."""
        patience_s, self._patience_s = min(self._patience_s, max(0.1, self._deadline.remaining_s)), 2 * self._patience_s
        try:
            found: Mapping[str, Any] = self._client.list_topics(timeout=patience_s).topics
        except KafkaException as error:
            self._client.poll(0)
            # its traceback would keep the client, and so its threads, alive
            bare = error.with_traceback(None)
            raise translated(error, self._settings, self._timeout_s, self._faults) from bare
        return found

    def topic_id(self, topic: str) -> str:
        """The id that a topic keeps for as long as it lives; "" where the broker tells none."""
        timeout_s = max(1.0, self._deadline.remaining_s)
        asked = self._client.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
        try:
            told = asked[topic].result().topic_id
        except KafkaException as error:
            if error.args[0].code() in _REFUSALS or error.args[0].code() == KafkaError._UNSUPPORTED_FEATURE:
                return ""
            bare = error.with_traceback(None)
            raise translated(error, self._settings, self._timeout_s, self._faults) from bare
        high, low = (number % 2**64 for number in (told.get_most_significant_bits(), told.get_least_significant_bits()))
        return str(UUID(int=high << 64 | low)) if high or low else ""

    def create(self, topic: str, num_partitions: int) -> None:
        """Create a topic and wait until it is known; one that another has just made is as good."""
        new = NewTopic(topic, num_partitions=num_partitions, replication_factor=-1)
        remaining_s = max(1.0, self._deadline.remaining_s)
        done = self._client.create_topics([new], operation_timeout=remaining_s, request_timeout=remaining_s)[topic]
        try:
            done.result()
        except KafkaException as error:
            self._check_created(error, topic, num_partitions)
        Retry((_NotYetError,)).call(lambda: self._check_leaders(topic), self._deadline)

    def _check_created(self, error: KafkaException, topic: str, num_partitions: int) -> None:
        cause = error.args[0]
        if cause.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return
        if cause.code() in _REFUSALS:
            raise refused(self._settings, f"{cause.name()}: it may not create the topic {topic!r}") from error
        if cause.retriable() or cause.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
            raise translated(error, self._settings, self._timeout_s, self._faults) from error
        raise ConnectorConfigError(
            f"{self._settings.address}: the topic {topic!r} could not be created with {num_partitions} partitions "
            f"({cause.name()}); create it by hand"
        ) from error

    def _check_leaders(self, topic: str) -> None:
        found = self._ask().get(topic)
        if found is None or not found.partitions or any(part.leader < 0 for part in found.partitions.values()):
            raise _NotYetError(f"{self._settings.address}: the topic {topic!r} has no leader yet")

    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The latest timestamp in each partition that has one."""
        asked = {TopicPartition(*partition): NEWEST for partition in partitions}
        if not asked:
            return {}
        futures = self._client.list_offsets(asked, request_timeout=max(1.0, self._deadline.remaining_s))
        try:
            found = {Partition(item.topic, item.partition): one.result().timestamp for item, one in futures.items()}
        except KafkaException as error:
            raise translated(error, self._settings, self._timeout_s, self._faults) from error
        return {partition: time_ms * 1_000_000 for partition, time_ms in found.items() if time_ms >= 0}

    def max_message_bytes(self, topic: str) -> int | None:
        """The topic's max.message.bytes; None where this user may not read it."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        try:
            asked = self._client.describe_configs([resource], request_timeout=max(1.0, self._deadline.remaining_s))
            return int(asked[resource].result()["max.message.bytes"].value)
        except (KafkaException, KeyError, ValueError):
            return None


class _NotYetError(ConnectorConfigError):
    """Something just created cannot be seen yet."""
