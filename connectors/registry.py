"""Which class serves which URL, written by hand; each is imported when it is first asked for.

    kafka://      a topic (kafka-python or librdkafka)
    embedded://   a log in this process; embedded:///path or sqlite:///path is a state store in one file
    file://       a table to read, JSON lines to write
    redis://      a state store (rediss:// for TLS)

What is made here is not yet connected: its own `open` does that. I know nothing of what travels through it.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from connectors.contracts import Delivery, Sink, Source, StateStore
from connectors.errors import AddressError, ConnectorConfigError, MissingExtraError, nearest_names
from connectors.kafka_settings import KafkaSettings, OptionValue

SOURCES = ("embedded", "file", "kafka")
SINKS = ("embedded", "file", "kafka")
STORES = ("embedded", "redis", "rediss", "sqlite", "unix")
KAFKA_CLIENTS = ("auto", "python", "librdkafka")

DEFAULT_PREFIX = "stream-engine"
BROKER_TIMEOUT_S = 60.0


def open_source(
    url: str,
    *,
    client: str = "auto",
    options: Mapping[str, OptionValue | None] | None = None,
    broker_timeout_s: float = BROKER_TIMEOUT_S,
) -> Source:
    """The source of a URL, ready for its `open`.

    Args:
        url: kafka://host:port/topic?group=name, embedded://topic?group=name or file:///path?channel=name.
        client: for Kafka: auto, python (also kafka-python) or librdkafka.
        options: for Kafka: raw options of the client.
        broker_timeout_s: for Kafka: how long no broker may answer.
    Raises:
        AddressError: the URL or an option is malformed or unknown.
        MissingExtraError: the client asked for is not installed.
    """
    scheme = _scheme(url, SOURCES, "source")
    if scheme == "kafka":
        settings = _kafka_settings(url, options, broker_timeout_s)
        if choose_kafka_client(client) == "librdkafka":
            from connectors.librdkafka.source import LibrdkafkaSource

            return LibrdkafkaSource(settings)
        from connectors.kafka.source import KafkaSource

        return KafkaSource(settings)
    if scheme == "file":
        from connectors.file.source import FileSource, Layout

        return FileSource(_path(url), Layout.from_url(url))
    from connectors.embedded.settings import EmbeddedSettings
    from connectors.embedded.source import EmbeddedSource

    return EmbeddedSource(EmbeddedSettings.from_url(url))


def open_sink(
    url: str,
    *,
    client: str = "auto",
    options: Mapping[str, OptionValue | None] | None = None,
    broker_timeout_s: float = BROKER_TIMEOUT_S,
) -> Sink:
    """The sink of a URL, ready for its `open`; arguments and errors as for `open_source`."""
    scheme = _scheme(url, SINKS, "sink")
    if scheme == "kafka":
        settings = _kafka_settings(url, options, broker_timeout_s)
        if choose_kafka_client(client) == "librdkafka":
            from connectors.librdkafka.sink import LibrdkafkaSink

            return LibrdkafkaSink(settings)
        from connectors.kafka.sink import KafkaSink

        return KafkaSink(settings)
    if scheme == "file":
        from connectors.file.sink import JsonLinesSink

        return JsonLinesSink(_path(url))
    from connectors.embedded.settings import EmbeddedSettings
    from connectors.embedded.sink import EmbeddedSink

    return EmbeddedSink(EmbeddedSettings.from_url(url))


def open_transactions(
    source: Source,
    forecasts_url: str,
    dead_letters_url: str,
    *,
    client: str = "auto",
    options: Mapping[str, OptionValue | None] | None = None,
    broker_timeout_s: float = BROKER_TIMEOUT_S,
) -> Delivery:
    """Exactly-once delivery to two topics of the source's own Kafka cluster, ready for its `open`.

    Args:
        source: made by `open_source` with the same client.
        forecasts_url, dead_letters_url: kafka://host:port/topic.
        client, options, broker_timeout_s: as for `open_sink`.
    Raises:
        ConnectorConfigError: what was asked is not one Kafka cluster.
    """
    if _scheme(forecasts_url, SINKS, "sink") != "kafka" or _scheme(dead_letters_url, SINKS, "sink") != "kafka":
        raise ConnectorConfigError(
            "delivery: exactly_once needs a source and a sink in one Kafka cluster, for it is one Kafka transaction; "
            "write both as kafka://…, or set delivery to at_least_once"
        )
    forecasts = _kafka_settings(forecasts_url, options, broker_timeout_s)
    dead_letters = _kafka_settings(dead_letters_url, options, broker_timeout_s)
    if not set(forecasts.servers) & set(dead_letters.servers):
        raise ConnectorConfigError(
            f"delivery: exactly_once needs source and sink in one Kafka cluster, but {dead_letters.address} and "
            f"{forecasts.address} name no broker in common; name the same ones, or set delivery to at_least_once"
        )
    if choose_kafka_client(client) == "librdkafka":
        from connectors.librdkafka.source import LibrdkafkaSource
        from connectors.librdkafka.transactions import LibrdkafkaTransactions

        if isinstance(source, LibrdkafkaSource):
            return LibrdkafkaTransactions(source, forecasts, dead_letters)
    else:
        from connectors.kafka.source import KafkaSource
        from connectors.kafka.transactions import KafkaTransactions

        if isinstance(source, KafkaSource):
            return KafkaTransactions(source, forecasts, dead_letters)
    raise TypeError(f"{type(source).__name__} was not made by open_source with the client {client!r}")


def open_store(url: str, *, group: str, prefix: str = DEFAULT_PREFIX, is_made: bool = True) -> StateStore:
    """The state store of a URL, ready for its `open`.

    Args:
        url: redis://host:port/db, rediss://…, sqlite:///path or embedded:///path.
        group: the consumer group whose state it keeps.
        prefix: what its keys begin with.
        is_made: whether a file that is missing is made.
    Raises:
        AddressError: the URL is malformed or has an unknown scheme.
    """
    scheme = _scheme(url, STORES, "store")
    if scheme in ("sqlite", "embedded"):
        from connectors.embedded.store import SqliteStore

        return SqliteStore(_path(url), prefix, group, is_made=is_made)
    from connectors.redis.settings import RedisSettings
    from connectors.redis.store import RedisStore

    return RedisStore(RedisSettings(url, prefix, group))


def choose_kafka_client(client: str) -> str:
    """`python` or `librdkafka`; auto takes librdkafka where it is installed.

    Raises:
        AddressError: there is no such client.
        MissingExtraError: librdkafka was asked for and is not installed.
    """
    client = client.removeprefix("kafka-")
    if client not in KAFKA_CLIENTS:
        raise AddressError(f"kafka.client is {client!r}; wanted one of {', '.join(KAFKA_CLIENTS)}")
    is_installed = find_spec("confluent_kafka") is not None
    if client == "librdkafka" and not is_installed:
        raise MissingExtraError(
            "kafka.client is librdkafka, and confluent-kafka is not installed; "
            "run pip install 'stream-engine[librdkafka]', or set kafka.client to auto"
        )
    if client == "auto":
        return "librdkafka" if is_installed else "python"
    return client


def _kafka_settings(
    url: str, options: Mapping[str, OptionValue | None] | None, broker_timeout_s: float
) -> KafkaSettings:
    given = {name: value for name, value in (options or {}).items() if value is not None}
    return KafkaSettings.from_url(url, given).with_timeouts(broker_timeout_s)


def _scheme(url: str, known: tuple[str, ...], what: str) -> str:
    scheme, sign, _ = url.partition("://")
    if not sign:
        raise AddressError(f"a {what}'s URL begins with its kind, such as {known[-1]}://; known: {', '.join(known)}")
    if scheme not in known:
        raise AddressError(
            f"there is no {what} of the kind {scheme}://; known: {', '.join(known)}; {nearest_names(scheme, known)}"
        )
    return scheme


def _path(url: str) -> Path:
    """The path of file:///absolute or file://relative."""
    parts = urlsplit(url)
    path = unquote(parts.netloc + parts.path)
    if not path.strip("/"):
        raise AddressError(f"{parts.scheme}:// names no file; write {parts.scheme}:///path/to/file")
    return Path(path).expanduser()
