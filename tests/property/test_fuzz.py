"""The short form of `make fuzz`: hostile messages, schemas and stored blobs, each target a thousand cases."""

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.targets import TARGETS, Target

NUM_CASES = 1_000


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_hostile_bytes_are_refused_or_read_as_they_are(target: Target) -> None:
    fates = fuzz(target, NUM_CASES, first_seed=1)
    assert fates.total() >= NUM_CASES
