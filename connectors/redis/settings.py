"""Where a Redis store is and what its keys begin with, from a URL; secrets masked. I know no client.

redis://[user:password@]host:port/db      rediss://… for TLS (?ssl_ca_certs=ca.pem)      unix:///path
"""

import os
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from connectors.errors import AddressError
from connectors.records import Partition

_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """One Redis and the part of its key space that one group of one engine owns.

    Attributes:
        url: as given, with its secrets; never shown.
        prefix: what every key begins with.
        group: the consumer group whose state it is.
        timeout_s: longest wait for the answer to one command.
        probe_s: longest wait for the sign of life that a save asks for before it hands anything over.
    """

    url: str
    prefix: str
    group: str
    timeout_s: float = 10.0
    probe_s: float = 0.5

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in SCHEMES or not (parts.hostname or parts.scheme == "unix"):
            raise AddressError(f"{self.address!r} is not of the form redis://host:port/db (or rediss:// for TLS)")
        if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdigit():
            raise AddressError(f"{self.address!r} ends in {parts.path!r}; wanted the number of a database, such as /0")
        for name in self._options:
            if name.startswith("ssl_") and not self.is_tls:
                raise AddressError(f"{self.address} has the option {name}, which is for TLS; write rediss://")

    @property
    def _options(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.url).query))

    def check_files(self) -> None:
        """See that the files which the URL names can be read.

        Raises:
            AddressError: one cannot.
        """
        for name, path in self._options.items():
            if name in _FILES and not os.access(path, os.R_OK):
                raise AddressError(f"{self.address} names {path!r} as {name}, which cannot be read; mend the path")

    @property
    def is_tls(self) -> bool:
        """Whether the server is spoken to through TLS."""
        return urlsplit(self.url).scheme == "rediss"

    @property
    def address(self) -> str:
        """Where the server is, without user, password and options."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def __repr__(self) -> str:
        return f"RedisSettings({self.address!r}, prefix={self.prefix!r}, group={self.group!r})"

    @property
    def index_key(self) -> str:
        """The set of partitions that something may be stored of."""
        return f"{{{_part(self.prefix)}:{_part(self.group)}}}:partitions"

    def base_key(self, partition: Partition) -> str:
        """What a partition's keys begin with; its hash tag keeps them on one node of a cluster."""
        return f"{{{_part(self.prefix)}:{_part(self.group)}:{_part(partition.topic)}:{partition.number}}}"


def _part(text: str) -> str:
    """A name without the signs that separate names, so that two sets of names never give one key."""
    return quote(text, safe=" ,;=@")
