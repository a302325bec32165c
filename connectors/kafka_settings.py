"""What both Kafka clients share: frozen settings from a URL and raw options, and the sentences of their errors.

    kafka://host:port[,host:port]/topic?group=name

Options pass through to the client under either spelling, `security.protocol` (Java, librdkafka) or
`security_protocol` (kafka-python); a few that differ more are translated. I import no client.
"""

import fcntl
import os
import re
import socket
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qsl, urlsplit

from connectors.errors import (
    AddressError,
    ConnectorConfigError,
    LostPartitionsError,
    MissingTopicError,
    ServerUnavailableError,
    StaleEpochError,
    nearest_names,
)
from connectors.records import Headers, Partition

TRANSACTION_TIMEOUT_S = 30.0
"""After so long the broker aborts a transaction whose producer is gone (it looks every 10 s)."""
STABLE_TIMEOUT_S = 60.0
"""Longest wait for committed positions that such a transaction keeps from being known."""

METADATA_REFRESH_MS = 30_000
"""How often a source looks for partitions that were added to its topic."""

OptionValue = str | int | float | bool

QUERY_NAMES = ("group",)

# librdkafka's name -> kafka-python's, where they differ by more than dots and underscores.
_PYTHON_NAMES = {
    "sasl.mechanisms": "sasl_mechanism",
    "sasl.username": "sasl_plain_username",
    "sasl.password": "sasl_plain_password",
    "ssl.ca.location": "ssl_cafile",
    "ssl.certificate.location": "ssl_certfile",
    "ssl.key.location": "ssl_keyfile",
    "ssl.key.password": "ssl_password",
    "message.max.bytes": "max_request_size",
    "max.partition.fetch.bytes": "max_partition_fetch_bytes",
    "queue.buffering.max.ms": "linger_ms",
    "topic.metadata.refresh.interval.ms": "metadata_max_age_ms",
}
_LIBRDKAFKA_NAMES = {python: rdkafka for rdkafka, python in _PYTHON_NAMES.items()} | {
    "sasl_mechanism": "sasl.mechanism"
}

# What the engine's promises rest on.
_OURS = {
    "bootstrap.servers": "it comes from the URL",
    "group.id": "it comes from the URL's ?group=",
    "enable.auto.commit": "positions are committed by the engine",
    "auto.offset.reset": "set source.start",
    "enable.idempotence": "the sink is always idempotent",
    "acks": "the sink always waits for all in-sync replicas",
    "transactional.id": "the engine finds one of its own (delivery: exactly_once)",
    "transaction.timeout.ms": "the wait for stable positions rests on it",
    "partitioner": "both clients must send a key to the same partition",
    "enable.partition.eof": "the source needs it",
}

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")

_SECRET_WORDS = ("password", "secret", "jaas", "token", ".key", "_key", "pem")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """One topic of one cluster, as one side of the engine sees it.

    Attributes:
        servers: "host:port" of the brokers to ask first.
        topic: name of the topic.
        group: the consumer group; None for a sink.
        options: raw options for the client, as given; masked in repr where they are secret.
        broker_timeout_s: how long no broker may answer before the connector gives up.
        session_timeout_s: how long a member of the group may be silent before its partitions go to others.
    """

    servers: tuple[str, ...]
    topic: str
    group: str | None = None
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    broker_timeout_s: float = 60.0
    session_timeout_s: float = 10.0

    @classmethod
    def from_url(cls, url: str, options: Mapping[str, OptionValue] | None = None) -> "KafkaSettings":
        """Read kafka://host:port[,host:port]/topic?group=name.

        Raises:
            AddressError: the URL is malformed, or an option is one the engine sets itself.
        """
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise AddressError(
                f"kafka://…@{parts.netloc.rpartition('@')[2]}{parts.path} carries a password; put it under "
                "kafka.options (sasl.mechanism, sasl.username, sasl.password)"
            )
        shown = url.partition("?")[0]
        servers = tuple(_server(text, shown) for text in parts.netloc.split(",") if text)
        topic = parts.path.strip("/")
        if parts.scheme != "kafka" or not servers or not topic or "/" in topic:
            raise AddressError(f"{shown!r} is not of the form kafka://host:port[,host:port]/topic?group=name")
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in asked:
            if name not in QUERY_NAMES:
                raise AddressError(
                    f"{shown} has the unknown setting {name!r}; known: {', '.join(QUERY_NAMES)} "
                    "(options of the client stand under kafka.options)"
                )
        return cls(servers, topic, asked.get("group") or None, _checked(options or {}))

    def with_timeouts(self, broker_timeout_s: float, session_timeout_s: float = 10.0) -> "KafkaSettings":
        """The same with other patience."""
        return replace(self, broker_timeout_s=broker_timeout_s, session_timeout_s=session_timeout_s)

    @property
    def address(self) -> str:
        """Where the topic is, without secrets: kafka://host:port/topic."""
        return f"kafka://{','.join(self.servers)}/{self.topic}"

    def __repr__(self) -> str:
        shown = {name: "***" if _is_secret(name) else value for name, value in self.options.items()}
        return f"KafkaSettings({self.address!r}, group={self.group!r}, options={shown!r})"

    def python_options(self) -> dict[str, OptionValue]:
        """The options under kafka-python's names."""
        return {_PYTHON_NAMES.get(name, name.replace(".", "_")): value for name, value in self.options.items()}

    def librdkafka_options(self) -> dict[str, OptionValue]:
        """The options under librdkafka's names."""
        return {_LIBRDKAFKA_NAMES.get(name, name.replace("_", ".")): value for name, value in self.options.items()}

    @property
    def protocol(self) -> str:
        """How the brokers are spoken to, one of PROTOCOLS."""
        return str(self.librdkafka_options().get("security.protocol", PROTOCOLS[0]))


def _server(text: str, url: str) -> str:
    host, _, port = text.rpartition(":")
    if not host:
        return f"{text}:9092"
    if not port.isdigit():
        raise AddressError(f"{url!r} has no port number after the last colon of {text!r}; wanted host:port")
    return text


def _checked(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    for name in options:
        why = _OURS.get(name.replace("_", "."))
        if why is not None:
            raise AddressError(f"kafka.options must not set {name!r}: {why}")
    return {name: _as_protocol(name, value) for name, value in options.items()}


def _as_protocol(name: str, value: OptionValue) -> OptionValue:
    """The option's value; that of security.protocol in the letters that both clients take."""
    if name.replace("_", ".") != "security.protocol":
        return value
    protocol = str(value).upper()
    if protocol not in PROTOCOLS:
        raise AddressError(f"kafka.options has security.protocol {value!r}; wanted one of {', '.join(PROTOCOLS)}")
    return protocol


def check_security(settings: KafkaSettings) -> None:
    """Refuse security options that no broker could make work, before a client waits for it in vain.

    Raises:
        AddressError: a password that would not be sent, one that is missing, or a file that cannot be read.
    """
    options, protocol = settings.librdkafka_options(), settings.protocol
    given = [name for name in ("sasl.username", "sasl.password") if options.get(name)]
    if given and not protocol.startswith("SASL_"):
        raise AddressError(
            f"kafka.options has {given[0]}, but security.protocol is {protocol}, which sends none; "
            "set it to SASL_SSL, or remove sasl.*"
        )
    if protocol.startswith("SASL_"):
        mechanism = options.get("sasl.mechanism") or options.get("sasl.mechanisms")
        if not mechanism:
            raise AddressError(f"kafka.options has security.protocol {protocol}, but no sasl.mechanism; such as PLAIN")
        if str(mechanism).startswith(("PLAIN", "SCRAM")) and len(given) < 2:
            raise AddressError(f"kafka.options has sasl.mechanism {mechanism}: set sasl.username and sasl.password")
    for name in _FILES:
        path = options.get(name)
        if path and path != "probe" and not os.access(str(path), os.R_OK):
            raise AddressError(f"kafka.options names {path!r} as {name}, which cannot be read; mend the path")


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in _SECRET_WORDS)


def require_group(settings: KafkaSettings) -> str:
    """The group of a source's settings.

    Raises:
        AddressError: the URL names none.
    """
    if settings.group is None:
        raise AddressError(f"{settings.address} names no consumer group; write {settings.address}?group=name")
    return settings.group


def unknown_option(name: str, known: Sequence[str]) -> AddressError:
    """The error of an option that the client does not know."""
    return AddressError(f"kafka.options has {name!r}, which this client does not know; {nearest_names(name, known)}")


def missing_topic(settings: KafkaSettings, known: Sequence[str]) -> MissingTopicError:
    """The error of a source topic that does not exist."""
    shown = [name for name in known if not name.startswith("__")]
    or_hidden = ", or this user may not see it" if settings.protocol.startswith("SASL_") else ""
    return MissingTopicError(
        f"{settings.address}: the topic {settings.topic!r} does not exist at {','.join(settings.servers)}{or_hidden}; "
        f"{nearest_names(settings.topic, shown)} Create it first: the engine creates only the topics it writes to"
    )


def unreachable(settings: KafkaSettings, timeout_s: float, cause: object) -> ServerUnavailableError:
    """The error of a cluster that does not answer."""
    return ServerUnavailableError(
        f"no Kafka broker answered at {','.join(settings.servers)} within {timeout_s:g} s ({cause}); "
        f"start it, or correct the address in the URL, or kafka.options (security.protocol is {settings.protocol})"
    )


def refused(settings: KafkaSettings, cause: object) -> ConnectorConfigError:
    """The error of a cluster that answers and says no (credentials, permissions)."""
    return ConnectorConfigError(
        f"{settings.address} refused us ({cause}); check kafka.options (security.protocol, sasl.*, ssl.*) "
        "and the permissions of this user"
    )


def fell_silent(settings: KafkaSettings) -> ServerUnavailableError:
    """The error of a cluster none of whose brokers has answered for broker_timeout_s."""
    return ServerUnavailableError(
        f"no Kafka broker of {','.join(settings.servers)} has answered for {settings.broker_timeout_s:g} s; "
        "the committed positions are safe: start the engine again once the brokers are back"
    )


def not_ours(partitions: Sequence[Partition], why: object) -> LostPartitionsError:
    """The error of a commit for partitions that another member holds."""
    names = ", ".join(map(str, sorted(partitions)))
    return LostPartitionsError(f"{names}: not committed, no longer ours ({why}); another member of the group goes on")


def plain_headers(rows: Iterable[Iterable[tuple[str, bytes | None]] | None]) -> list[Headers | None]:
    """Headers of a batch with b"" for Kafka's null values, which a sink could not send on."""
    return [[(name, text or b"") for name, text in headers] if headers else None for headers in rows]


def whole_ms(time_ns: int) -> int:
    """The first of Kafka's timestamps (milliseconds, at least 0) that is at time_ns or later."""
    return max(0, -(-time_ns // 1_000_000))


def came_to_nothing(settings: KafkaSettings, cause: object) -> ServerUnavailableError:
    """The error of a transaction that can only be aborted."""
    return ServerUnavailableError(
        f"{settings.address}: a transaction came to nothing ({cause}); start the engine again: it goes on from the "
        "committed positions"
    )


def fenced(settings: KafkaSettings, cause: object) -> StaleEpochError:
    """The error of a producer whose place another has taken, or whose transaction has taken too long."""
    return StaleEpochError(
        f"{settings.address}: our transaction was refused ({cause}): another process has taken our place, or it "
        f"stayed open for more than {TRANSACTION_TIMEOUT_S:g} s; start the engine again: it goes on from the committed "
        "positions"
    )


class TransactionalId:
    """A producer's name that no other living process of this machine has, and that its successor finds again.

    The successor of a killed process so ends its predecessor's open transaction at once. The name is the group's, the
    machine's and the lowest number whose lock file nobody holds; the kernel frees a lock however its holder ends.
    Containers with one host name differ by their mount namespace.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self._lock: TextIO | None = None

    def take(self) -> str:
        """The name, ours until `release`."""
        mounts = Path("/proc/self/ns/mnt")
        namespace = mounts.stat().st_ino if mounts.exists() else 0
        folder = Path(tempfile.gettempdir()) / f"stream-engine-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        safe = re.sub(r"[^\w.-]", "_", self._group)
        for number in count():
            lock = (folder / f"{safe}-{number}.lock").open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            self._lock = lock
            return f"{self._group}-{socket.gethostname()}-{namespace}-{number}"
        raise AssertionError("numbers do not end")

    def release(self) -> None:
        """Let the next process have it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
