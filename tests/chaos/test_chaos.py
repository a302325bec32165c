"""Several workers, real servers, and faults by a seed: each reading is folded once and forecast once."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.conduct import SESSION_S, Chaos
from tests.chaos.plan import KINDS, faults
from tests.chaos.site import Site

pytestmark = [pytest.mark.servers]

SEED = int(os.environ.get("CHAOS_SEED", "5"))
KILLS = int(os.environ.get("CHAOS_KILLS", "60"))
LINES = tuple(kind for kind in KINDS if " line " in kind)
FIRST = {
    "exactly_once": ("phase", "freeze", "phase", "redis restart", "add", "broker pause", *LINES),
    "at_least_once": ("phase", "kill", "redis flush", *LINES),
}
"""What happens first in the short form, so that each run of it has seen the main faults."""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    try:
        yield site.start()
    finally:
        site.close()


@pytest.fixture
def chaos(site: Site, tmp_path: Path, new_name: Callable[[], str]) -> Callable[[str], Chaos]:
    return lambda delivery: Chaos(site, tmp_path, new_name(), delivery)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_every_promise_is_kept_under_faults(chaos: Callable[[str], Chaos], delivery: str) -> None:
    first = FIRST[delivery]
    account = chaos(delivery).run(SEED, faults(SEED, len(first), SESSION_S, first))
    print("\n".join(account.lines()))
    assert account.is_right, "\n".join(account.lines())


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("delivery", ["exactly_once", "at_least_once"])
def test_every_promise_is_kept_under_many_faults(chaos: Callable[[str], Chaos], delivery: str) -> None:
    account = chaos(delivery).run(SEED, faults(SEED, KILLS, SESSION_S))
    print("\n".join(account.lines()))
    assert account.is_right, "\n".join(account.lines())
