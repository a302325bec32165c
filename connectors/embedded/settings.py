"""Which in-process log, and as whom, from a URL. I know nothing of records.

embedded://topic?group=name&partitions=4
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from connectors.errors import AddressError

_KNOWN = ("group", "partitions")


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """One log of this process.

    Attributes:
        topic: its name.
        group: the consumer group; needed by a source.
        partitions: how many partitions a sink gives a new log; None for as many as it is told.
    """

    topic: str
    group: str | None = None
    partitions: int | None = None

    @classmethod
    def from_url(cls, url: str) -> "EmbeddedSettings":
        """Read embedded://topic?group=name&partitions=n.

        Raises:
            AddressError: the URL is malformed.
        """
        parts = urlsplit(url)
        if parts.scheme != "embedded" or not parts.netloc or parts.path.strip("/"):
            raise AddressError(f"{url!r} is not of the form embedded://topic?group=name")
        asked = dict(parse_qsl(parts.query, keep_blank_values=True))
        for name in asked:
            if name not in _KNOWN:
                raise AddressError(f"{url} has the unknown setting {name!r}; known: {', '.join(_KNOWN)}")
        partitions = asked.get("partitions", "")
        if partitions and (not partitions.isdigit() or int(partitions) < 1):
            raise AddressError(f"{url} has partitions={partitions}; wanted a number from 1")
        return cls(parts.netloc, asked.get("group") or None, int(partitions) if partitions else None)

    @property
    def address(self) -> str:
        """The log's URL."""
        return f"embedded://{self.topic}"

    @property
    def required_group(self) -> str:
        """The group, for a source.

        Raises:
            AddressError: the URL names none.
        """
        if self.group is None:
            raise AddressError(f"{self.address} names no consumer group; write {self.address}?group=name")
        return self.group
