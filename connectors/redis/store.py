"""A StateStore in Redis: a cache of the fold, in which a save is one atomic, fenced step.

A save writes the changed shards under a new generation's names, then one script checks the epoch and lets the
head point at them (`scripts.py`); the old values are removed after. What a crashed save leaves is named in the garbage
set before it is written, and removed at the next acquire. I know nothing of what the bytes mean.
"""

import contextlib
import functools
import secrets
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import redis
from redis import exceptions as faults
from redis.backoff import NoBackoff
from redis.connection import PythonRespSerializer
from redis.retry import Retry as RedisRetry

from connectors.contracts import StateStore
from connectors.errors import (
    AddressError,
    ConnectorConfigError,
    ConnectorError,
    ServerUnavailableError,
    StaleEpochError,
)
from connectors.records import Epoch, Partition, StateBlob, StateWrite, StoredPartition
from connectors.redis import scripts
from connectors.redis.settings import RedisSettings
from connectors.retry import Deadline, Retry

PIPELINE_BYTES = 16 << 20
PACKER_CUTOFF_BYTES = 6000
LOAD_AT_ONCE = 64

T = TypeVar("T")

_WAYS_OUT = (
    (faults.BusyLoadingError, "is still loading its data", "wait until it has"),
    (faults.ReadOnlyError, "is a read-only replica", "give the address of the primary"),
    (faults.OutOfMemoryError, "is out of memory", "raise its maxmemory, or give it fewer engines to hold"),
    (faults.TimeoutError, "did not answer in time", "look at its load and at the network"),
    (faults.ConnectionError, "cannot be reached", "start it, or correct the address"),
)
_REFUSALS = (faults.AuthenticationError, faults.AuthorizationError, faults.NoPermissionError)


class RedisStore(StateStore):
    """Owned by the engine, from `open` to `close`; one thread may save while another reads."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._client: Any = None
        self._probe: Any = None
        self._acquire: Any = None
        self._flip: Any = None
        self._generations: dict[Partition, dict[int, str]] = {}

    def open(self, timeout_s: float) -> None:
        """Connect; a server that still loads its data is waited for."""
        settings = self._settings
        settings.check_files()
        patient = Retry((ServerUnavailableError,))
        first = self._connected(max(0.1, timeout_s))
        try:
            patient.call(lambda: self._ask(first.ping), Deadline.after(timeout_s))
        finally:
            first.close()
        self._probe = self._connected(min(settings.probe_s, settings.timeout_s))
        self._client = self._connected(settings.timeout_s)
        self._acquire = self._client.register_script(scripts.ACQUIRE)
        self._flip = self._client.register_script(scripts.FLIP)

    def _connected(self, timeout_s: float) -> Any:
        """A client that connects when it is first used; after a broken connection it tries once more."""
        settings = self._settings
        try:
            client = redis.Redis.from_url(
                settings.url,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                retry=RedisRetry(NoBackoff(), 1, supported_errors=(faults.ConnectionError,)),
                command_packer=PythonRespSerializer(PACKER_CUTOFF_BYTES, _as_bytes),
            )
            pool = client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # refuses unknown options, which from_url lets pass
            return client
        except (ValueError, TypeError) as error:
            raise AddressError(f"{settings.address}: an option of the URL cannot be read ({error})") from error

    def acquire(self, partition: Partition) -> StoredPartition:
        """Take ownership: raise the epoch, then remove what crashed saves have left."""
        base = self._settings.base_key(partition)
        token = secrets.token_hex(8)
        self._ask(lambda: self._open_client().sadd(self._settings.index_key, _index_name(partition)))
        answer = self._ask(lambda: self._acquire(keys=[f"{base}:head", f"{base}:garbage"], args=[token]))
        head = dict(zip(answer[0][::2], answer[0][1::2], strict=True))
        generations = _generations(head)
        self._generations[partition] = generations
        living = {_shard_key(base, number, generation).encode() for number, generation in generations.items()}
        self._remove(base, [name for name in answer[1] if name not in living])
        return StoredPartition(head.get(b"meta"), tuple(sorted(generations)), _epoch(head))

    def look(self, partition: Partition) -> StoredPartition | None:
        """What is stored, without taking it."""
        head = self._head(partition)
        if not head:
            return None
        return StoredPartition(head.get(b"meta"), tuple(sorted(_generations(head))), _epoch(head))

    def _head(self, partition: Partition) -> dict[bytes, bytes]:
        key = f"{self._settings.base_key(partition)}:head"
        head: dict[bytes, bytes] = self._ask(lambda: self._open_client().hgetall(key))
        return head

    def load(self, partition: Partition, shards: Sequence[int]) -> list[StateBlob | None]:
        """The shards' bytes; for a partition that is not ours, all of one save even if another is going on."""
        generations = self._generations.get(partition)
        if generations is not None:
            values = self._values(partition, shards, generations)
            if None not in values:
                return values  # else a save of ours has just come between, or there are none
        generations = _generations(self._head(partition))
        while True:
            values = self._values(partition, shards, generations)
            before, generations = generations, _generations(self._head(partition))
            if generations == before or all(
                value is not None for number, value in zip(shards, values, strict=True) if number in before
            ):
                return values

    def _values(self, partition: Partition, shards: Sequence[int], generations: Mapping[int, str]) -> list[Any]:
        base = self._settings.base_key(partition)
        keys = {number: _shard_key(base, number, generations[number]) for number in shards if number in generations}
        found: dict[int, StateBlob | None] = {}
        for numbers in _slices(list(keys), LOAD_AT_ONCE):
            values = self._ask(functools.partial(self._open_client().mget, [keys[number] for number in numbers]))
            found.update(zip(numbers, values, strict=True))
        return [found.get(number) for number in shards]

    def save(self, partition: Partition, epoch: Epoch, write: StateWrite) -> None:
        """Write one checkpoint: new values first, then the flip, then the old values go.

        A server that does not answer a short question is away: the engine goes on, and asks again later.
        """
        self._ask(self._open_probe().ping)
        base = self._settings.base_key(partition)
        generation = f"{epoch.counter}.{secrets.token_hex(6)}"
        generations = self._generations.pop(partition, None)
        try:
            self._write_values(base, generation, write.shards)
            numbers = [str(number) for number in write.shards]
            owner = [base, epoch.counter, epoch.token, generation, write.meta, int(write.is_full)]
            removable = self._ask(lambda: self._flip(keys=[f"{base}:head", f"{base}:garbage"], args=[*owner, *numbers]))
        except ServerUnavailableError as error:
            if not isinstance(error.__cause__, redis.ConnectionError | redis.TimeoutError):
                self._remove_quietly(base)  # else the next save or acquire does: once more to wait is too long
            raise
        if removable is None:
            self._remove(base, [_shard_key(base, number, generation).encode() for number in write.shards])
            raise StaleEpochError(
                f"{partition}: nothing was saved in {self._settings.address}: the partition has had another owner "
                f"since epoch {epoch.counter}, or the store was emptied; acquire it again, or let it go"
            )
        new = dict.fromkeys(write.shards, generation)
        if generations is not None or write.is_full:
            self._generations[partition] = new if write.is_full else {**(generations or {}), **new}
        with contextlib.suppress(ServerUnavailableError):  # what stays now goes with the next save or acquire
            self._remove(base, removable)

    def _write_values(self, base: str, generation: str, shards: Mapping[int, StateBlob]) -> None:
        client = self._open_client()
        for some in _slices_by_bytes(shards, PIPELINE_BYTES):
            values = {_shard_key(base, number, generation): blob for number, blob in some.items()}
            pipeline = client.pipeline(transaction=False)
            pipeline.sadd(f"{base}:garbage", *values)
            for name, blob in values.items():
                pipeline.set(name, blob)
            self._ask(pipeline.execute)

    def _remove_quietly(self, base: str) -> None:
        """After a failed save: remove what the head does not name, if that can be done now."""
        client = self._open_client()
        with contextlib.suppress(ServerUnavailableError):
            names = self._ask(lambda: client.smembers(f"{base}:garbage"))
            head = self._ask(lambda: client.hgetall(f"{base}:head"))
            living = {_shard_key(base, number, one).encode() for number, one in _generations(head).items()}
            self._remove(base, [name for name in names if name not in living])

    def _remove(self, base: str, names: Sequence[bytes]) -> None:
        client = self._open_client()
        for some in _slices(names, 1000):
            pipeline = client.pipeline(transaction=False)
            pipeline.unlink(*some)
            pipeline.srem(f"{base}:garbage", *some)
            self._ask(pipeline.execute)

    def partitions(self) -> list[Partition]:
        """Every partition with a saved meta."""
        client = self._open_client()
        names: Iterable[bytes] = self._ask(lambda: client.smembers(self._settings.index_key))
        known = sorted(_partition(name) for name in names)
        return [partition for partition in known if b"meta" in self._head(partition)]

    def warnings(self) -> list[str]:
        """An eviction policy that may throw state away; a cache needs no persistence."""
        try:
            memory = self._ask(lambda: self._open_client().info("memory"))
        except ConnectorConfigError:
            return [
                f"{self._settings.address}: this user may not run INFO, so its eviction policy is not known; "
                "allow it (ACL SETUSER … +info), or make sure that maxmemory-policy is noeviction"
            ]
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy == "noeviction":
            return []
        return [
            f"{self._settings.address} has maxmemory-policy {policy}: it may throw state away, which is then rebuilt "
            "from the log; run CONFIG SET maxmemory-policy noeviction"
        ]

    def close(self) -> None:
        """Free everything."""
        clients = (self._client, self._probe)
        self._client = self._probe = None
        self._generations = {}
        for client in clients:
            if client is not None:
                client.close()

    def _ask(self, action: Callable[[], T]) -> T:
        """The server's answer, its faults turned into ours."""
        try:
            return action()
        except faults.RedisError as error:
            raise self._translated(error) from error

    def _translated(self, error: faults.RedisError) -> ConnectorError:
        where = self._settings.address
        if isinstance(error, faults.NoPermissionError):
            return ConnectorConfigError(f"{where} refused us ({_first_words(error)}); mend this user's ACL")
        if isinstance(error, _REFUSALS):
            return ConnectorConfigError(
                f"{where} refused us ({type(error).__name__}); check user and password in the URL and the user's ACL"
            )
        if _is_of_certificate(error):
            return ConnectorConfigError(
                f"{where}: its certificate is not signed by an authority that is trusted here, or names another host; "
                "check ssl_ca_certs in the URL"
            )
        for fault, what, way_out in _WAYS_OUT:
            if isinstance(error, fault):
                return ServerUnavailableError(f"the store {where} {what}; {way_out}{self._other_scheme(error)}")
        if "DB index is out of range" in str(error):
            return ConnectorConfigError(f"{where}: this server has fewer databases; name one it has, such as /0")
        if "OOM" in str(error):
            return ServerUnavailableError(f"the store {where} {_WAYS_OUT[2][1]}; {_WAYS_OUT[2][2]}")
        return ServerUnavailableError(f"the store {where} answered {_first_words(error)!r}; look at its log")

    def _other_scheme(self, error: faults.RedisError) -> str:
        """What else a server that cannot be understood may be: one of the other kind."""
        if not isinstance(error, faults.TimeoutError | faults.ConnectionError):
            return ""
        return ", or write redis:// if it speaks no TLS" if self._settings.is_tls else ", or rediss:// if it wants TLS"

    def _open_client(self) -> Any:
        return self._opened(self._client)

    def _open_probe(self) -> Any:
        return self._opened(self._probe)

    def _opened(self, client: Any) -> Any:
        if client is None:
            raise RuntimeError(f"{self._settings.address} is not open; call open() first")
        return client


def _as_bytes(value: object) -> bytes | memoryview:
    """What redis-py's packer needs of each argument."""
    if isinstance(value, bytes | memoryview):
        return value
    return str(value).encode()


def _is_of_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_words(error: Exception) -> str:
    """An error's text without arguments that may hold stored bytes."""
    return str(error)[:80]


def _shard_key(base: str, number: int, generation: str) -> str:
    return f"{base}:{number}:{generation}"


def _generations(head: Mapping[bytes, bytes]) -> dict[int, str]:
    return {int(field[1:]): value.decode() for field, value in head.items() if field[:1] == b"s"}


def _epoch(head: Mapping[bytes, bytes]) -> Epoch:
    return Epoch(int(head[b"counter"]), head[b"token"].decode())


def _index_name(partition: Partition) -> str:
    return f"{partition.number}:{partition.topic}"


def _partition(name: bytes) -> Partition:
    number, _, topic = name.decode().partition(":")
    return Partition(topic, int(number))


def _slices(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), most):
        yield items[first : first + most]


def _slices_by_bytes(shards: Mapping[int, StateBlob], most_bytes: int) -> Iterator[dict[int, StateBlob]]:
    some: dict[int, StateBlob] = {}
    num_bytes = 0
    for number, blob in shards.items():
        some[number] = blob
        num_bytes += len(blob)
        if num_bytes >= most_bytes:
            yield some
            some, num_bytes = {}, 0
    if some:
        yield some
