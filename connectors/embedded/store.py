"""A StateStore in one SQLite file: atomic and fenced by a transaction. I know nothing of what the bytes mean."""

import secrets
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from connectors.contracts import StateStore
from connectors.errors import (
    ConnectorError,
    MissingStoreError,
    ServerUnavailableError,
    StaleEpochError,
    StoredStateError,
    nearest_names,
)
from connectors.records import Epoch, Partition, StateBlob, StateWrite, StoredPartition

FORMAT = 1
BUSY_TIMEOUT_S = 10.0

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS owner (
    id INTEGER PRIMARY KEY, prefix TEXT, grp TEXT, topic TEXT, number INTEGER,
    counter INTEGER NOT NULL, token TEXT NOT NULL, meta BLOB,
    UNIQUE (prefix, grp, topic, number));
CREATE TABLE IF NOT EXISTS shard (
    owner INTEGER NOT NULL, number INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (owner, number)) WITHOUT ROWID;
"""

_FIND = "SELECT id, counter, token, meta FROM owner WHERE prefix = ? AND grp = ? AND topic = ? AND number = ?"
_RAISE = """
INSERT INTO owner (prefix, grp, topic, number, counter, token) VALUES (?, ?, ?, ?, 1, ?)
ON CONFLICT (prefix, grp, topic, number) DO UPDATE SET counter = counter + 1, token = excluded.token
"""


class SqliteStore(StateStore):
    """Owned by the engine, from `open` to `close`; its threads take turns, and several processes may share the file.

    Args:
        path: the file.
        prefix, group: whose part of the file it is.
        is_made: whether it and its folder are made where missing; else nothing of it is changed by opening.
    """

    def __init__(self, path: Path, prefix: str, group: str, is_made: bool = True) -> None:
        self._path = path
        self._is_made = is_made
        self._prefix = prefix
        self._group = group
        self._database: sqlite3.Connection | None = None
        self._turnstile = threading.Lock()

    def open(self, timeout_s: float) -> None:
        """Open or make the file.

        Raises:
            MissingStoreError: there is none, and it is not to be made.
        """
        self._ask(self._open)

    def _open(self) -> None:
        if self._is_made:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        elif not self._path.is_file():
            folder = self._path.parent
            names = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
            raise MissingStoreError(f"the store {self._path} does not exist; {nearest_names(self._path.name, names)}")
        database = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            self._check_format(database.execute("PRAGMA user_version").fetchone()[0])
            database.execute("PRAGMA synchronous = NORMAL")
            if self._is_made:
                database.execute("PRAGMA journal_mode = WAL")
                database.executescript(_SCHEMA)
                database.execute(f"PRAGMA user_version = {FORMAT}")
        except Exception:
            database.close()
            raise
        self._database = database

    def _check_format(self, found: int) -> None:
        if found == 0 and not self._is_made:
            raise MissingStoreError(f"{self._path} holds no state; give the path that the engine's store names")
        if found not in (0, FORMAT):
            raise StoredStateError(
                f"{self._path} has format {found} and this version reads {FORMAT}; "
                "give another path: the state is rebuilt from the log"
            )

    def acquire(self, partition: Partition) -> StoredPartition:
        """Take ownership: raise the epoch."""

        def take(database: sqlite3.Connection) -> StoredPartition:
            database.execute(_RAISE, (*self._name(partition), secrets.token_hex(8)))
            found = self._find(database, partition)
            assert found is not None  # noqa: S101 - just written
            return found

        return self._write(take)

    def look(self, partition: Partition) -> StoredPartition | None:
        """What is stored, without taking it."""
        return self._read(lambda database: self._find(database, partition))

    def _find(self, database: sqlite3.Connection, partition: Partition) -> StoredPartition | None:
        row = database.execute(_FIND, self._name(partition)).fetchone()
        if row is None:
            return None
        number, counter, token, meta = row
        shards = database.execute("SELECT number FROM shard WHERE owner = ? ORDER BY number", (number,)).fetchall()
        return StoredPartition(meta, tuple(shard for (shard,) in shards), Epoch(counter, token))

    def load(self, partition: Partition, shards: Sequence[int]) -> list[StateBlob | None]:
        """The shards' bytes."""

        def fetch(database: sqlite3.Connection) -> list[StateBlob | None]:
            row = database.execute(_FIND, self._name(partition)).fetchone()
            if row is None:
                return [None] * len(shards)
            query = "SELECT value FROM shard WHERE owner = ? AND number = ?"
            found = [database.execute(query, (row[0], number)).fetchone() for number in shards]
            return [None if value is None else value[0] for value in found]

        return self._read(fetch)

    def save(self, partition: Partition, epoch: Epoch, write: StateWrite) -> None:
        """Write one checkpoint in one transaction that begins with the look at the epoch."""

        def put(database: sqlite3.Connection) -> None:
            row = database.execute(_FIND, self._name(partition)).fetchone()
            if row is None or Epoch(row[1], row[2]) != epoch:
                raise StaleEpochError(
                    f"{partition}: nothing was saved in {self._path}: the partition has had another owner since epoch "
                    f"{epoch.counter}, or the store was emptied; acquire it again, or let it go"
                )
            if write.is_full:
                database.execute("DELETE FROM shard WHERE owner = ?", (row[0],))
            rows = ((row[0], number, blob) for number, blob in write.shards.items())
            database.executemany("INSERT OR REPLACE INTO shard (owner, number, value) VALUES (?, ?, ?)", rows)
            database.execute("UPDATE owner SET meta = ? WHERE id = ?", (write.meta, row[0]))

        self._write(put)

    def partitions(self) -> list[Partition]:
        """Every partition with a saved meta."""
        query = "SELECT topic, number FROM owner WHERE prefix = ? AND grp = ? AND meta IS NOT NULL"
        rows = self._read(lambda database: database.execute(query, (self._prefix, self._group)).fetchall())
        return sorted(Partition(topic, number) for topic, number in rows)

    def warnings(self) -> list[str]:
        """A file of our own: nothing endangers it."""
        return []

    def close(self) -> None:
        """Close the file."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _name(self, partition: Partition) -> tuple[str, str, str, int]:
        return self._prefix, self._group, partition.topic, partition.number

    def _read(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """An action that sees one state of the file from its begin to its end."""
        return self._transact("BEGIN", action)

    def _write(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """An action that nobody else's writes come between."""
        return self._transact("BEGIN IMMEDIATE", action)

    def _transact(self, begin: str, action: Callable[[sqlite3.Connection], T]) -> T:
        database = self._database
        if database is None:
            raise RuntimeError(f"{self._path} is not open; call open() first")

        def whole() -> T:
            with self._turnstile:
                database.execute(begin)
                with database:  # commits, or rolls back on an exception
                    return action(database)

        return self._ask(whole)

    def _ask(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except sqlite3.OperationalError as error:
            raise ServerUnavailableError(
                f"the store {self._path} cannot be used now ({error}); look at its disk, its permissions "
                "and at who else has it open"
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error
        except OSError as error:
            raise ServerUnavailableError(f"the store {self._path} cannot be made ({error.strerror})") from error

    def _unreadable(self, error: sqlite3.DatabaseError) -> ConnectorError:
        return StoredStateError(
            f"{self._path} is no state file, or a damaged one ({error}); "
            "move it away: the state is rebuilt from the log"
        )
