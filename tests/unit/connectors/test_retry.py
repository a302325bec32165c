"""`connectors.retry`: small values about waiting."""

import time

import pytest

from connectors.retry import Backoff, Deadline, Retry, Silence


def test_a_deadline_counts_down_to_zero():
    deadline = Deadline.after(0.05)
    assert 0 < deadline.remaining_s <= 0.05
    assert not deadline.is_over
    assert Deadline.after(-1).is_over
    assert Deadline.after(-1).remaining_s == 0.0


def test_waits_grow_to_their_most_with_jitter():
    backoff = Backoff(first_s=0.1, most_s=1.0)
    for attempt, full in enumerate([0.1, 0.2, 0.4, 0.8, 1.0, 1.0]):
        waits = [backoff.wait_s(attempt) for _ in range(50)]
        assert full / 2 <= min(waits) < max(waits) <= full
    assert backoff.wait_s(10_000) <= 1.0


def test_a_retry_tries_until_it_works_or_time_is_over():
    faults = [OSError(), OSError()]

    def action() -> str:
        if faults:
            raise faults.pop()
        return "done"

    retry = Retry((OSError,), Backoff(0.001, 0.002))
    assert retry.call(action, Deadline.after(5.0)) == "done"
    with pytest.raises(ZeroDivisionError):
        retry.call(lambda: 1 // 0, Deadline.after(0.02))
    with pytest.raises(ValueError, match="other"):
        retry.call(lambda: (_ for _ in ()).throw(ValueError("other")), Deadline.after(5.0))


def test_silence_is_broken_by_any_answer():
    silence = Silence(limit_s=0.04)
    assert not silence.is_too_long
    time.sleep(0.05)
    assert silence.is_too_long
    assert silence.is_question_due
    silence.asked()
    assert not silence.is_question_due
    assert silence.is_too_long
    silence.heard()
    assert not silence.is_too_long
