"""A Kafka and a Redis that want TLS and a password, on loopback; knows nothing of the engine.

The broker has a second, plain listener, through which the tests themselves make topics and look at them. One
self-signed certificate serves both; another, which nothing is signed by, stands for the wrong authority.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.support.kafka_server import KafkaServer
from tests.support.processes import ServerStartError, free_port, new_folder
from tests.support.redis_server import RedisServer

MECHANISMS = ("SCRAM-SHA-256", "PLAIN")
USER = "engine"
KAFKA_PASSWORD = "hush-kafka %40/1"
REDIS_PASSWORD = "hush-redis@:/2%"
POOR_USER = "poor"
"""A user who may do nothing in Kafka (known to PLAIN alone), and in Redis read and write, but run no scripts."""

_BROKER = """listeners=PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure_port},CONTROLLER://127.0.0.1:{control_port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL
controller.quorum.bootstrap.servers=127.0.0.1:{control_port}
sasl.enabled.mechanisms=SCRAM-SHA-256,PLAIN
ssl.keystore.type=PEM
ssl.keystore.location={key_store}
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}" user_{poor}="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{user}
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1, which is its own authority, and its key; PEM files."""

    certificate: Path
    key: Path

    @classmethod
    def made_in(cls, folder: Path, name: str) -> "Certificate":
        """A new one, made by openssl."""
        if shutil.which("openssl") is None:
            raise ServerStartError("the tests make certificates by openssl, which is missing; install it")
        made = cls(folder / f"{name}.pem", folder / f"{name}.key")
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        kind = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command = [*kind, "-keyout", str(made.key), "-out", str(made.certificate), *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerStartError(f"openssl made no certificate:\n{done.stderr}")
        return made


class SecureServers:
    """Both servers and what is needed to reach them; owned by one test session.

    Attributes:
        kafka: the broker; its own `servers` are the plain listener's.
        kafka_secure: "127.0.0.1:port" of the listener that wants TLS and a password.
        redis: the Redis, which listens by TLS alone.
        ca, wrong_ca: authorities to trust: the one that both servers' certificate is signed by, and another.
    """

    def __init__(self) -> None:
        self._folder = new_folder("secure")
        own, other = (Certificate.made_in(self._folder, name) for name in ("own", "other"))
        self.ca, self.wrong_ca = own.certificate, other.certificate
        self.kafka_secure = f"127.0.0.1:{free_port()}"
        self.kafka = KafkaServer(extra_properties=self._broker_properties, format_arguments=_scram_user())
        self._own = own
        port = free_port()
        self.redis = RedisServer(port, _redis_arguments(port, own))

    def _broker_properties(self, port: int, control_port: int) -> str:
        key_store = self._folder / "store.pem"
        key_store.write_text(self._own.key.read_text() + self._own.certificate.read_text())
        return _BROKER.format(
            port=port,
            secure_port=self.kafka_secure.rpartition(":")[2],
            control_port=control_port,
            key_store=key_store,
            user=USER,
            poor=POOR_USER,
            password=KAFKA_PASSWORD,
        )

    def start(self) -> "SecureServers":
        """Start both and wait until they serve."""
        self.redis.start()
        self.kafka.start()
        return self

    def kafka_options(self, mechanism: str = "SCRAM-SHA-256", **changes: str) -> dict[str, str]:
        """What stands under kafka.options; changes have __ for dots."""
        options = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            "sasl.username": USER,
            "sasl.password": KAFKA_PASSWORD,
            "ssl.ca.location": str(self.ca),
        }
        return options | {name.replace("__", "."): value for name, value in changes.items()}

    def redis_url(self, user: str = USER, password: str = REDIS_PASSWORD, ca: Path | None = None) -> str:
        """The address of the Redis, for a user."""
        where = f"{user}:{quote(password, safe='')}@127.0.0.1:{self.redis.port}/0"
        return f"rediss://{where}?ssl_ca_certs={ca or self.ca}"

    def close(self) -> None:
        """End both and remove their folders."""
        self.kafka.close()
        self.redis.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _scram_user() -> list[str]:
    return ["--add-scram", f'SCRAM-SHA-256=[name={USER},password="{KAFKA_PASSWORD}"]']


def _redis_arguments(port: int, own: Certificate) -> list[str]:
    tls = ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file"]
    files = [str(own.certificate), "--tls-cert-file", str(own.certificate), "--tls-key-file", str(own.key)]
    rights = ["~{stream-engine:*", "+@read", "+@write", "+@connection", "+info"]  # what docs/configuration.md asks for
    users = ["--user", USER, "on", f">{REDIS_PASSWORD}", *rights, "+@scripting"]
    poor = ["--user", POOR_USER, "on", f">{REDIS_PASSWORD}", *rights, "-@scripting"]
    return [*tls, *files, *users, *poor, "--user", "default", "off"]
