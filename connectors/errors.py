"""The exception tree of the connectors; I know nothing of sensors, readings or tensors.

ConnectorError
├── ConnectorConfigError     can never work as written (exit status 2)
│   ├── AddressError         a URL that is malformed or has an unknown scheme or option
│   ├── MissingExtraError    an optional library is not installed; names its install line
│   ├── MissingTopicError    the source topic does not exist
│   └── MissingStoreError    the state store does not exist, and was not to be made
├── ServerUnavailableError   a server cannot be reached now (exit status 1)
├── StaleEpochError          another owner has taken the partition; the holder must stop
│   └── LostPartitionsError  the group has given partitions to another member; the rest is still ours
├── RecordTooLargeError      one record is larger than its sink takes; nothing of it was sent
└── StoredStateError         what the store holds cannot be read (torn, foreign or flipped)
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ConnectorError(Exception):
    """Root of every fault a connector raises."""


class ConnectorConfigError(ConnectorError):
    """What was asked can never work as written."""


class AddressError(ConnectorConfigError):
    """A URL is malformed, or names an unknown scheme or option."""


class MissingExtraError(ConnectorConfigError):
    """An optional library is not installed."""


class MissingTopicError(ConnectorConfigError):
    """The source topic does not exist."""


class MissingStoreError(ConnectorConfigError):
    """The state store does not exist, and was only to be looked at."""


class ServerUnavailableError(ConnectorError):
    """A server cannot be reached, or did not answer within its deadline."""


class StaleEpochError(ConnectorError):
    """The partition has been taken by another owner since this one acquired it."""


class LostPartitionsError(StaleEpochError):
    """The group has given some partitions to another member; what was asked for them was not done."""


class RecordTooLargeError(ConnectorError):
    """One record is larger than its sink takes; the records written before it are on their way."""


class StoredStateError(ConnectorError):
    """The store holds something that cannot be read back."""


def nearest_names(name: str, known: Iterable[str], most: int = 3) -> str:
    """The known names nearest to one that was not found, for an error's way out.

    >>> nearest_names("readngs", ["readings", "alarms"])
    "did you mean 'readings'?"
    >>> nearest_names("x", [])
    'there are none'
    """
    names = sorted(known)
    if not names:
        return "there are none"
    close = get_close_matches(name, names, n=most, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(names[:10])
    return f"there are {shown}" + (f" and {len(names) - 10} more" if len(names) > 10 else "")
