"""The registry's client: every answer means one thing, and no password is told."""

import json
import threading
import time
from collections.abc import Iterator

import pytest

from connectors.errors import AddressError, ConnectorConfigError, ServerUnavailableError
from connectors.schema_registry.client import SchemaRefusedError, SchemaRegistry
from connectors.schema_registry.settings import RegistrySettings
from tests.support.processes import new_folder
from tests.support.registry_server import Registered, RegistryServer, running
from tests.support.secure_servers import Certificate

USER = ("engine", "hush @:/%")
QUOTED = "engine:hush%20%40%3A%2F%25"
READING = json.dumps({"type": "record", "name": "Reading", "fields": [{"name": "value", "type": "double"}]})
WAIT_S = 5.0


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with running() as started:
        yield started


def client(server: RegistryServer, timeout_s: float = 0.3, url: str | None = None, **more: str) -> SchemaRegistry:
    return SchemaRegistry(RegistrySettings(url or server.url, timeout_s=timeout_s, request_s=0.5, **more))


def test_what_is_registered_is_found_by_its_id_with_all_it_refers_to(server: RegistryServer) -> None:
    inner = Registered("AVRO", json.dumps({"type": "fixed", "size": 2, "name": "Inner"}))
    outer = Registered(
        "AVRO",
        json.dumps({"type": "record", "name": "Outer", "fields": [{"name": "x", "type": "Inner"}]}),
        (("Inner", "in/ner", 1),),
    )
    server.registry.register("in/ner", inner)
    server.registry.register("outer", outer)
    number = server.registry.register(
        "top", Registered("AVRO", READING, (("Outer", "outer", 1), ("Inner", "in/ner", 1)))
    )
    found = client(server).schema(number)
    assert found is not None
    assert (found.kind, found.text) == ("AVRO", READING)
    assert found.references == (("Inner", inner.text), ("Outer", outer.text))


def test_a_schema_is_registered_once_and_an_incompatible_one_is_refused(server: RegistryServer) -> None:
    registry = client(server)
    assert registry.is_compatible("t-value", "AVRO", READING, WAIT_S) is None
    number = registry.register("t-value", "AVRO", READING, WAIT_S)
    assert registry.register("t-value", "AVRO", READING, WAIT_S) == number
    assert registry.register("other-value", "AVRO", READING, WAIT_S) == number
    text = READING.replace("double", "string")
    assert registry.is_compatible("t-value", "AVRO", READING, WAIT_S) is True
    assert registry.is_compatible("t-value", "AVRO", text, WAIT_S) is False
    with pytest.raises(SchemaRefusedError, match=r"t-value/versions: .*incompatible.* \(error 409\)"):
        registry.register("t-value", "AVRO", text, WAIT_S)
    with pytest.raises(SchemaRefusedError, match=r"error 42201"):
        registry.register("t-value", "AVRO", '{"type": "nonsense"}', WAIT_S)
    assert server.registry.subjects["t-value"] == [number]


def test_only_the_registry_itself_can_say_that_it_does_not_know_an_id(server: RegistryServer) -> None:
    registry = client(server)
    assert registry.schema(7) is None
    for status, body in [
        (404, b"<html>default backend - 404</html>"),
        (404, b'{"error_code": 404, "message": "HTTP 404 Not Found"}'),
        (200, b"<html>please log in</html>"),
        (200, b"{}"),
        (500, b'{"error_code": 50001, "message": "Error in the backend data store"}'),
        (503, b""),
        (429, b"slow down"),
        (302, b""),
    ]:
        server.fault = (status, body)
        with pytest.raises(ServerUnavailableError, match="no schema registry answered at"):
            registry.schema(7)


def test_a_registry_that_is_away_is_waited_for_until_the_deadline(server: RegistryServer) -> None:
    number = server.registry.register("t-value", Registered("AVRO", READING))
    server.stop()
    started_s = time.monotonic()
    with pytest.raises(ServerUnavailableError, match="refused"):
        client(server, timeout_s=1.0).schema(number)
    assert 0.9 < time.monotonic() - started_s < 5
    back = threading.Timer(0.4, server.start)
    back.start()
    found = client(server, timeout_s=20).schema(number)
    back.join()
    assert found is not None
    assert found.text == READING


def test_a_user_and_a_password_are_sent_and_never_told() -> None:
    with running(user=USER) as server:
        url = f"http://{QUOTED}@{server.address}"
        client(server, url=url).check(WAIT_S)
        settings = RegistrySettings(url)
        assert "hush" not in repr(settings) + settings.address
        for wrong in (server.url, f"http://engine:hush-wrong@{server.address}/"):
            with pytest.raises(ConnectorConfigError, match=r"refused us \(status 401\)") as caught:
                client(server, url=wrong).check(WAIT_S)
            assert "hush" not in str(caught.value)


def test_tls_wants_an_authority_that_is_trusted() -> None:
    folder = new_folder("registry")
    own, other = (Certificate.made_in(folder, name) for name in ("own", "other"))
    with running(tls=(str(own.certificate), str(own.key))) as server:
        client(server, ca_file=str(own.certificate)).check(WAIT_S)
        for wrong in ({"ca_file": str(other.certificate)}, {}):
            with pytest.raises(ConnectorConfigError, match=r"certificate verify failed .*set registry.ca_file"):
                client(server, **wrong).check(WAIT_S)
        with pytest.raises(ServerUnavailableError):
            client(server, url=f"http://{server.address}").check(0.2)


def test_what_can_never_work_is_refused_before_anything_is_asked() -> None:
    folder = new_folder("registry")
    own = Certificate.made_in(folder, "own")
    for url, more, sentence in [
        ("ftp://host", {}, "not of the form"),
        ("http://", {}, "not of the form"),
        ("http://engine:hush@host?x=1", {}, "not of the form"),
        ("http://host", {"ca_file": str(own.certificate)}, "write https://"),
        ("https://host", {"ca_file": "nowhere.pem"}, "cannot be read"),
        ("https://host", {"key_file": str(own.key)}, "set both"),
        ("https://host", {"ca_file": str(own.key)}, "no certificate"),
    ]:
        with pytest.raises(AddressError, match=sentence) as caught:
            SchemaRegistry(RegistrySettings(url, **more))
        assert "hush" not in str(caught.value)
