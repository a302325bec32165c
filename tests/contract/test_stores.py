"""The promises of `connectors.contracts.StateStore`, on every kind of store."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from connectors.contracts import StateStore
from connectors.errors import StaleEpochError
from connectors.records import Epoch, Partition, StateWrite
from tests.contract.cases import StoreCase
from tests.support import leaks

OPEN_S = 10.0
PARTITION = Partition("readings", 0)


@contextmanager
def opened(store: StateStore) -> Iterator[StateStore]:
    try:
        store.open(OPEN_S)
        yield store
    finally:
        store.close()


def test_a_new_partition_holds_nothing(stores: StoreCase):
    with opened(stores.store()) as store:
        assert store.look(PARTITION) is None
        assert store.partitions() == []
        found = store.acquire(PARTITION)
        assert found.meta is None
        assert found.shards == ()
        assert store.load(PARTITION, [0, 7]) == [None, None]
        assert store.look(PARTITION) == found, "acquired, though nothing is saved: it has an owner"


def test_what_is_loaded_equals_what_was_saved(stores: StoreCase):
    shards = {0: b"", 3: bytes(range(256)), 200: secrets.token_bytes(600_000)}
    with opened(stores.store()) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"meta\x00\xff", shards))
        assert store.load(PARTITION, [200, 1, 0, 3]) == [shards[200], None, shards[0], shards[3]]
    with opened(stores.store()) as store:
        found = store.acquire(PARTITION)
        assert found.meta == b"meta\x00\xff"
        assert found.shards == (0, 3, 200)
        assert found.epoch != epoch
        assert found.epoch.counter > epoch.counter
        assert store.load(PARTITION, found.shards) == list(shards.values())


def test_shards_not_named_stay_unless_the_write_is_full(stores: StoreCase):
    with opened(stores.store()) as store, opened(stores.store()) as reader:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"1", {1: b"a", 2: b"b", 3: b"c"}))
        store.save(PARTITION, epoch, StateWrite(b"2", {2: b"B"}))
        store.save(PARTITION, epoch, StateWrite(b"3", {}))
        for one in (store, reader):
            assert one.load(PARTITION, [1, 2, 3]) == [b"a", b"B", b"c"]
        store.save(PARTITION, epoch, StateWrite(b"4", {3: b"C", 9: b"d"}, is_full=True))
        for one in (store, reader):
            assert one.load(PARTITION, [1, 2, 3, 9]) == [None, None, b"C", b"d"]
        found = reader.look(PARTITION)
        assert found is not None
        assert (found.meta, found.shards, found.epoch) == (b"4", (3, 9), epoch)
        store.save(PARTITION, epoch, StateWrite(b"5", {}, is_full=True))
        assert store.acquire(PARTITION).shards == ()


def test_an_older_epoch_changes_nothing(stores: StoreCase):
    with opened(stores.store()) as old, opened(stores.store()) as new:
        stale = old.acquire(PARTITION).epoch
        old.save(PARTITION, stale, StateWrite(b"old", {1: b"old"}))
        epoch = new.acquire(PARTITION).epoch
        with pytest.raises(StaleEpochError, match="readings/0: nothing was saved"):
            old.save(PARTITION, stale, StateWrite(b"zombie", {1: b"zombie", 2: b"zombie"}, is_full=True))
        found = new.look(PARTITION)
        assert found is not None
        assert (found.meta, found.shards) == (b"old", (1,))
        assert new.load(PARTITION, [1, 2]) == [b"old", None]
        new.save(PARTITION, epoch, StateWrite(b"new", {1: b"new"}))
        assert old.load(PARTITION, [1]) == [b"new"]


@pytest.mark.parametrize("forged", [{"token": "other"}, {"counter": 99}])
def test_an_epoch_is_compared_in_both_its_parts(stores: StoreCase, forged: dict[str, object]):
    with opened(stores.store()) as store:
        epoch = store.acquire(PARTITION).epoch
        with pytest.raises(StaleEpochError):
            store.save(PARTITION, Epoch(**{**epoch._asdict(), **forged}), StateWrite(b"m", {}))
        store.save(PARTITION, epoch, StateWrite(b"m", {}))


def test_a_look_takes_nothing(stores: StoreCase):
    with opened(stores.store()) as store, opened(stores.store()) as other:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"1", {1: b"a"}))
        assert other.look(PARTITION) is not None
        store.save(PARTITION, epoch, StateWrite(b"2", {1: b"b"}))


def test_partitions_groups_and_prefixes_do_not_touch(stores: StoreCase):
    owners = [
        ("p", "g", Partition("t", 0)),
        ("p", "g", Partition("t", 1)),
        ("p", "g", Partition("t:1", 0)),
        ("p", "g:t", Partition("1", 0)),
        ("p:g", "t", Partition("1", 0)),
        ("p", "g}", Partition("t", 0)),
        ("p", "h", Partition("t", 0)),
        ("q", "g", Partition("t", 0)),
    ]
    for number, (prefix, group, partition) in enumerate(owners):
        with opened(stores.store(prefix, group)) as store:
            epoch = store.acquire(partition).epoch
            store.save(partition, epoch, StateWrite(b"%d" % number, {0: b"shard %d" % number}))
    for number, (prefix, group, partition) in enumerate(owners):
        with opened(stores.store(prefix, group)) as store:
            found = store.look(partition)
            assert found is not None
            assert found.meta == b"%d" % number
            assert found.epoch.counter == 1
            assert store.load(partition, [0]) == [b"shard %d" % number]
            mine = [part for pre, grp, part in owners if (pre, grp) == (prefix, group)]
            assert store.partitions() == sorted(mine)


def test_a_reader_sees_all_of_one_save_or_all_of_the_one_before(stores: StoreCase):
    """One writer, 150 saves of all shards; meanwhile another connection looks and loads."""
    numbers = list(range(90))
    ended = threading.Event()
    seen: set[tuple[bytes | None, ...]] = set()
    failed: list[BaseException] = []

    def read() -> None:
        try:
            with opened(stores.store()) as reader:
                while not ended.is_set():
                    seen.add(tuple(set(reader.load(PARTITION, numbers))))
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)

    with opened(stores.store()) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"0", dict.fromkeys(numbers, b"0")))
        thread = threading.Thread(target=read)
        thread.start()
        for version in range(1, 151):
            text = b"%d" % version
            store.save(PARTITION, epoch, StateWrite(text, dict.fromkeys(numbers, text), is_full=version % 2 == 0))
        ended.set()
        thread.join()
    assert not failed
    assert all(len(versions) == 1 and versions[0] is not None for versions in seen), "a reader saw half a save"


def test_one_thread_may_save_while_another_loads_and_acquires(stores: StoreCase):
    """The owner itself reads a partition that its own thread is saving: all of one save, and no shard is missing."""
    numbers, other = list(range(90)), Partition("readings", 1)
    ended = threading.Event()
    failed: list[BaseException] = []

    def save(store: StateStore, epoch: Epoch) -> None:
        try:
            for version in range(1, 101):
                text = b"%d" % version
                store.save(PARTITION, epoch, StateWrite(text, dict.fromkeys(numbers, text)))
        except BaseException as error:  # noqa: BLE001 - shown below
            failed.append(error)
        ended.set()

    with opened(stores.store()) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"0", dict.fromkeys(numbers, b"0")))
        thread = threading.Thread(target=save, args=(store, epoch))
        thread.start()
        while not ended.is_set():
            versions = set(store.load(PARTITION, numbers))
            assert len(versions) == 1
            assert None not in versions
            store.save(other, store.acquire(other).epoch, StateWrite(b"m", {0: b"a"}))
        thread.join()
        assert not failed
        assert store.load(PARTITION, numbers) == [b"100"] * 90
        found = store.look(other)
        assert found is not None
        assert found.shards == (0,)


def test_an_emptied_store_looks_new_and_refuses_epochs_it_no_longer_knows(stores: StoreCase):
    with opened(stores.store()) as store:
        epoch = store.acquire(PARTITION).epoch
        store.save(PARTITION, epoch, StateWrite(b"m", {1: b"a"}))
        stores.wipe()
        assert store.look(PARTITION) is None
        assert store.partitions() == []
        assert store.load(PARTITION, [1]) == [None]
        with pytest.raises(StaleEpochError):
            store.save(PARTITION, epoch, StateWrite(b"m2", {2: b"b"}))
        assert store.look(PARTITION) is None
        again = store.acquire(PARTITION)
        assert (again.meta, again.shards) == (None, ())
        assert again.epoch != epoch
        with pytest.raises(StaleEpochError):
            store.save(PARTITION, epoch, StateWrite(b"m2", {}))
        store.save(PARTITION, again.epoch, StateWrite(b"m3", {1: b"c"}))
        assert store.partitions() == [PARTITION]


def test_a_healthy_store_warns_of_nothing(stores: StoreCase):
    with opened(stores.store()) as store:
        assert store.warnings() == []


def test_nothing_is_left_after_close(stores: StoreCase):
    with leaks.no_leaks():
        store = stores.store()
        store.open(OPEN_S)
        store.save(PARTITION, store.acquire(PARTITION).epoch, StateWrite(b"m", {1: b"a"}))
        store.close()
        store.close()
