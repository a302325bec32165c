"""Asks a schema registry by its HTTP interface: a schema by its id, an id for a schema.

I know texts and numbers; nothing of what a schema says, nor of the messages written by it. What is not the answer of
a registry (no connection, an error of the server, a page of some proxy) counts as a registry that is away: it is asked
again until the deadline, and then ServerUnavailableError. Only a registry that itself says so does not know a schema.
"""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import quote

from connectors.errors import AddressError, ConnectorConfigError, ServerUnavailableError
from connectors.retry import Deadline, Retry
from connectors.schema_registry.settings import RegistrySettings

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
MAX_ANSWER_BYTES = 16 * 1024 * 1024
MAX_REFERENCES = 100

_UNKNOWN = frozenset({40401, 40402, 40403})
"""Error codes of a registry that does not know a subject, a version or a schema."""
_SCHEMA_IS_REFUSED = frozenset({409, 422})
_WE_ARE_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """One schema as it is registered.

    Attributes:
        kind: AVRO, JSON or PROTOBUF.
        text: the schema itself.
        references: (name, text) of every schema it refers to, each after those that it refers to itself.
    """

    kind: str
    text: str
    references: tuple[tuple[str, str], ...] = ()


class SchemaRefusedError(ConnectorConfigError):
    """The registry does not take a schema: incompatible with an earlier version, or invalid."""


class SchemaRegistry:
    """One registry; holds no connection between questions.

    Args:
        settings: where it is.
    Raises:
        AddressError: a file that the settings name is no certificate.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._retry = Retry((ServerUnavailableError,))
        # without a handler for passwords: the one header is ours, and is not sent on to where a redirection leads
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=_context(settings)))

    @property
    def address(self) -> str:
        """Where it is, without secrets."""
        return self._settings.address

    def check(self, timeout_s: float) -> None:
        """See that it answers us.

        Raises:
            ConnectorConfigError: it refuses us.
            ServerUnavailableError: it did not answer within timeout_s.
        """
        self._answer("GET", "/schemas/types", None, Deadline.after(timeout_s))

    def schema(self, number: int) -> RegisteredSchema | None:
        """The schema of an id, or None if the registry does not know it.

        Raises:
            ConnectorConfigError: it refuses us.
            ServerUnavailableError: it did not answer within its timeout.
        """
        deadline = Deadline.after(self._settings.timeout_s)
        found = self._answer("GET", f"/schemas/ids/{number}", "schema", deadline)
        if found is None:
            return None
        references: dict[str, str] = {}
        self._follow(found, references, deadline)
        return RegisteredSchema(str(found.get("schemaType", "AVRO")), str(found["schema"]), tuple(references.items()))

    def register(self, subject: str, kind: str, text: str, timeout_s: float) -> int:
        """The id of a schema under a subject; it is added as a new version where it is not there yet.

        Raises:
            SchemaRefusedError: it is not compatible with the subject's earlier versions.
            ConnectorConfigError: the registry refuses us.
            ServerUnavailableError: it did not answer within timeout_s.
        """
        body = {"schema": text, "schemaType": kind}
        answer = self._answer("POST", f"/subjects/{_quoted(subject)}/versions", "id", Deadline.after(timeout_s), body)
        if answer is None:
            raise SchemaRefusedError(f"{self.address} does not take a schema under the subject {subject!r}")
        return int(answer["id"])

    def is_compatible(self, subject: str, kind: str, text: str, timeout_s: float) -> bool | None:
        """Whether a schema could follow the newest version of a subject; None if there is none yet. Adds nothing.

        Raises:
            ConnectorConfigError: the registry refuses us.
            ServerUnavailableError: it did not answer within timeout_s.
        """
        place = f"/compatibility/subjects/{_quoted(subject)}/versions/latest"
        body = {"schema": text, "schemaType": kind}
        answer = self._answer("POST", place, "is_compatible", Deadline.after(timeout_s), body)
        return None if answer is None else answer["is_compatible"] is True

    def _follow(self, schema: dict[str, Any], found: dict[str, str], deadline: Deadline) -> None:
        """Add the schemas that one refers to, each after its own."""
        for reference in schema.get("references") or ():
            name, subject, version = _reference(reference)
            if name in found:
                continue
            if len(found) >= MAX_REFERENCES:
                raise self._away(f"a schema with over {MAX_REFERENCES} references")
            place = f"/subjects/{_quoted(subject)}/versions/{version}"
            inner = self._answer("GET", place, "schema", deadline)
            if inner is not None:
                found[name] = ""  # a circle of references ends here
                self._follow(inner, found, deadline)
                del found[name]
                found[name] = str(inner["schema"])

    def _answer(
        self, method: str, place: str, wanted: str | None, deadline: Deadline, body: dict[str, str] | None = None
    ) -> dict[str, Any] | None:
        """What the registry answers, `wanted` in it, or None where it does not know what is asked for."""

        def ask() -> dict[str, Any] | None:
            answer = self._ask(method, place, deadline, body)
            if answer is not None and wanted is not None and wanted not in answer:
                raise self._away(f"an answer without {wanted!r}: no schema registry answers so")
            return answer

        return self._retry.call(ask, deadline)

    def _ask(self, method: str, place: str, deadline: Deadline, body: dict[str, str] | None) -> dict[str, Any] | None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + place, data, method=method)  # noqa: S310 (http or https: settings)
        request.add_header("Accept", f"{CONTENT_TYPE}, application/json")
        if data is not None:
            request.add_header("Content-Type", CONTENT_TYPE)
        authorization = self._settings.authorization()
        if authorization is not None:
            request.add_unredirected_header("Authorization", authorization)
        wait_s = max(0.1, min(self._settings.request_s, deadline.remaining_s))
        try:
            with self._opener.open(request, timeout=wait_s) as response:
                return self._parsed(response.status, response.read(MAX_ANSWER_BYTES + 1))
        except urllib.error.HTTPError as error:
            with error:
                self._check_refusal(place, error.code, error.read(MAX_ANSWER_BYTES))
            return None
        except ssl.SSLCertVerificationError as error:
            raise self._untrusted(error) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise self._untrusted(error.reason) from error
            raise self._away(error.reason) from error
        except (OSError, HTTPException) as error:
            raise self._away(error) from error

    def _parsed(self, status: int, content: bytes) -> dict[str, Any]:
        if len(content) > MAX_ANSWER_BYTES:
            raise self._away(f"an answer of over {MAX_ANSWER_BYTES} bytes")
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self._away(f"status {status}, but no JSON: no schema registry answers so") from error
        return answer if isinstance(answer, dict) else {}

    def _check_refusal(self, place: str, status: int, content: bytes) -> None:
        """Let pass only the answer of a registry that does not know what was asked for.

        Raises:
            SchemaRefusedError, ConnectorConfigError, ServerUnavailableError: any other.
        """
        if status in _WE_ARE_REFUSED:
            raise ConnectorConfigError(
                f"the schema registry {self.address} refused us (status {status}); check the user and the password in "
                "registry.url, and the permissions of this user"
            )
        try:
            answer = json.loads(content)
            code, message = int(answer["error_code"]), str(answer.get("message", ""))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._away(f"status {status}, not in the words of a schema registry") from error
        if code in _UNKNOWN:
            return
        if status in _SCHEMA_IS_REFUSED:
            raise SchemaRefusedError(f"{self.address}{place}: {message[:300]} (error {code})")
        raise self._away(f"error {code}: {message[:200]}")

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> ConnectorConfigError:
        return ConnectorConfigError(
            f"the schema registry {self.address}: certificate verify failed ({error.verify_message}); "
            "set registry.ca_file to the authority that signed it"
        )

    def _away(self, cause: object) -> ServerUnavailableError:
        return ServerUnavailableError(
            f"no schema registry answered at {self.address} ({cause}); start it, or correct registry.url"
        )


def _context(settings: RegistrySettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate_file is not None:
            context.load_cert_chain(settings.certificate_file, settings.key_file, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise AddressError(
            "registry.ca_file, certificate_file or key_file holds no certificate or key that can be read "
            f"({error.strerror or error}); wanted PEM, the key without a password"
        ) from error
    return context


def _quoted(subject: str) -> str:
    return quote(subject, safe="")


def _reference(reference: object) -> tuple[str, str, str]:
    """Name, subject and version of a reference; empty where it has none."""
    found = reference if isinstance(reference, dict) else {}
    name, subject, version = (str(found.get(key, "")) for key in ("name", "subject", "version"))
    return name, subject, version
