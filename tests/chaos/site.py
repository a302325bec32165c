"""The servers of one run and the ways to them: each place of the fleet has lines of its own, which may break.

A worker that is cut off from Kafka may so still reach Redis, and the other way round, while its neighbours reach both.
Kafka tells its clients where to connect, so each line is a listener of its own that advertises the line's proxy.
"""

from dataclasses import dataclass

from tests.support.kafka_server import KafkaServer
from tests.support.processes import free_port
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

NUM_LINES = 4

_LISTENERS = """listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{control_port},{bound}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},{advertised}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,{protocols}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """What stands between a worker and each of its servers."""

    kafka: Proxy
    redis: Proxy

    @property
    def kafka_servers(self) -> str:
        """The broker's address by this line."""
        return f"127.0.0.1:{self.kafka.port}"

    @property
    def redis_url(self) -> str:
        """The store's address by this line."""
        return f"redis://127.0.0.1:{self.redis.port}/0"


class Site:
    """A broker, a Redis, and lines to them; owned by one test, from `start` to `close`.

    Attributes:
        kafka, redis: the servers; their own addresses lead past the lines.
        lines: one for each place; all let pass.
    """

    def __init__(self) -> None:
        self._ports = [free_port() for _ in range(NUM_LINES)]
        self.kafka = KafkaServer(extra_properties=self._listeners)
        self.redis = RedisServer()
        self.lines = [Line(Proxy(port), Proxy(self.redis.port)) for port in self._ports]

    def _listeners(self, port: int, control_port: int) -> str:
        names = [f"LINE{number}" for number in range(NUM_LINES)]
        return _LISTENERS.format(
            port=port,
            control_port=control_port,
            bound=",".join(f"{name}://127.0.0.1:{own}" for name, own in zip(names, self._ports, strict=True)),
            advertised=",".join(f"{name}://{line.kafka_servers}" for name, line in zip(names, self.lines, strict=True)),
            protocols=",".join(f"{name}:PLAINTEXT" for name in names),
        )

    def start(self) -> "Site":
        """Start all and wait until the servers serve."""
        for line in self.lines:
            line.kafka.start()
            line.redis.start()
        self.redis.start()
        self.kafka.start()
        return self

    def close(self) -> None:
        """End all."""
        self.kafka.close()
        self.redis.close()
        for line in self.lines:
            line.kafka.close()
            line.redis.close()
