"""The tests' own proxy: what passes, what is held back, what is reset."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.proxy import Proxy


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it hears, until the connection ends."""

    def handle(self) -> None:
        with suppress(ConnectionResetError):
            while some := self.request.recv(1 << 16):
                self.request.sendall(some)


@pytest.fixture
def proxy(no_leaks: None) -> Iterator[Proxy]:
    """A way to an echo."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        proxy = Proxy(server.server_address[1]).start()
        try:
            yield proxy
        finally:
            proxy.close()
            server.shutdown()
            thread.join()


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def heard(client: socket.socket, num_bytes: int) -> bytes:
    found = b""
    while len(found) < num_bytes:
        some = client.recv(num_bytes - len(found))
        assert some
        found += some
    return found


def test_what_is_sent_comes_back_however_much(proxy):
    sent = bytes(range(256)) * 20_000
    with connect(proxy) as client:
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        assert heard(client, len(sent)) == sent
        sender.join()


def test_a_pause_holds_bytes_back_and_loses_none(proxy):
    with connect(proxy) as client:
        client.sendall(b"one")
        assert heard(client, 3) == b"one"
        proxy.pause()
        client.sendall(b"two")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        with connect(proxy) as another:
            another.sendall(b"three")
            proxy.mend()
            assert heard(another, 5) == b"three"
        client.settimeout(5)
        assert heard(client, 3) == b"two"


def test_a_cut_resets_connections_and_refuses_new_ones_until_it_is_mended(proxy):
    with connect(proxy) as client:
        client.sendall(b"one")
        assert heard(client, 3) == b"one"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.mend()
    with connect(proxy) as client:
        client.sendall(b"two")
        assert heard(client, 3) == b"two"


def test_an_end_passes_in_both_directions(proxy):
    with connect(proxy) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_a_server_that_is_not_there_is_a_connection_that_ends(no_leaks):
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[1]
    proxy = Proxy(nobody).start()
    try:
        with connect(proxy) as client:
            assert client.recv(1) == b""
    finally:
        proxy.close()
