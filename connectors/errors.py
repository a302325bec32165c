"""The exception tree of the connectors; I know nothing of sensors, readings or tensors.

    ConnectorError
    ├── ConnectorConfigError     can never work as written (exit status 2)
    │   ├── AddressError         a URL that is malformed or has an unknown scheme or option
    │   ├── MissingExtraError    an optional library is not installed; names its install line
    │   └── MissingTopicError    the source topic does not exist
    ├── ServerUnavailableError   a server cannot be reached now (exit status 1)
    ├── StaleEpochError          another owner has taken the partition; the holder must stop
    └── StoredStateError         what the store holds cannot be read (torn, foreign or flipped)
"""


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


class ServerUnavailableError(ConnectorError):
    """A server cannot be reached, or did not answer within its deadline."""


class StaleEpochError(ConnectorError):
    """The partition has been taken by another owner since this one acquired it."""


class StoredStateError(ConnectorError):
    """The store holds something that cannot be read back."""
