"""Where in a log to begin, as people write it: `earliest`, an RFC 3339 time, or a length of time such as `7d`.

I know nothing of logs.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from stream_engine.config.durations import Duration

WANTED = (
    "must be earliest, an RFC 3339 time with its offset, such as 2026-11-01T00:00:00Z, or a length of time before the "
    "newest record, such as 7d"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Since:
    """The earliest record, unless one of the two is given.

    Attributes:
        at_ns: the first record of this time (UTC nanoseconds) or later.
        back: the first record at most so much older than the newest.
    """

    at_ns: int | None = None
    back: Duration | None = None

    @classmethod
    def parse(cls, text: str) -> "Since":
        """Read `earliest`, `2026-11-01T00:00:00Z` or `7d`.

        Raises:
            ValueError: with what was wanted, if text is anything else.
        """
        if text == "earliest":
            return cls()
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return cls(back=_length(text))
        return cls._at(moment)

    @classmethod
    def _at(cls, moment: datetime) -> "Since":
        if moment.tzinfo is None or moment < _EPOCH:
            raise ValueError(WANTED)
        return cls(at_ns=(moment - _EPOCH) // _MICROSECOND * 1_000)

    def __str__(self) -> str:
        """A form that `parse` reads back."""
        if self.at_ns is not None:
            return (_EPOCH + self.at_ns // 1_000 * _MICROSECOND).isoformat().replace("+00:00", "Z")
        return "earliest" if self.back is None else str(self.back)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let a field of the configuration be written as text or as YAML's own time, and print as text."""
        return core_schema.no_info_plain_validator_function(
            cls._from_config, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _from_config(cls, value: object) -> "Since":
        if isinstance(value, Since):
            return value
        if isinstance(value, datetime):
            return cls._at(value)
        if isinstance(value, str):
            return cls.parse(value)
        raise ValueError(WANTED)


def _length(text: str) -> Duration:
    try:
        length = Duration.parse(text)
    except ValueError as error:
        raise ValueError(WANTED) from error
    if length.ns == 0:
        raise ValueError("must be longer than 0s")
    return length


EARLIEST = Since()
