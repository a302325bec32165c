"""Forecasts, dead letters and positions in one Kafka transaction after another, by kafka-python.

One transactional producer a process; that a stale member of the group commits nothing is the group's own doing
(KIP-447): each commit shows the membership it was made under. I know nothing of what the bytes mean.
kafka-python's own calls wait for ever, also for a broker that is gone; so their results are waited for here.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from kafka import errors as faults

from connectors.contracts import Delivery, Outlet
from connectors.errors import ConnectorError, ServerUnavailableError
from connectors.kafka.client import translated
from connectors.kafka.membership import as_offsets
from connectors.kafka.producer import PythonOutlet, PythonProducer, ensure_topic
from connectors.kafka.source import KafkaSource
from connectors.kafka_settings import (
    TRANSACTION_TIMEOUT_S,
    KafkaSettings,
    TransactionalId,
    came_to_nothing,
    fenced,
    not_ours,
    unreachable,
)
from connectors.records import Partition, Position
from connectors.retry import Deadline

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 5.0
SOONEST_AGAIN_MS = 20
"""First wait before a request is sent again, as is the first of a transaction while the last is being completed."""

_FENCED = (faults.ProducerFencedError, faults.InvalidProducerEpochError)
_STALE = (
    faults.CommitFailedError,
    faults.IllegalGenerationError,
    faults.UnknownMemberIdError,
    faults.FencedInstanceIdError,
    faults.StaleMemberEpochError,
)


class KafkaTransactions(Delivery):
    """Owned by the engine's thread, from `open` to `close`; a transaction is always begun.

    Args:
        source: whose positions are committed; opened before, and closed before.
        forecasts, dead_letters: the two topics, in the source's cluster.
    """

    def __init__(self, source: KafkaSource, forecasts: KafkaSettings, dead_letters: KafkaSettings) -> None:
        self._source = source
        self._topics = (forecasts, dead_letters)
        self._settings = forecasts
        self._name = TransactionalId(source.group)
        self._producer = PythonProducer(forecasts)
        self._forecasts, self._dead_letters = (
            PythonOutlet(settings.topic, self._producer) for settings in self._topics
        )
        self._is_open = False

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
            timeout_s,
            transactional_id=self._name.take(),
            transaction_timeout_ms=int(TRANSACTION_TIMEOUT_S * 1000),
            retry_backoff_ms=SOONEST_AGAIN_MS,
        )
        self._is_open = True
        self._wait(lambda manager: manager.initialize_transactions(), Deadline.after(timeout_s))
        self._producer.client.begin_transaction()

    def commit(self, positions: Mapping[Partition, Position], timeout_s: float) -> None:
        """(1) Have all records acknowledged; (2) add the positions; (3) commit; and begin the next transaction."""
        deadline = Deadline.after(min(timeout_s, TRANSACTION_TIMEOUT_S))
        self._producer.flush(deadline.remaining_s)
        proof = self._source.membership(positions)
        try:
            self._wait(lambda manager: manager.send_offsets_to_transaction(as_offsets(positions), proof), deadline)
            self._wait(lambda manager: manager.begin_commit(), deadline)
        except _STALE as error:
            raise not_ours(list(positions), type(error).__name__) from error
        self._producer.client.begin_transaction()

    def abort(self) -> bool:
        """Take back what was written since the last commit; where that fails, nothing more can be written."""
        if self._producer.has_failed:
            return True  # its transaction ends with it
        self._producer.forget_written()
        try:
            self._wait(lambda manager: manager.begin_abort(), Deadline.after(TRANSACTION_TIMEOUT_S))
            self._producer.client.begin_transaction()
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
                self._wait(lambda manager: manager.begin_abort(), Deadline.after(CLOSE_TIMEOUT_S))
        except (ConnectorError, RuntimeError):
            pass  # it never began, or the broker ends it when its time runs out
        finally:
            self._producer.close()
            self._name.release()

    def _wait(self, begin: Callable[[Any], Any], deadline: Deadline) -> None:
        """Begin what the library's transaction manager is to do and wait for its end; a stale member's fault passes."""
        client = self._producer.client
        try:
            result = begin(client._transaction_manager)
            client._sender.wakeup()
            is_done = result.wait(timeout_ms=1000 * deadline.remaining_s)
        except _STALE:
            raise
        except Exception as error:
            failure = self._why(error)
            self._producer.fail(failure)
            raise failure from error
        if not is_done:
            failure = unreachable(self._settings, self._settings.broker_timeout_s, "a transaction is not completed")
            self._producer.fail(failure)
            raise failure

    def _why(self, error: Exception) -> Exception:
        """Our error for one of the library's."""
        if any(isinstance(one, _FENCED) for one in (error, *error.args)):
            return fenced(self._settings, type(error).__name__)
        found = translated(error, self._settings, self._settings.broker_timeout_s)
        if not isinstance(found, ServerUnavailableError):
            return found
        return came_to_nothing(self._settings, repr(error))
