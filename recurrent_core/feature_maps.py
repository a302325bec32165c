"""Maps phi from features to keys and queries.

I know nothing of the ops that use them, nor of time zones: the second of the week comes in local time.
"""

import math

import torch
from torch import Tensor

SECONDS_PER_DAY = 86_400.0
WEEKEND_STARTS_S = 5 * SECONDS_PER_DAY


def scale_query(q: Tensor) -> Tensor:
    """u = q / sqrt(d_k), so that the logits u'k of d_k features of unit variance have unit variance.

    Args:
        q: [..., d_k].
    """
    return q / math.sqrt(q.shape[-1])


def unit_length(x: Tensor, eps: float = 1e-6) -> Tensor:
    """x / |x|, for keys and queries whose product is a cosine (the read-out with weights >= 0).

    Args:
        x: [..., d_k].
        eps: the length below which x is taken for nothing and comes out shorter; keeps the gradient finite.
    """
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True).clamp(min=eps * eps))


def num_calendar_keys(num_daily: int, num_weekend: int) -> int:
    """d_k of `calendar_keys`: a sine and a cosine per harmonic, and the weekend's sign."""
    return 2 * num_daily + 1 + 2 * num_weekend


def calendar_keys(second_of_week: Tensor, num_daily: int = 32, num_weekend: int = 8) -> Tensor:
    """Fourier keys of the hour: daily harmonics, the weekend's sign, and that sign times the lower harmonics.

    Args:
        second_of_week: [...], local, in [0, 604800), 0 is Monday 00:00; float64 to keep high harmonics exact.
        num_daily: harmonics of the day.
        num_weekend: how many of them, from the lowest, also come times the weekend's sign; <= num_daily.
    Returns:
        [..., 2 num_daily + 1 + 2 num_weekend] in second_of_week's dtype: sines, cosines, the sign
        (+1 on Saturday and Sunday, else -1), sign times sines, sign times cosines.
    """
    order = torch.arange(1, num_daily + 1, dtype=second_of_week.dtype, device=second_of_week.device)
    angle = (2.0 * math.pi / SECONDS_PER_DAY) * second_of_week.remainder(SECONDS_PER_DAY).unsqueeze(-1) * order
    sine, cosine = angle.sin(), angle.cos()
    is_weekend = (second_of_week >= WEEKEND_STARTS_S).unsqueeze(-1)
    sign = torch.where(is_weekend, 1.0, -1.0).to(sine.dtype)
    return torch.cat([sine, cosine, sign, sign * sine[..., :num_weekend], sign * cosine[..., :num_weekend]], dim=-1)
