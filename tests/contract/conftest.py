"""Fixtures that make one case of each kind of connector."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.cases import (
    SINKS,
    SOURCES,
    STORES,
    EmbeddedCase,
    FileCase,
    KafkaCase,
    LogCase,
    StoreCase,
    marked,
    skip_what_it_cannot,
)


def _log_case(request: pytest.FixtureRequest, new_name: Callable[[], str]) -> Iterator[LogCase]:
    skip_what_it_cannot(request.param, request)
    if request.param == "embedded":
        case = EmbeddedCase(new_name())
        yield case
        case.drop()
    elif request.param == "file":
        yield FileCase(request.getfixturevalue("tmp_path"), new_name())
    else:
        yield KafkaCase(request.param, request.getfixturevalue("kafka_servers"), new_name())


@pytest.fixture(params=marked(SOURCES))
def log(request: pytest.FixtureRequest, new_name: Callable[[], str]) -> Iterator[LogCase]:
    """A fresh log to read from, under each kind of source."""
    yield from _log_case(request, new_name)


@pytest.fixture(params=marked(SINKS))
def target(request: pytest.FixtureRequest, new_name: Callable[[], str]) -> Iterator[LogCase]:
    """A place to write to, under each kind of sink."""
    yield from _log_case(request, new_name)


@pytest.fixture(params=marked(STORES))
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> StoreCase:
    """A fresh store of each kind."""
    if request.param == "sqlite":
        return StoreCase(f"sqlite://{tmp_path}/state.db")
    url: str = request.getfixturevalue("redis_url").removesuffix("/0") + "/1"
    case = StoreCase(url)
    case.wipe()
    return case
