"""Values that may hold a password: addresses and raw client options.

I know nothing of what they open. `${file:/path}` in such a value stands for that file's text (its last
line end removed; quoted for use in a URL where the value is one), read once, when the configuration is.
What is printed is the value as written, its passwords replaced by MASK.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

MASK = "********"
MAX_SECRET_BYTES = 65_536

_FILE = re.compile(r"\$\{file:([^}]*)\}")
_USER_INFO = re.compile(r"(?<=://)([^/?#@:]*)(:?)([^/?#]*)@")
_SECRET_WORD = re.compile(
    r"passw(or)?d|secret|token|credential|jaas|api[._-]?key|key[._-](pem|data)|oauthbearer[._-]config", re.I
)
_PLACE_WORD = re.compile(r"(file|path|location|url)$", re.I)
_QUERY_PAIR = re.compile(r"([?&])([^=&#]+)=([^&#]*)")


def is_secret_name(name: str) -> bool:
    """Whether an option of this name holds a secret (`sasl_plain_password`, `ssl.key.password`, …)."""
    return _SECRET_WORD.search(name) is not None and _PLACE_WORD.search(name) is None


def redact_url(url: str) -> str:
    """The address with the password of its user part, and each secret option, replaced by MASK."""

    def user_info(match: re.Match[str]) -> str:
        user, colon, password = match.groups()
        if not colon:
            return f"{user}@"
        return f"{user}:{password if _is_reference(password) else MASK}@"

    def option(match: re.Match[str]) -> str:
        mark, name, value = match.groups()
        hide = is_secret_name(name) and not _is_reference(value)
        return f"{mark}{name}={MASK if hide else value}"

    references: list[str] = []

    def park(match: re.Match[str]) -> str:
        references.append(match.group(0))
        return f"${{{len(references) - 1}}}"

    parked = _QUERY_PAIR.sub(option, _USER_INFO.sub(user_info, _FILE.sub(park, url)))
    return re.sub(r"\$\{(\d+)\}", lambda match: references[int(match.group(1))], parked)


def _is_reference(text: str) -> bool:
    return re.fullmatch(r"\$\{\d+\}", text) is not None


def _read(match: re.Match[str]) -> str:
    path = Path(match.group(1))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        reason = error.strerror or "unknown fault"
        raise ValueError(
            f"names the file '{path}', which cannot be read ({reason.lower()}); mend the path or its permissions"
        ) from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"names the file '{path}', which is not text; write the secret as UTF-8") from error
    if len(content) > MAX_SECRET_BYTES:
        raise ValueError(f"names the file '{path}', which is too long for a secret (over {MAX_SECRET_BYTES} bytes)")
    return text.removesuffix("\n").removesuffix("\r")


class SecretText(SecretStr):
    """A raw value that may be a secret; `get_secret_value()` gives it, printing does not."""

    def __init__(self, written: str) -> None:
        super().__init__(self._resolve(written))
        self.written = written

    @staticmethod
    def _resolve(written: str) -> str:
        return _FILE.sub(_read, written)

    def shown(self) -> str:
        """What may be printed and loaded again: references to files stay, the rest is masked."""
        return self.written if _FILE.fullmatch(self.written) else MASK

    def _display(self) -> str:
        return self.shown()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let a field of the configuration be written as text, and print masked."""
        serialize = core_schema.plain_serializer_function_ser_schema(lambda value: value.shown())
        return core_schema.no_info_plain_validator_function(cls._from_config, serialization=serialize)

    @classmethod
    def _from_config(cls, value: object) -> "SecretText":
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise ValueError("must be text")
        return cls(value)


class SecretUrl(SecretText):
    """An address that may hold a password; `str()` gives it masked."""

    @staticmethod
    def _resolve(written: str) -> str:
        return _FILE.sub(lambda match: quote(_read(match), safe=""), written)

    def shown(self) -> str:
        """The address as written, its passwords masked."""
        return redact_url(self.written)

    @classmethod
    def _from_config(cls, value: object) -> "SecretUrl":
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not re.match(r"[a-z][a-z0-9+.-]*://", value):
            raise ValueError("must be an address, such as kafka://host:9092/topic or redis://host:6379/0")
        return cls(value)
