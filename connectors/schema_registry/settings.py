"""Where a schema registry is and as whom it is asked, from a URL; secrets masked. I know no schema.

http://[user:password@]host:port[/path]      https://… for TLS
"""

import base64
import os
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from connectors.errors import AddressError

SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """One registry.

    Attributes:
        url: as given, with its secrets; never shown.
        ca_file: the authorities to trust; None for the system's.
        certificate_file, key_file: this client's own certificate and its key; None for none.
        timeout_s: how long a registry that is away is waited for.
        request_s: longest wait for the answer to one question.
    """

    url: str
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    timeout_s: float = 30.0
    request_s: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment:
            raise AddressError(f"registry.url: {self.address!r} is not of the form http://host:port (https:// for TLS)")
        for name in ("ca_file", "certificate_file", "key_file"):
            path = getattr(self, name)
            if path is None:
                continue
            if parts.scheme != "https":
                raise AddressError(f"registry.{name} is for TLS, but registry.url is {self.address}; write https://")
            if not os.access(path, os.R_OK):
                raise AddressError(f"registry.{name} names {path!r}, which cannot be read; mend the path")
        if self.key_file is not None and self.certificate_file is None:
            raise AddressError("registry.key_file is set without registry.certificate_file; set both")

    @property
    def address(self) -> str:
        """Where the registry is, without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"

    def authorization(self) -> str | None:
        """The `Authorization` header of the URL's user and password (never shown), or None without them."""
        user, sign, _ = urlsplit(self.url).netloc.rpartition("@")
        if not sign:
            return None
        name, _, password = user.partition(":")
        return "Basic " + base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()

    def __repr__(self) -> str:
        return f"RegistrySettings({self.address!r})"
