"""Texts of options that several commands share -> values; each refusal names its option.

I know nothing of what is done with them.
"""

from zoneinfo import ZoneInfo

from stream_engine.config import NO_COUNTRY, Condition, Duration, check_country
from stream_engine.errors import ConfigError


def condition(text: str | None) -> Condition | None:
    """`--valid-where` compiled.

    Raises:
        ConfigError: it is no condition.
    """
    try:
        return None if text is None else Condition(text)
    except ValueError as error:
        raise ConfigError(f"--valid-where: {text!r} {error}") from error


def country(name: str | None) -> str | None:
    """`--country` as the engine spells it.

    Raises:
        ConfigError: no such country is known.
    """
    try:
        return name if name in (None, NO_COUNTRY) else check_country(name)
    except ValueError as error:
        raise ConfigError(f"--country: {name!r} {error}") from error


def timezone(name: str | None) -> str | None:
    """`--timezone`, known to be one.

    Raises:
        ConfigError: there is no such zone.
    """
    try:
        return None if name is None else ZoneInfo(name).key
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(f"--timezone: there is no zone {name!r}; wanted a name such as Europe/Berlin") from error


def duration_ns(option: str, text: str | None) -> int | None:
    """A duration option such as `5m` in nanoseconds.

    Raises:
        ConfigError: it is no duration above 0.
    """
    if text is None:
        return None
    try:
        ns = Duration.parse(text).ns
    except ValueError as error:
        raise ConfigError(f"{option}: {text!r} {error}") from error
    if ns <= 0:
        raise ConfigError(f"{option}: {text!r} is no time; wanted something above 0, such as 5m")
    return ns
