"""Each client through TLS and a password on real servers: it works, or one clear sentence says why not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.contracts import Sink, Source
from connectors.errors import AddressError, ConnectorConfigError, ServerUnavailableError
from connectors.records import Partition, SinkRecord, StateWrite
from connectors.redis.settings import RedisSettings
from connectors.registry import open_sink, open_source, open_store
from tests.contract.reading import Reader, opened, seek_all, until_assigned
from tests.support import leaks
from tests.support.secure_servers import KAFKA_PASSWORD, MECHANISMS, POOR_USER, REDIS_PASSWORD, SecureServers
from tests.support.topics import create_topic

pytestmark = pytest.mark.servers

OPEN_S = 20.0
WRONG = "hush-wrong"


@pytest.fixture(params=["python", "librdkafka"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def topic(secure: SecureServers, new_name: Callable[[], str]) -> str:
    return create_topic(secure.kafka.servers, new_name(), 2)


def source_of(servers: str, topic: str, client: str, options: dict[str, str]) -> Source:
    return open_source(f"kafka://{servers}/{topic}?group={topic}", client=client, options=options)


def refusal(part: Source | Sink, timeout_s: float = OPEN_S) -> Exception:
    """The error of an open that fails, which leaves nothing and tells no secret."""
    with leaks.no_leaks():
        with pytest.raises((ConnectorConfigError, ServerUnavailableError)) as caught:
            part.open(lambda gone: None, timeout_s) if isinstance(part, Source) else part.open(1, timeout_s)
        part.close()
    chain: list[BaseException] = []
    error: BaseException | None = caught.value
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    told = " ".join(f"{one} {one!r}" for one in chain) + repr(part.__dict__)
    assert not any(secret in told for secret in (KAFKA_PASSWORD, REDIS_PASSWORD, WRONG))
    return caught.value


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_topic_is_written_read_and_committed(secure: SecureServers, client: str, mechanism: str, topic: str):
    options = secure.kafka_options(mechanism)
    sink = open_sink(f"kafka://{secure.kafka_secure}/{topic}", client=client, options=options)
    try:
        sink.open(2, OPEN_S)
        sink.write([SinkRecord(b"k%d" % row, b"%d" % row) for row in range(100)])
        sink.flush(OPEN_S)
    finally:
        sink.close()
    for committed in (None, 7):
        with opened(source_of(secure.kafka_secure, topic, client, options)) as source:
            mine = until_assigned(source, 2)
            assert source.committed(mine) == dict.fromkeys(mine, committed)
            seek_all(source, mine)
            reader = Reader(source).until(100)
            assert {value for read in reader.read.values() for value in read.values()} == {
                b"%d" % row for row in range(100)
            }
            source.commit(dict.fromkeys(mine, 7))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_wrong_password_is_refused_at_once(secure: SecureServers, client: str, mechanism: str, topic: str):
    options = secure.kafka_options(mechanism, sasl__password=WRONG)
    for _ in range(3):
        error = refusal(source_of(secure.kafka_secure, topic, client, options), 60.0)
        assert isinstance(error, ConnectorConfigError)
        assert "refused us" in str(error)
        assert "uthentication" in str(error)
    sink = open_sink(f"kafka://{secure.kafka_secure}/{topic}", client=client, options=options)
    assert isinstance(refusal(sink, 60.0), ConnectorConfigError)


def test_an_authority_that_did_not_sign_is_refused_at_once(secure: SecureServers, client: str, topic: str):
    options = secure.kafka_options(ssl__ca__location=str(secure.wrong_ca))
    error = refusal(source_of(secure.kafka_secure, topic, client, options), 60.0)
    assert isinstance(error, ConnectorConfigError)
    assert "certificate verify failed" in str(error)


def test_a_mechanism_that_the_broker_does_not_have_is_refused_at_once(secure: SecureServers, client: str, topic: str):
    options = secure.kafka_options("SCRAM-SHA-512")
    error = refusal(source_of(secure.kafka_secure, topic, client, options), 60.0)
    assert isinstance(error, ConnectorConfigError)
    assert "refused us" in str(error)


def test_a_user_without_rights_is_told_so(secure: SecureServers, client: str, topic: str):
    options = secure.kafka_options("PLAIN", sasl__username=POOR_USER)
    error = refusal(source_of(secure.kafka_secure, topic, client, options))
    assert isinstance(error, ConnectorConfigError)
    assert "this user may not see it" in str(error)
    error = refusal(open_sink(f"kafka://{secure.kafka_secure}/{topic}", client=client, options=options))
    assert isinstance(error, ConnectorConfigError)
    assert "it may not create the topic" in str(error)


def test_a_client_and_a_listener_of_different_kinds_name_the_setting(secure: SecureServers, client: str, topic: str):
    for servers, options in ((secure.kafka_secure, {}), (secure.kafka.servers, secure.kafka_options())):
        error = refusal(source_of(servers, topic, client, options), 2.0)
        assert isinstance(error, ServerUnavailableError)
        assert f"security.protocol is {options.get('security.protocol', 'PLAINTEXT')}" in str(error)


def store_of(url: str, new_name: Callable[[], str]) -> None:
    """Open, take, write and read one partition."""
    store = open_store(url, group=new_name())
    partition = Partition("readings", 0)
    try:
        store.open(2.0)
        store.save(partition, store.acquire(partition).epoch, StateWrite(b"meta", {1: b"a"}))
        assert store.load(partition, [1]) == [b"a"]
        assert store.warnings() == []
    finally:
        store.close()


def test_a_store_behind_tls_keeps_state_for_a_user(secure: SecureServers, new_name: Callable[[], str]):
    store_of(secure.redis_url(), new_name)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wrong password", "refused us .AuthenticationError.; check user and password"),
        ("unknown user", "refused us .AuthenticationError.; check user and password"),
        ("no user", "refused us .AuthenticationError.; check user and password"),
        ("missing right", "refused us .*'evalsha' command.*ACL"),
        ("wrong authority", "certificate is not signed by an authority that is trusted here"),
        ("no authority", "certificate is not signed by an authority that is trusted here"),
        ("missing file", "'/nowhere/ca.pem' as ssl_ca_certs, which cannot be read"),
        ("option of TLS", "ssl_ca_certs, which is for TLS; write rediss://"),
    ],
)
def test_a_store_that_refuses_us_says_why(secure: SecureServers, new_name: Callable[[], str], kind: str, says: str):
    url = {
        "wrong password": secure.redis_url(password=WRONG),
        "unknown user": secure.redis_url(user="nobody"),
        "no user": f"rediss://127.0.0.1:{secure.redis.port}/0?ssl_ca_certs={secure.ca}",
        "missing right": secure.redis_url(user=POOR_USER),
        "wrong authority": secure.redis_url(ca=secure.wrong_ca),
        "no authority": secure.redis_url().partition("?")[0],
        "missing file": secure.redis_url(ca=Path("/nowhere/ca.pem")),
        "option of TLS": secure.redis_url().replace("rediss", "redis"),
    }[kind]
    with leaks.no_leaks(), pytest.raises(ConnectorConfigError, match=says) as caught:
        store_of(url, new_name)
    assert "hush" not in f"{caught.value} {caught.value!r}"


def test_a_store_of_the_other_kind_names_the_scheme(secure: SecureServers, new_name: Callable[[], str]):
    plain = secure.redis_url().replace("rediss", "redis").partition("?")[0]
    with pytest.raises(ServerUnavailableError, match="rediss:// if it wants TLS") as caught:
        store_of(plain, new_name)
    assert "hush" not in f"{caught.value} {RedisSettings(plain, 'p', 'g')!r}"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"security.protocol": "SASL_TLS"}, "'SASL_TLS'; wanted one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ({"security.protocol": "SSL"}, "security.protocol is SSL, which sends none"),
        ({"security.protocol": None}, "security.protocol is PLAINTEXT, which sends none"),
        ({"sasl.password": None}, "set sasl.username and sasl.password"),
        ({"sasl.mechanism": None}, "no sasl.mechanism"),
        ({"ssl.ca.location": "/nowhere/ca.pem"}, "'/nowhere/ca.pem' as ssl.ca.location, which cannot be read"),
    ],
)
def test_options_that_cannot_work_are_refused_before_a_broker_is_asked(
    client: str, changes: dict[str, str | None], says: str
):
    options = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": WRONG}
    given = {name: value for name, value in {**options, **changes}.items() if value is not None}
    with pytest.raises(AddressError, match=says) as caught:
        source_of("127.0.0.1:1", "t", client, given).open(lambda gone: None, OPEN_S)
    assert WRONG not in str(caught.value)
