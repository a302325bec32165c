"""What the Redis store does when its server goes wrong, on a real one."""

import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis

from connectors.contracts import StateStore
from connectors.errors import AddressError, ConnectorConfigError, ServerUnavailableError, StaleEpochError
from connectors.records import Partition, StateWrite
from connectors.redis.settings import RedisSettings
from connectors.redis.store import RedisStore
from connectors.registry import open_store
from tests.support import leaks
from tests.support.processes import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import poll_for

pytestmark = pytest.mark.servers

PARTITION = Partition("readings", 0)


@contextmanager
def opened(url: str, timeout_s: float = 2.0) -> Iterator[StateStore]:
    store = RedisStore(RedisSettings(url, "p", "g", timeout_s=timeout_s))
    try:
        store.open(10.0)
        yield store
    finally:
        store.close()


@contextmanager
def admin(server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


def keys_of(server: RedisServer) -> set[bytes]:
    with admin(server) as client:
        return set(client.keys("*"))


def test_no_server_is_said_within_the_timeout_without_its_password():
    url = f"redis://someone:hush-hush@127.0.0.1:{free_port()}/0"
    store = open_store(url, group="g")
    began_s = time.monotonic()
    with (
        leaks.no_leaks(),
        pytest.raises(ServerUnavailableError, match=r"redis://127.0.0.1:\d+/0 cannot be reached") as it,
    ):
        store.open(1.0)
    assert time.monotonic() - began_s < 5
    assert "hush" not in str(it.value) + repr(RedisSettings(url, "p", "g"))
    store.close()


def test_a_server_that_answers_nothing_is_unavailable_at_start_and_later(own_redis: RedisServer):
    with opened(own_redis.url, timeout_s=0.5) as store:
        epoch = store.acquire(PARTITION).epoch
        own_redis.pause()
        with pytest.raises(ServerUnavailableError, match="did not answer in time"):
            store.save(PARTITION, epoch, StateWrite(b"m", {1: b"a"}))
        with pytest.raises(ServerUnavailableError, match="did not answer in time"):
            open_store(own_redis.url, group="g").open(0.5)
        own_redis.resume()
        store.save(PARTITION, epoch, StateWrite(b"m2", {1: b"b"}))
        assert store.load(PARTITION, [1]) == [b"b"]


def test_a_killed_server_is_unavailable_and_comes_back_empty(own_redis: RedisServer):
    with opened(own_redis.url) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"m", {1: b"a"}))
        own_redis.kill()
        for action in (
            lambda: store.save(PARTITION, epoch, StateWrite(b"m", {1: b"b"})),
            lambda: store.acquire(PARTITION),
            lambda: store.load(PARTITION, [1]),
            lambda: store.partitions(),
            lambda: store.warnings(),
        ):
            with pytest.raises(ServerUnavailableError, match="cannot be reached; start it"):
                action()
        own_redis.start()
        with pytest.raises(StaleEpochError, match="or the store was emptied"):
            store.save(PARTITION, epoch, StateWrite(b"m", {1: b"b"}))
        assert store.acquire(PARTITION).meta is None


def test_a_server_that_is_still_loading_is_waited_for(own_redis: RedisServer):
    """A double that says LOADING twice: a real one has too little to load here."""
    answers = [b"-LOADING Redis is loading the dataset in memory\r\n"] * 2
    with Double(answers, own_redis.port) as port, opened(f"redis://127.0.0.1:{port}/0") as store:
        assert store.acquire(PARTITION).meta is None


class Double:
    """Passes everything through to a server, but answers PING itself as long as it has answers."""

    def __init__(self, answers: list[bytes], port: int) -> None:
        self._answers = answers
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> int:
        self._spawn(self._accept)
        port: int = self._listener.getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            while data := client.recv(65536):
                if b"PING" in data and self._answers:
                    client.sendall(self._answers.pop())
                    continue
                server.sendall(data)
                client.sendall(server.recv(1 << 20))


def test_a_replica_is_named_as_read_only(own_redis: RedisServer):
    with opened(own_redis.url) as store:
        epoch = store.acquire(PARTITION).epoch
        with admin(own_redis) as client:
            client.replicaof("127.0.0.1", free_port())
        for action in (
            lambda: store.acquire(PARTITION),
            lambda: store.save(PARTITION, epoch, StateWrite(b"m", {1: b"a"})),
        ):
            with pytest.raises(ServerUnavailableError, match="read-only replica; give the address of the primary"):
                action()


def test_a_full_server_says_so_and_keeps_the_save_before(own_redis: RedisServer):
    with opened(own_redis.url) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"before", {1: b"a" * 1000, 2: b"b" * 1000}))
        keys = keys_of(own_redis)
        with admin(own_redis) as client:
            client.config_set("maxmemory", client.info("memory")["used_memory"] + (1 << 20))
        with pytest.raises(ServerUnavailableError, match="is out of memory; raise its maxmemory"):
            store.save(PARTITION, epoch, StateWrite(b"after", {n: secrets.token_bytes(1 << 20) for n in range(1, 5)}))
        assert store.load(PARTITION, [1, 2, 3]) == [b"a" * 1000, b"b" * 1000, None]
        found = store.look(PARTITION)
        assert found is not None
        assert found.meta == b"before"
        with admin(own_redis) as client:
            client.config_set("maxmemory", 0)
        store.save(PARTITION, epoch, StateWrite(b"later", {1: b"c"}))
        assert {key.rpartition(b":")[0] for key in keys_of(own_redis)} == {key.rpartition(b":")[0] for key in keys}


def test_saves_leave_no_old_values_behind(own_redis: RedisServer):
    with opened(own_redis.url) as store:
        epoch = store.acquire(PARTITION).epoch
        for version in range(20):
            write = StateWrite(b"%d" % version, dict.fromkeys(range(5), b"x"), is_full=version == 10)
            store.save(PARTITION, epoch, write)
        assert len(keys_of(own_redis)) == 5 + 2  # the shards, the head and the index


class CrashError(Exception):
    """Stands for kill -9 between two commands."""


@pytest.mark.parametrize("crash_before", ["flip", "removal"])
def test_what_a_crashed_save_left_is_removed_at_the_next_acquire(own_redis: RedisServer, crash_before: str):
    def crash(*_: object, **__: object) -> None:
        raise CrashError

    with opened(own_redis.url) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"1", dict.fromkeys(range(5), b"old")))
        setattr(store, "_flip" if crash_before == "flip" else "_remove", crash)
        with pytest.raises(CrashError):
            store.save(PARTITION, epoch, StateWrite(b"2", dict.fromkeys(range(5), b"new")))
        assert len(keys_of(own_redis)) == 5 + 5 + 3
    with opened(own_redis.url) as store:
        found = store.acquire(PARTITION)
        assert found.meta == (b"1" if crash_before == "flip" else b"2")
        assert store.load(PARTITION, range(5)) == [b"old" if crash_before == "flip" else b"new"] * 5
        assert len(keys_of(own_redis)) == 5 + 2


def test_a_flip_whose_answer_was_lost_may_be_sent_again(own_redis: RedisServer):
    """redis-py sends a command again when the connection breaks: the second must do no harm."""
    with opened(own_redis.url) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"1", {1: b"a", 2: b"b"}))
        flip = store._flip  # type: ignore[attr-defined]
        store._flip = lambda **it: (flip(**it), flip(**it))[1]  # type: ignore[attr-defined]
        store.save(PARTITION, epoch, StateWrite(b"2", {1: b"A"}, is_full=True))
        assert store.load(PARTITION, [1, 2]) == [b"A", None]
        assert len(keys_of(own_redis)) == 1 + 2


def test_a_zombie_leaves_nothing_behind(own_redis: RedisServer):
    with opened(own_redis.url) as zombie, opened(own_redis.url) as heir:
        stale = zombie.acquire(PARTITION).epoch
        heir.save(PARTITION, heir.acquire(PARTITION).epoch, StateWrite(b"m", {1: b"a"}))
        with pytest.raises(StaleEpochError):
            zombie.save(PARTITION, stale, StateWrite(b"z", dict.fromkeys(range(9), b"z")))
        assert len(keys_of(own_redis)) == 1 + 2


def test_a_policy_that_throws_state_away_is_warned_of(own_redis: RedisServer):
    with opened(own_redis.url) as store:
        assert store.warnings() == []
        with admin(own_redis) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        (warning,) = store.warnings()
        assert "maxmemory-policy allkeys-lru" in warning
        assert "CONFIG SET maxmemory-policy noeviction" in warning


def test_users_and_passwords_are_those_of_the_url(own_redis: RedisServer):
    with admin(own_redis) as client:
        client.acl_setuser("eng", enabled=True, passwords=["+pa:ss"], keys=["*"], commands=["+@all", "-info"])
        client.acl_setuser("default", enabled=False)
    where = own_redis.url.removeprefix("redis://")
    with opened(f"redis://eng:pa%3Ass@{where}") as store:
        store.save(PARTITION, store.acquire(PARTITION).epoch, StateWrite(b"m", {1: b"a"}))
        (warning,) = store.warnings()
        assert "may not run INFO" in warning
    with pytest.raises(ConnectorConfigError, match="refused us") as caught:
        open_store(f"redis://eng:wrong-word@{where}", group="g").open(2.0)
    assert "wrong-word" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://", "redis://host/zero", "http://host", "redis://host:6379/0?ssl_what=1"])
def test_a_malformed_address_is_refused_at_once(url: str):
    with pytest.raises(AddressError):
        open_store(url, group="g").open(0.5)


def test_a_large_state_goes_in_and_out(own_redis: RedisServer):
    """300 shards of 128 sensors of 4 kB: 157 MB in several pipelines."""
    blob = secrets.token_bytes(128 * 4096)
    shards = {number: blob[number:] + blob[:number] for number in range(300)}
    with opened(own_redis.url, timeout_s=20.0) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"m", shards))
        loaded = store.load(PARTITION, range(300))
        assert all(loaded[number] == shard for number, shard in shards.items())
        poll_for(lambda: store.look(PARTITION), 5.0)


def test_a_database_the_server_does_not_have_can_never_work(redis_url: str):
    store = open_store(redis_url.rpartition("/")[0] + "/9999", group="g")
    with pytest.raises(ConnectorConfigError, match="fewer databases"):
        store.open(5.0)
    store.close()
