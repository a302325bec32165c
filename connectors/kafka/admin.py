"""Asks and creates topics with kafka-python; creates nothing by asking. I know nothing of records."""

import time
from collections.abc import Iterable
from types import TracebackType
from uuid import UUID

from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as faults
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec

from connectors.errors import ConnectorConfigError
from connectors.kafka.client import REFUSALS, make, translated
from connectors.kafka_settings import KafkaSettings, refused, unreachable
from connectors.records import Partition
from connectors.retry import Deadline


class Admin:
    """One short conversation about topics; used as a context manager."""

    def __init__(self, settings: KafkaSettings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._deadline = Deadline.after(timeout_s)
        request_ms = max(1000, int(timeout_s * 1000))
        self._client: KafkaAdminClient = make(KafkaAdminClient, settings, timeout_s, request_timeout_ms=request_ms)

    def __enter__(self) -> "Admin":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.close()

    def topics(self) -> dict[str, int]:
        """Every topic this user may see, with its number of partitions."""
        try:
            described = self._client.describe_topics()
        except faults.KafkaError as error:
            raise translated(error, self._settings, self._timeout_s) from error
        return {topic["name"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}

    def topic_id(self, topic: str) -> str:
        """The id that a topic keeps for as long as it lives; "" where the broker tells none."""
        try:
            (found,) = self._client.describe_topics([topic])
        except faults.KafkaError as error:
            raise translated(error, self._settings, self._timeout_s) from error
        told = found.get("topic_id")
        return str(told) if told and UUID(str(told)).int else ""

    def create(self, topic: str, num_partitions: int) -> None:
        """Create a topic and wait until its partitions have leaders; one that another has just made is as good."""
        remaining_ms = max(1000, int(self._deadline.remaining_s * 1000))
        try:
            self._client.create_topics({topic: {"num_partitions": num_partitions}}, timeout_ms=remaining_ms)
        except faults.TopicAlreadyExistsError:
            pass
        except REFUSALS as error:
            raise refused(self._settings, f"{type(error).__name__}: it may not create the topic {topic!r}") from error
        except faults.RetriableError as error:
            raise translated(error, self._settings, self._timeout_s) from error
        except faults.KafkaError as error:
            raise ConnectorConfigError(
                f"{self._settings.address}: the topic {topic!r} could not be created with {num_partitions} partitions "
                f"({type(error).__name__}); create it by hand"
            ) from error
        self._wait_for_leaders(topic)

    def _wait_for_leaders(self, topic: str) -> None:
        while not self._has_leaders(topic):
            if self._deadline.is_over:
                raise unreachable(self._settings, self._timeout_s, f"the topic {topic!r} has no leader yet")
            time.sleep(0.05)

    def _has_leaders(self, topic: str) -> bool:
        (found,) = self._client.describe_topics([topic])
        partitions = found["partitions"]
        return found["error_code"] == 0 and bool(partitions) and all(part["leader_id"] >= 0 for part in partitions)

    def newest_ns(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The latest timestamp in each partition that has one."""
        asked = {TopicPartition(*partition): OffsetSpec.MAX_TIMESTAMP for partition in partitions}
        try:
            found = self._client.list_partition_offsets(asked) if asked else {}
        except faults.KafkaError as error:
            raise translated(error, self._settings, self._timeout_s) from error
        return {Partition(*item): one.timestamp * 1_000_000 for item, one in found.items() if one.timestamp >= 0}

    def max_message_bytes(self, topic: str) -> int | None:
        """The topic's max.message.bytes; None where this user may not read it."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        try:
            found = self._client.describe_configs([resource], config_filter="all")
            return int(found["topic"][topic]["max.message.bytes"]["value"])
        except (faults.KafkaError, KeyError, ValueError):
            return None
