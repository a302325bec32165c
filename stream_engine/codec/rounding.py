"""Forecast numbers shortened to what matters: about 1e-5 of their sensor's scale.

I know nothing of formats. Rounding is monotone: quantiles that do not cross still do not.
"""

import numpy as np

from stream_engine.records import Float64s

RELATIVE_STEP = 1e-5
STEP_WITHOUT_SCALE = 1e-7
"""Of the largest number, where a sensor has no scale yet."""


def decimals(scale: Float64s, largest: Float64s) -> Float64s:
    """[n] decimal places (negative: zeros before the point) that keep a step of at most 1e-5 of the scale.

    Args:
        scale: [n].
        largest: [n] magnitude of each row's largest number, for rows without a scale.
    """
    step = np.where(np.isfinite(scale) & (scale > 0), RELATIVE_STEP * scale, STEP_WITHOUT_SCALE * largest)
    step = np.where(np.isfinite(step) & (step > 0), step, 1.0)
    return np.clip(np.ceil(-np.log10(step)), -300, 300)


def rounded(numbers: Float64s, places: Float64s) -> Float64s:
    """Numbers to so many decimal places, each the double nearest to its short decimal form.

    Args:
        numbers: [n, ...]; what is not finite, or too large to be rounded, stays.
        places: [n], see decimals.
    """
    places = places.reshape(-1, *[1] * (numbers.ndim - 1))
    up, down = 10.0 ** np.maximum(places, 0), 10.0 ** np.maximum(-places, 0)
    with np.errstate(over="ignore", invalid="ignore"):
        short = np.round(numbers / down * up) / up * down + 0.0
    return np.where(np.isfinite(short), short, numbers)
