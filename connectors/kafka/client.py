"""How kafka-python's clients are made: options sorted out, faults turned into ours, nothing left after a failure.

I know nothing of records. kafka-python refuses options it does not know and starts its thread inside the
constructor; both are dealt with here.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka import errors as faults

from connectors.errors import ConnectorError
from connectors.kafka.sockets import DIRECT
from connectors.kafka.watch import Watch, said
from connectors.kafka_settings import (
    KafkaSettings,
    OptionValue,
    check_security,
    refused,
    unknown_option,
    unreachable,
)

CLIENT_ID = "stream-engine"

REFUSALS = (
    faults.AuthorizationError,
    faults.SaslAuthenticationFailedError,
    faults.UnsupportedSaslMechanismError,
)

_ALL_OPTIONS = frozenset(KafkaConsumer.DEFAULT_CONFIG) | KafkaProducer.DEFAULT_CONFIG.keys()


def make(kind: Callable[..., Any], settings: KafkaSettings, timeout_s: float, **ours: Any) -> Any:
    """A KafkaConsumer, KafkaProducer or KafkaAdminClient that has reached a broker.

    Raises:
        AddressError: an option is unknown.
        ConnectorConfigError: the brokers refuse us.
        ServerUnavailableError: no broker answered within timeout_s.
    """
    known: Mapping[str, object] = kind.DEFAULT_CONFIG  # type: ignore[attr-defined]
    check_security(settings)
    quiet_the_library()
    watch = Watch()
    common = {
        "bootstrap_servers": list(settings.servers),
        "bootstrap_timeout_ms": max(1, int(timeout_s * 1000)),
        "client_id": CLIENT_ID,
        "reconnect_backoff_max_ms": 1000,
        "kafka_client": watch.client,
        "proxy_url": DIRECT,
    }
    try:
        client = kind(**{**common, **ours, **_chosen(settings, known)})
    except BaseException as error:
        watch.close()
        if not isinstance(error, Exception):
            raise  # broken off by a signal
        raise _why(error, watch, settings, timeout_s) from error
    watch.started()
    return client


def _why(error: Exception, watch: Watch, settings: KafkaSettings, timeout_s: float) -> Exception:
    """Our error for a start that has failed, by what its connections were told."""
    if watch.refusal is not None:
        return refused(settings, said(watch.refusal))
    if watch.last is not None and isinstance(error, faults.KafkaTimeoutError):
        return unreachable(settings, timeout_s, said(watch.last))
    return translated(error, settings, timeout_s)


def _chosen(settings: KafkaSettings, known: Mapping[str, object]) -> dict[str, OptionValue]:
    chosen = settings.python_options()
    for name in chosen:
        if name not in _ALL_OPTIONS:
            raise unknown_option(name, sorted(_ALL_OPTIONS))
    return {name: value for name, value in chosen.items() if name in known}


def translated(error: Exception, settings: KafkaSettings, timeout_s: float) -> Exception:
    """Our error for one of the library's; anything else as it is."""
    if isinstance(error, ConnectorError):
        return error
    if isinstance(error, REFUSALS):
        return refused(settings, type(error).__name__)
    if isinstance(error, faults.KafkaConfigurationError):
        return refused(settings, error)
    if isinstance(error, faults.KafkaError):
        return unreachable(settings, timeout_s, type(error).__name__)
    return error


def quiet_the_library() -> None:
    """Its warnings about every lost connection say nothing that our errors do not; a level set by the user stays."""
    logger = logging.getLogger("kafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
