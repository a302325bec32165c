"""The fixtures every test may ask for; `tests/conftest.py` makes them known to pytest.

kafka_servers   "127.0.0.1:port" of one real broker for the whole session
redis_url       "redis://127.0.0.1:port/0" of one real Redis for the whole session
new_topic       a function: creates a topic of that broker (num_partitions) and returns its name
new_name        a function: a fresh name, for topics, groups and prefixes
own_kafka       a broker a test may kill, freeze and restart; running again for the next test
own_redis       a Redis of this test alone
secure          a broker and a Redis that want TLS and a password, for the whole session
no_leaks        fails the test if it leaves a thread, socket or file behind
"""

from collections.abc import Callable, Iterator

import pytest

from tests.support import leaks, topics
from tests.support.kafka_server import KafkaServer
from tests.support.redis_server import RedisServer
from tests.support.secure_servers import SecureServers

NewTopic = Callable[..., str]


@pytest.fixture(scope="session")
def kafka_servers() -> Iterator[str]:
    """The address of one real broker for the whole session."""
    server = KafkaServer()
    try:
        yield server.start().servers
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of one real Redis for the whole session; use fresh prefixes, never flush it."""
    server = RedisServer()
    try:
        yield server.start().url
    finally:
        server.close()


@pytest.fixture
def new_name(request: pytest.FixtureRequest) -> Callable[[], str]:
    """A function that gives fresh names."""
    return topics.topic_namer(request.node.originalname or request.node.name)


@pytest.fixture
def new_topic(kafka_servers: str, new_name: Callable[[], str]) -> NewTopic:
    """A function that creates a topic of the session's broker and returns its name."""

    def create(num_partitions: int = 1, config: dict[str, str] | None = None) -> str:
        return topics.create_topic(kafka_servers, new_name(), num_partitions, config)

    return create


@pytest.fixture(scope="session")
def _killable_kafka() -> Iterator[KafkaServer]:
    server = KafkaServer()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def own_kafka(_killable_kafka: KafkaServer) -> Iterator[KafkaServer]:
    """A running broker apart from the session's, which a test may kill, freeze and restart."""
    if not _killable_kafka.is_running:
        _killable_kafka.start()
    yield _killable_kafka
    _killable_kafka.resume()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A running Redis of this test alone."""
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="session")
def secure() -> Iterator[SecureServers]:
    """Servers that want TLS and a password, for the whole session; use fresh topics, groups and prefixes."""
    servers = SecureServers()
    try:
        yield servers.start()
    finally:
        servers.close()


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fail the test if it leaves a thread, socket or file behind; ask for it after the servers' fixtures."""
    with leaks.no_leaks():
        yield
