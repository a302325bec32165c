"""The Diebold-Mariano test: is one forecaster's loss smaller than another's, or is it chance?

I know nothing of sensors or forecasts: the difference of two losses per origin comes in, a statistic and its p-value
go out.

    d_t = loss of the model - loss of the baseline at origin t (so below 0 the model is better)
    V   = γ_0 + 2 Σ_{k<h} γ_k,   γ_k = Σ_t (d_t - m)(d_{t+k} - m) / n          m is the mean of d
    s   = m / sqrt(V / n) * sqrt((n + 1 - 2h + h (h - 1) / n) / n)

Errors of forecasts h steps ahead overlap for h - 1 origins, hence the h - 1 lags (Diebold and Mariano 1995); the last
factor is the small-sample correction of Harvey, Leybourne and Newbold (1997), who compare s with Student's t of n - 1
degrees. Where V is not above 0, which the plain sum allows, Newey and West's weights 1 - k / h stand in.
"""

from dataclasses import dataclass

import numpy as np

from stream_engine.records import Float64s, Int64s

_MOST_TICKS_AN_ORIGIN = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """One test.

    Attributes:
        statistic: below 0 the model's loss is the smaller; None where it cannot be told.
        p_value: two-sided, None with the statistic.
        num_origins: origins with a difference.
    """

    statistic: float | None
    p_value: float | None
    num_origins: int

    def as_dict(self) -> dict[str, float | int | None]:
        """As it stands in scores.json."""
        return {"statistic": self.statistic, "p_value": self.p_value, "num_origins": self.num_origins}


def diebold_mariano(ticks: Int64s, differences: Float64s, lead: int) -> Verdict:
    """Test whether the differences have mean 0.

    Args:
        ticks: [n] strictly increasing number of each origin's step in time; gaps are allowed, and only origins
            exactly k steps apart count for γ_k.
        differences: [n] finite.
        lead: h; the greatest of them where the loss is a mean over several leads.
    """
    n, h = len(differences), lead
    shrink = (n + 1 - 2 * h + h * (h - 1) / n) / n if n else 0.0
    if n < max(8, 2 * h) or shrink <= 0:
        return Verdict(None, None, n)
    if not differences.any():
        return Verdict(0.0, 1.0, n)
    mean = float(differences.mean())
    gammas = _autocovariances(ticks, differences - mean, h)
    variance = gammas[0] + 2 * gammas[1:].sum()
    if variance <= 1e-12 * gammas[0]:
        variance = gammas[0] + 2 * ((1 - np.arange(1, h) / h) * gammas[1:]).sum()
    if variance <= 0:
        return Verdict(None, None, n)
    statistic = mean / float(np.sqrt(variance / n)) * float(np.sqrt(shrink))
    return Verdict(statistic, two_sided(statistic, n - 1), n)


def two_sided(statistic: float, degrees: int) -> float:
    """Probability that Student's t of so many (whole) degrees lies farther from 0 than the statistic.

    The finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4, so that no library of distributions is needed; what is
    below about 1e-14 comes out as 0.

    >>> round(two_sided(2.228, 10), 4), round(two_sided(-1.96, 100_000), 4)
    (0.05, 0.05)
    """
    angle = float(np.arctan(abs(statistic) / np.sqrt(degrees)))
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    if degrees % 2:
        k = np.arange(2, degrees - 1, 2)
        terms = np.cumprod(np.concatenate([[1.0], cosine**2 * k / (k + 1)])) if degrees > 1 else np.zeros(1)
        inside = (2 / np.pi) * (angle + sine * cosine * float(terms.sum()))
    else:
        k = np.arange(1, degrees - 2, 2)
        inside = sine * float(np.cumprod(np.concatenate([[1.0], cosine**2 * k / (k + 1)])).sum())
    return min(1.0, max(0.0, 1.0 - inside))


def _autocovariances(ticks: Int64s, centred: Float64s, num: int) -> Float64s:
    """γ_0 … γ_{num-1}, [num]."""
    found = np.empty(num)
    found[0] = centred @ centred
    places = ticks - ticks[0]
    if places[-1] > _MOST_TICKS_AN_ORIGIN * len(ticks):
        for lag in range(1, num):
            there = np.searchsorted(ticks, ticks + lag)
            is_pair = there < len(ticks)
            is_pair[is_pair] = ticks[there[is_pair]] == ticks[is_pair] + lag
            found[lag] = centred[is_pair] @ centred[there[is_pair]]
    else:
        spread = np.zeros(int(places[-1]) + 1 + num)  # a tick without an origin adds nothing to any sum
        spread[places] = centred
        for lag in range(1, num):
            found[lag] = spread[:-lag] @ spread[lag:]
    return found / len(centred)
