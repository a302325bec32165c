"""A partition's event time and the cadence its sensors have in common."""

import numpy as np

from stream_engine.watermark import NUM_EARLY_GAPS, Progress, lower_median


def array(*values: int) -> np.ndarray:
    return np.asarray(values, np.int64)


def test_the_watermark_never_goes_back() -> None:
    progress = Progress()
    progress.advance(array())
    assert progress.watermark_ns is None
    progress.advance(array(5, 9, 7))
    progress.advance(array(3))
    assert progress.watermark_ns == 9


def test_the_lower_median_is_a_gap_that_was_seen() -> None:
    assert lower_median(array(10, 30)) == 10
    assert lower_median(array(50, 10, 30)) == 30


def test_the_common_cadence_stands_once_three_gaps_are_known() -> None:
    progress = Progress()
    assert progress.common_cadence_ns(array(0, 10, 0, 10, 10, 90)).tolist() == [0, 0, 0, 0, 10, 10]
    assert progress.common_cadence_ns(array(0)).tolist() == [10]


def test_the_common_cadence_does_not_depend_on_how_the_log_is_cut() -> None:
    rng = np.random.default_rng(5)
    gaps = np.where(rng.random(400) < 0.5, rng.integers(1, 100, 400), 0)
    whole = Progress().common_cadence_ns(gaps)
    progress, parts = Progress(), []
    for part in np.split(gaps, [1, 2, 9, 70, 71, 300]):
        parts.append(progress.common_cadence_ns(part))
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert len(progress.early_gaps_ns) == NUM_EARLY_GAPS
