"""Running level and scale of a slot's values, and the ring of its last values.

I know nothing of calendars, forecasts or what the values measure. Values here are float32, relative to
the slot's anchor (its first value), so that a great offset costs no precision.
"""

import torch
from torch import Tensor

LARGEST = 1e35
"""Values relative to the anchor are kept within ± this, so that differences stay finite in float32."""


def split_anchor(value: Tensor) -> Tensor:
    """A float64 value as the sum of two float32, [batch] -> [batch, 2]; saturates at ±1e38."""
    value = value.clamp(-1e38, 1e38)
    high = value.float()
    return torch.stack([high, (value - high.double()).float()], dim=1)


def join_anchor(anchor: Tensor) -> Tensor:
    """The float64 value that `split_anchor` took apart, [batch, 2] -> [batch]."""
    return anchor.double().sum(dim=1)


def relative(value: Tensor, anchor: Tensor) -> Tensor:
    """value - anchor as float32 within ±LARGEST; value [batch] float64, anchor [batch, 2]."""
    return (value - join_anchor(anchor)).clamp(-LARGEST, LARGEST).float()


def push(ring: Tensor, newest: Tensor, ticks: Tensor) -> Tensor:
    """The ring after a reading that came `ticks` after the last one; newest first.

    Ticks in between are filled on the straight line from the old value to the new one.

    Args:
        ring: [batch, size]; newest: [batch]; ticks: [batch] float32, >= 1.
    Returns:
        [batch, size], a new tensor.
    """
    size = ring.shape[1]
    age = torch.arange(size, device=ring.device, dtype=ring.dtype)
    from_old = age - ticks[:, None]
    slope = ring[:, :1] - newest[:, None]
    filled = newest[:, None] + slope * (age / ticks[:, None])
    is_new = (from_old < 0).float()
    return torch.lerp(ring.gather(1, from_old.clamp(min=0.0).long()), filled, is_new)


def towards(mean: Tensor, value: Tensor, rate: Tensor | float) -> Tensor:
    """The running mean moved towards value by rate, all spreading over one another."""
    return mean + rate * (value - mean)


def scale(step_sizes: Tensor, count: Tensor, anchor: Tensor, level: Tensor) -> Tensor:
    """The slot's scale s = (s_1 + s_12) / 2, with a guess for its first readings and a floor.

    The guess, a tenth of the first value (1 if that is 0), fades by e^-3 a reading.

    Args:
        step_sizes: [batch, 2], running means of |y_t - y_{t-1}| and |y_t - y_{t-12}|.
        count: [batch], readings so far, >= 1.
        anchor: [batch, 2]; level: [batch], relative to it.
    Returns:
        [batch], > 0.
    """
    size = anchor[:, 0].abs()
    guess = 0.1 * size + (size == 0)
    floor = 1e-10 * size + 1e-7 * level.abs() + 1e-30
    return step_sizes.mean(dim=1) + guess * torch.exp(-3.0 * (count - 1.0)) + floor
