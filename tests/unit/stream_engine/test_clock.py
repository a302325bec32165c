"""Clocks: the system's moves by itself, the manual one by hand alone."""

import pytest

from stream_engine.clock import ManualClock, SystemClock


def test_the_system_clock_moves():
    clock = SystemClock()
    assert clock.now_ns() > 1_700_000_000_000_000_000
    assert clock.monotonic_s() <= clock.monotonic_s()


def test_the_manual_clock_moves_when_told():
    clock = ManualClock(now_ns=5)
    assert (clock.now_ns(), clock.monotonic_s()) == (5, 0.0)
    clock.advance(1.5)
    assert (clock.now_ns(), clock.monotonic_s()) == (1_500_000_005, 1.5)
    clock.set_now_ns(3)
    assert (clock.now_ns(), clock.monotonic_s()) == (3, 1.5)
    with pytest.raises(ValueError, match="forward only"):
        clock.advance(-1)
