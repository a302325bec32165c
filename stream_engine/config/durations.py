"""Lengths of time as people write them: `5m`, `500ms`, `1h30m`.

I know nothing of what they are used for.
"""

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

NS_OF_UNIT = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
"""Nanoseconds of each unit, largest first."""

MAX_NS = 2**62
_TERM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d|w)")


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A length of time, at least 0.

    Attributes:
        ns: whole nanoseconds.
    """

    ns: int

    @property
    def s(self) -> float:
        """The same in seconds."""
        return self.ns / 1e9

    @classmethod
    def parse(cls, text: str) -> "Duration":
        """Read `5m`, `500ms`, `1.5h` or `1h30m`.

        Raises:
            ValueError: with what was wanted, if text is anything else.
        """
        total, end = 0.0, 0
        whole = 0
        while match := _TERM.match(text, end):
            number, unit = match.groups()
            if "." in number:
                total += float(number) * NS_OF_UNIT[unit]
            else:
                whole += int(number) * NS_OF_UNIT[unit]
            end = match.end()
        if end == 0 or text[end:].strip():
            raise ValueError("must be a length of time with its unit, such as 500ms, 30s, 5m, 1h or 7d")
        if whole + total > MAX_NS:
            raise ValueError("is longer than a century; write a shorter length of time")
        return cls(whole + round(total))

    def __str__(self) -> str:
        """The shortest form that `parse` reads back."""
        if self.ns == 0:
            return "0s"
        rest, text = self.ns, ""
        for unit, size in NS_OF_UNIT.items():
            count, rest = divmod(rest, size)
            text += f"{count}{unit}" if count else ""
        return text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let a field of the configuration be written as text, and print as text."""
        return core_schema.no_info_plain_validator_function(
            cls._from_config, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def _from_config(cls, value: object) -> "Duration":
        if isinstance(value, Duration):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        raise ValueError("must be a length of time with its unit, such as 500ms, 30s, 5m, 1h or 7d")
