"""A double of a schema registry's HTTP interface on a real socket: ids, subjects, versions, compatibility, its errors.

Faithful to the interface as documented for Confluent's registry, as far as clients of messages use it; of the
compatibility modes it knows BACKWARD (the default) and NONE, and of BACKWARD that a field is taken away or added with
a default. It knows nothing of the engine; confluent-kafka's own client is its second opinion.
"""

import base64
import json
import re
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import fastavro

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
TYPES = ("JSON", "AVRO", "PROTOBUF")


class RegistryError(Exception):
    """An answer that is an error; `status` is the first three digits of the code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = int(str(code)[:3])


@dataclass(frozen=True)
class Registered:
    """One schema and what it refers to."""

    kind: str
    text: str
    references: tuple[tuple[str, str, int], ...] = ()

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = {"schema": self.text}
        if self.kind != "AVRO":
            found["schemaType"] = self.kind
        if self.references:
            found["references"] = [
                dict(zip(("name", "subject", "version"), one, strict=True)) for one in self.references
            ]
        return found


@dataclass
class Registry:
    """What a registry holds."""

    schemas: list[Registered] = field(default_factory=list)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    compatibility: dict[str, str] = field(default_factory=dict)

    def of_id(self, number: int) -> Registered:
        if not 1 <= number <= len(self.schemas):
            raise RegistryError(40403, f"Schema {number} not found")
        return self.schemas[number - 1]

    def versions(self, subject: str) -> list[int]:
        if subject not in self.subjects:
            raise RegistryError(40401, f"Subject '{subject}' not found.")
        return self.subjects[subject]

    def version(self, subject: str, version: str) -> dict[str, Any]:
        ids = self.versions(subject)
        number = len(ids) if version in ("latest", "-1") else int(version)
        if not 1 <= number <= len(ids):
            raise RegistryError(40402, f"Version {version} not found.")
        found = self.of_id(ids[number - 1])
        return {"subject": subject, "version": number, "id": ids[number - 1], **found.told()}

    def register(self, subject: str, schema: Registered) -> int:
        self.check(schema)
        ids = self.subjects.get(subject, [])
        for number in ids:
            if self.schemas[number - 1] == schema:
                return number
        if ids and not self.is_compatible(subject, schema, self.schemas[ids[-1] - 1]):
            raise RegistryError(409, f"Schema being registered is incompatible with an earlier schema for {subject!r}")
        if schema not in self.schemas:
            self.schemas.append(schema)
        number = self.schemas.index(schema) + 1
        self.subjects[subject] = [*ids, number]
        return number

    def find(self, subject: str, schema: Registered) -> dict[str, Any]:
        for version, number in enumerate(self.versions(subject), 1):
            if self.schemas[number - 1] == schema:
                return {"subject": subject, "version": version, "id": number, **schema.told()}
        raise RegistryError(40403, "Schema not found")

    def check(self, schema: Registered) -> None:
        """Refuse a schema that is none."""
        try:
            content = json.loads(schema.text)
            if schema.kind == "AVRO":
                names: dict[str, Any] = {}
                self._learn(schema, names)
                fastavro.parse_schema(content, names)
        except RegistryError:
            raise
        except Exception as error:
            raise RegistryError(42201, f"Invalid schema {schema.text}, details: {error}") from error

    def _learn(self, schema: Registered, names: dict[str, Any]) -> None:
        for name, subject, version in schema.references:
            if name not in names:
                inner = self.of_id(self.version(subject, str(version))["id"])
                self._learn(inner, names)
                fastavro.parse_schema(json.loads(inner.text), names)

    def is_compatible(self, subject: str, new: Registered, old: Registered) -> bool:
        """Whether what was written by the old schema can be read by the new one."""
        if self.compatibility.get(subject, "BACKWARD") == "NONE":
            return True
        if new.kind != old.kind:
            return False
        before, after = _fields(old), _fields(new)
        return all(
            (name in before and before[name][0] == kind) or (name not in before and is_optional)
            for name, (kind, is_optional) in after.items()
        )


def _fields(schema: Registered) -> dict[str, tuple[str, bool]]:
    """Each field's type, and whether it may be missing."""
    content = json.loads(schema.text)
    if schema.kind == "AVRO":
        found = content.get("fields", []) if isinstance(content, dict) else []
        return {one["name"]: (json.dumps(one["type"]), "default" in one) for one in found}
    required = content.get("required", [])
    return {name: (json.dumps(kind), name not in required) for name, kind in content.get("properties", {}).items()}


class RegistryServer:
    """A registry on loopback; owned by one test.

    Args:
        user: (name, password) that every request must bring, or None.
        tls: (certificate, key) files, or None for plain HTTP.
    Attributes:
        registry: what it holds.
        asked: how often each "METHOD path" was asked for.
        fault: status and body that every request gets instead of an answer, or None.
    """

    def __init__(self, user: tuple[str, str] | None = None, tls: tuple[str, str] | None = None) -> None:
        self.registry = Registry()
        self.asked: Counter[str] = Counter()
        self.fault: tuple[int, bytes] | None = None
        self._user, self._tls = user, tls
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0

    def start(self) -> "RegistryServer":
        """Listen, on the same port as before."""
        server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self))
        server.daemon_threads = False
        if self._tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self._port = server.server_address[1]
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening; what it holds stays."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = self._thread = None

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """Its URL, without user and password."""
        return f"{'http' if self._tls is None else 'https'}://{self.address}"

    def answer(self, method: str, path: str, body: dict[str, Any], authorization: str | None) -> Any:
        """The answer to one request.

        Raises:
            RegistryError: it is an error.
        """
        self.asked[f"{method} {path}"] += 1
        if self._user is not None:
            wanted = "Basic " + base64.b64encode(":".join(self._user).encode()).decode()
            if authorization != wanted:
                raise RegistryError(40101, "Unauthorized")
        for (verb, pattern), action in _ROUTES.items():
            match = re.fullmatch(pattern, path)
            if match and verb == method:
                return action(self.registry, *map(unquote, match.groups()), *([body] if verb == "POST" else []))
        raise RegistryError(404, "HTTP 404 Not Found")


def _schema_of(body: dict[str, Any]) -> Registered:
    if not isinstance(body.get("schema"), str):
        raise RegistryError(42201, "Empty schema")
    references = tuple((one["name"], one["subject"], one["version"]) for one in body.get("references") or ())
    return Registered(body.get("schemaType") or "AVRO", body["schema"], references)


def _compatibility(registry: Registry, subject: str, version: str, body: dict[str, Any]) -> dict[str, bool]:
    new = _schema_of(body)
    registry.check(new)
    old = registry.of_id(registry.version(subject, version)["id"])
    return {"is_compatible": registry.is_compatible(subject, new, old)}


_ROUTES: dict[tuple[str, str], Any] = {
    ("GET", "/schemas/types"): lambda registry: list(TYPES),
    ("GET", r"/schemas/ids/(\d+)"): lambda registry, number: registry.of_id(int(number)).told(),
    ("GET", "/subjects"): lambda registry: sorted(registry.subjects),
    ("POST", "/subjects/([^/]+)"): lambda registry, subject, body: registry.find(subject, _schema_of(body)),
    ("GET", "/subjects/([^/]+)/versions"): lambda registry, subject: list(
        range(1, len(registry.versions(subject)) + 1)
    ),
    ("POST", "/subjects/([^/]+)/versions"): lambda registry, subject, body: {
        "id": registry.register(subject, _schema_of(body))
    },
    ("GET", "/subjects/([^/]+)/versions/([^/]+)"): lambda registry, subject, version: registry.version(
        subject, version
    ),
    ("POST", "/compatibility/subjects/([^/]+)/versions/([^/]+)"): _compatibility,
}


def _handler(server: RegistryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if server.fault is not None:
                self._send(*server.fault, kind="text/html")
                return
            try:
                body = json.loads(content) if content else {}
                path = urlsplit(self.path).path
                answer = server.answer(self.command, path, body, self.headers.get("Authorization"))
                self._send(200, json.dumps(answer).encode())
            except RegistryError as error:
                told = {"error_code": error.code, "message": str(error)}
                self._send(error.status, json.dumps(told).encode())

        def _send(self, status: int, body: bytes, kind: str = CONTENT_TYPE) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def running(user: tuple[str, str] | None = None, tls: tuple[str, str] | None = None) -> Iterator[RegistryServer]:
    """A registry that listens, and is gone afterwards."""
    server = RegistryServer(user, tls).start()
    try:
        yield server
    finally:
        server.stop()
