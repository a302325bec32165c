"""Sockets for kafka-python that are closed when a connection does not come about; I know nothing of Kafka.

kafka-python 3.0 forgets the socket of every failed attempt: while a broker is away they pile up until the garbage
collector finds them. It takes another way to connect from the scheme of its option `proxy_url`; this is one.
"""

from typing import Any

from kafka.net.inet import KafkaNetSocket

DIRECT = "direct://"


class DirectSocket(KafkaNetSocket):  # type: ignore[misc]
    """A plain connection without a proxy."""

    SCHEMES = ("direct",)

    async def connect(self, net: Any, addrinfo: Any, socket_options: Any = (), timeout_at: float | None = None) -> Any:
        """A connected socket; one that is not connected, whatever the reason, is closed."""
        family, kind, protocol, _, address = addrinfo
        sock = self.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            for option in socket_options:
                sock.setsockopt(*option)
            return await self.sock_connect(net, sock, address, timeout_at=timeout_at)
        except BaseException:
            sock.close()
            raise
