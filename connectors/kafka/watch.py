"""Hears why kafka-python's connections fail: the library tries again for ever, whatever the broker has answered.

I know nothing of records. A refusal (credentials, certificate) that comes while a client starts ends that start at
once; what was last heard otherwise says more than the library's own "unable to bootstrap". Three faults of
kafka-python 3.0 are mended here: where a broker answers (a wrong password) and hangs up in one breath, the answer is
thrown away unread; a socket whose TLS handshake fails is left open; and so is one that has something left to send
when its client closes.
"""

import re
import ssl
from typing import Any
from weakref import WeakSet

from kafka import errors as faults
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import create_connection
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport

_SAID_NO = (
    faults.SaslAuthenticationFailedError,
    faults.UnsupportedSaslMechanismError,
    faults.IllegalSaslStateError,
    faults.AuthorizationError,
)


class _Client(KafkaNetClient):  # type: ignore[misc]
    """The library's network client; no socket outlives it, also where something was still to be sent."""

    def __init__(self, **configs: Any) -> None:
        super().__init__(**configs)
        self._transports: WeakSet[Any] = WeakSet()
        self._manager._build_transport = self._transport

    async def _transport(self, node: Any, timeout_at: float | None = None) -> Any:
        transport = await _transport(self._manager, node, timeout_at)
        self._transports.add(transport)
        return transport

    def close(self, node_id: Any = None) -> None:
        super().close(node_id)
        for transport in () if node_id is not None else list(self._transports):
            left, transport._sock = transport._sock, None
            if left is not None:
                left.close()


class Watch:
    """Listens to the connections of one client while it is made.

    Attributes:
        refusal: why a broker or its certificate was refused, or None.
        last: the last failure of a connection, or None.
    """

    def __init__(self) -> None:
        self.refusal: Exception | None = None
        self.last: Exception | None = None
        self._clients: list[KafkaNetClient] = []
        self._known: WeakSet[Any] = WeakSet()
        self._is_over = False

    def client(self, **configs: Any) -> KafkaNetClient:
        """The library's network client, listened to."""
        client = _Client(**configs)
        self._clients.append(client)
        manager = client._manager
        manager.cluster.config["allow_auto_create_topics"] = False  # the library forgets to hand this option on
        connect = manager.get_connection

        def watched(*arguments: Any, **more: Any) -> Any:
            connection = connect(*arguments, **more)
            if not self._is_over and connection not in self._known:
                self._known.add(connection)
                self._listen(connection, manager)
            return connection

        manager.get_connection = watched
        return client

    def _listen(self, connection: Any, manager: Any) -> None:
        close = connection.close

        def noted(error: Exception | None = None) -> None:
            self._note(error, manager)
            close(error)

        connection.close = noted
        connection.init_future.add_errback(lambda error: self._note(error, manager))

    def _note(self, error: Exception | None, manager: Any) -> None:
        """On the library's network thread."""
        if error is None or self._is_over or manager.closed:
            return
        if self._is_refusal(error):
            self.refusal = error
            manager.call_soon(manager.close)  # ends the start that would try again until its deadline
        elif str(error):
            self.last = error

    @staticmethod
    def _is_refusal(error: Exception) -> bool:
        return isinstance(error, _SAID_NO) or isinstance(error.__cause__, ssl.SSLCertVerificationError)

    def started(self) -> None:
        """The client has reached a broker: from now on its own patience decides."""
        self._is_over = True

    def close(self) -> None:
        """End the clients of a start that has failed."""
        self._is_over = True
        for client in self._clients:
            client.close()


def said(error: Exception) -> str:
    """What a failure says, without the names of the library's classes."""
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.__cause__.verify_message}"
    text = str(error.args[0]) if error.args else type(error).__name__
    return re.sub(r"^(\w+Error: )+", "", text)


async def _transport(manager: Any, node: Any, timeout_at: float | None = None) -> Any:
    """A connected transport, as the library's manager builds it; closed where its handshake fails (there it is not)."""
    config = manager.config
    socket = await create_connection(
        manager._net,
        node.host,
        node.port,
        config["socket_options"],
        proxy_url=config["proxy_url"],
        timeout_at=timeout_at,
    )
    kind = KafkaSSLTransport if manager.ssl_enabled else KafkaTCPTransport
    secrets = {name: value for name, value in config.items() if name.startswith("ssl_")} if manager.ssl_enabled else {}
    transport = kind(manager._net, socket, host=node.host, **secrets)
    try:
        await transport.handshake()
    except BaseException as error:
        transport.abort()
        if isinstance(error, ssl.SSLError | OSError):
            raise faults.KafkaConnectionError(f"TLS handshake failed: {error}") from error
        raise
    _end_after_the_last_data(transport)
    return transport


def _end_after_the_last_data(transport: Any) -> None:
    """Let a transport hand on what it has read before it tells of the end that was read with it."""
    receive = transport._sock_recv
    ends: list[Exception] = []

    def one_by_one() -> tuple[bytes, Exception | None]:
        if ends:
            return b"", ends.pop()
        data, end = receive()
        if data and end is not None:
            ends.append(end)
            return data, None
        return data, end

    transport._sock_recv = one_by_one
