"""Forecasts, dead letters and positions in one Kafka transaction after another, by confluent-kafka.

One transactional producer a process; that a stale member of the group commits nothing is the group's own doing
(KIP-447): each commit shows the membership it was made under. I know nothing of what the bytes mean.
librdkafka's calls may ignore their own timeouts (its issues 5456 and 5511: a coordinator that was restarted is never
found again); so they are made on a side thread and waited for here, and one that hangs ends the engine, not the wait.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from connectors.contracts import Delivery, Outlet
from connectors.errors import ConnectorError
from connectors.kafka_settings import (
    TRANSACTION_TIMEOUT_S,
    KafkaSettings,
    TransactionalId,
    not_ours,
)
from connectors.librdkafka.producer import LibrdkafkaOutlet, LibrdkafkaProducer, ensure_topic
from connectors.librdkafka.source import STALE, LibrdkafkaSource
from connectors.records import Partition, Position
from connectors.retry import Deadline

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0
OVERTAKEN_S = 5.0
"""Longest wait for records on their way before a transaction is taken back: the broker refuses an end that overtakes
them, and the producer with it."""
GRACE_S = 1.0
"""How much longer than its own timeout a call may take."""
SOONEST_AGAIN_MS = 20
"""First wait before a request is sent again, as is the first of a transaction while the last is being completed."""


class LibrdkafkaTransactions(Delivery):
    """Owned by the engine's thread, from `open` to `close`; a transaction is always begun.

    Args:
        source: whose positions are committed; opened before, and closed before.
        forecasts, dead_letters: the two topics, in the source's cluster.
    """

    def __init__(self, source: LibrdkafkaSource, forecasts: KafkaSettings, dead_letters: KafkaSettings) -> None:
        self._source = source
        self._topics = (forecasts, dead_letters)
        self._settings = forecasts
        self._name = TransactionalId(source.group)
        self._producer = LibrdkafkaProducer(forecasts)
        self._forecasts, self._dead_letters = (
            LibrdkafkaOutlet(settings.topic, self._producer) for settings in self._topics
        )
        self._is_open = self._is_stuck = False

    @property
    def forecasts(self) -> Outlet:
        """Where forecasts are written."""
        return self._forecasts

    @property
    def dead_letters(self) -> Outlet:
        """Where dead letters are written."""
        return self._dead_letters

    def open(self, num_partitions: int, timeout_s: float) -> None:
        """Create missing topics; end what a process of our name has left open; begin a transaction."""
        limits = [ensure_topic(settings, num_partitions, timeout_s) for settings in self._topics]
        self._producer.open(
            min(limits),
            transactional__id=self._name.take(),
            transaction__timeout__ms=int(TRANSACTION_TIMEOUT_S * 1000),
            message__timeout__ms=int(TRANSACTION_TIMEOUT_S * 1000),
            retry__backoff__ms=SOONEST_AGAIN_MS,
        )
        self._is_open = True
        self._insist(self._producer.client.init_transactions, Deadline.after(timeout_s))
        self._producer.client.begin_transaction()

    def commit(self, positions: Mapping[Partition, Position], timeout_s: float) -> None:
        """(1) Have all records acknowledged; (2) add the positions; (3) commit; and begin the next transaction."""
        client, deadline = self._producer.client, Deadline.after(min(timeout_s, TRANSACTION_TIMEOUT_S))
        self._producer.flush(deadline.remaining_s)
        offsets = [TopicPartition(*partition, position) for partition, position in positions.items()]
        proof = self._source.membership(positions)
        try:
            self._insist(lambda left_s: client.send_offsets_to_transaction(offsets, proof, left_s), deadline)
            self._insist(client.commit_transaction, deadline)
        except KafkaException as error:
            raise not_ours(list(positions), error.args[0].name()) from error
        client.begin_transaction()

    def abort(self) -> bool:
        """Take back what was written since the last commit; where that fails, nothing more can be written."""
        if self._producer.has_failed:
            return True  # its transaction ends with it
        client = self._producer.client
        client.flush(OVERTAKEN_S)
        try:
            self._insist(client.abort_transaction, Deadline.after(TRANSACTION_TIMEOUT_S))
            client.begin_transaction()
        except ConnectorError as error:
            logger.warning("%s: a transaction could not be taken back in order: %s", self._settings.address, error)
        return True

    def close(self) -> None:
        """End the open transaction, so that nobody waits for its time to run out, and free everything."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            if not self._producer.has_failed:
                self._insist(self._producer.client.abort_transaction, Deadline.after(CLOSE_TIMEOUT_S))
        except (ConnectorError, KafkaException):
            pass  # it never began, or the broker ends it when its time runs out
        finally:
            if not self._is_stuck:
                self._producer.close()
            self._name.release()

    def _insist(self, action: Callable[[float], object], deadline: Deadline) -> None:
        """Repeat an action, told the seconds left, while it may be; a stale member's fault passes as it is."""
        while True:
            try:
                self._bounded(action, max(0.1, deadline.remaining_s))
                return
            except KafkaException as error:
                if error.args[0].code() in STALE:
                    raise
                if not error.args[0].retriable() or deadline.is_over:
                    raise self._producer.failed(error) from error
                time.sleep(SOONEST_AGAIN_MS / 1000)

    def _bounded(self, action: Callable[[float], object], timeout_s: float) -> None:
        """The action on a side thread; one that hangs is left to itself, and its producer with it."""
        faults: list[BaseException] = []

        def act() -> None:
            try:
                action(timeout_s)
            except BaseException as fault:  # noqa: BLE001 - raised again on the engine's thread
                faults.append(fault)

        thread = threading.Thread(target=act, name="transaction", daemon=True)
        thread.start()
        thread.join(timeout_s + GRACE_S)
        if thread.is_alive():
            self._is_stuck = True
            raise self._producer.failed(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        if faults:
            raise faults[0]
