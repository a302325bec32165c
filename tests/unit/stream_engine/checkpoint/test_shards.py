"""A shard comes back as it went, or not at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.errors import StoredStateError
from stream_engine.checkpoint import Shard, decode_shard, encode_shard
from stream_engine.slots import fresh_entries

LAYOUT = "layout-1"


def shard(num: int = 5, floats: int = 7, is_merging: bool = False) -> Shard:
    rng = np.random.default_rng(num)
    entries = fresh_entries(num, is_merging)
    entries["count"] = rng.integers(0, 2**63, num)
    entries["gaps_ns"] = rng.integers(0, 2**60, (num, 8))
    rows = rng.normal(size=(num, floats)).astype(np.float32)
    return Shard([(f"sensor-{number} ü\x1f", "" if number % 2 else "speed") for number in range(num)], entries, rows)


@pytest.mark.parametrize("is_merging", [False, True])
@pytest.mark.parametrize("num", [0, 1, 128])
def test_what_is_decoded_is_what_was_encoded(num: int, is_merging: bool) -> None:
    wanted = shard(num, is_merging=is_merging)
    found = decode_shard(LAYOUT, encode_shard(LAYOUT, wanted))
    assert found.entries.dtype == wanted.entries.dtype
    assert found.keys == wanted.keys
    assert found.entries.tobytes() == wanted.entries.tobytes()
    assert found.rows.tobytes() == wanted.rows.tobytes()


def test_another_layout_is_refused() -> None:
    with pytest.raises(StoredStateError, match=r"layout-0.*wanted 'layout-1'"):
        decode_shard(LAYOUT, encode_shard("layout-0", shard()))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_flipped_or_torn_blob_is_never_accepted(data: st.DataObject) -> None:
    blob = bytearray(encode_shard(LAYOUT, shard()))
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(blob) - 1))
        blob[place] ^= data.draw(st.integers(1, 255))
    else:
        del blob[data.draw(st.integers(0, len(blob) - 1)) :]
    with pytest.raises(StoredStateError):
        decode_shard(LAYOUT, bytes(blob))


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_without_a_crash(blob: bytes) -> None:
    with pytest.raises(StoredStateError):
        decode_shard(LAYOUT, blob)
