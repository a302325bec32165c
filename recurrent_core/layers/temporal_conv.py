"""Causal, dilated convolution over the last readings, channel by channel (arXiv:1803.01271, sec. 3.3), as a stream.

I know nothing of attention; I stand before any rule of it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recurrent_core.errors import ConfigError
from recurrent_core.ops.mechanism import State


class TemporalConv(nn.Module):
    """y_t = sum_i w_i x_{t - i dilation} + b, one filter a channel; before the first reading stand zeros.

    Readings are counted, not times: what is not there is a zero.
    """

    def __init__(self, d_model: int, width: int = 4, dilation: int = 1) -> None:
        """Args: width, taps; dilation, readings from one tap to the next."""
        super().__init__()
        if width < 1 or dilation < 1:
            raise ConfigError(f"a convolution of width {width}, dilation {dilation}; wanted at least 1 of each")
        self.reach = (width - 1) * dilation
        self.dilation = dilation
        self.weight = nn.Parameter(torch.empty(d_model, 1, width).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.zeros(d_model))

    def parts(self) -> dict[str, tuple[int, ...]]:
        """The last inputs, oldest first."""
        return {"inputs": (self.reach, len(self.bias))} if self.reach else {}

    def sequence(self, x: Tensor, is_written: Tensor, state: State) -> tuple[Tensor, State]:
        """x: [batch, time, d_model]; is_written: [batch, time]. Returns the same shape, and the state."""
        x = torch.where(is_written.unsqueeze(-1), x, torch.zeros_like(x))
        seen = torch.cat([state["inputs"].to(x.dtype), x], dim=1) if self.reach else x
        filtered = functional.conv1d(seen.mT, self.weight, self.bias, dilation=self.dilation, groups=len(self.bias))
        return filtered.mT, {"inputs": seen[:, seen.shape[1] - self.reach :]} if self.reach else {}

    def step(self, x: Tensor, is_written: Tensor, state: State) -> tuple[Tensor, State]:
        """One reading: x [batch, d_model], is_written [batch]."""
        filtered, state = self.sequence(x.unsqueeze(1), is_written.unsqueeze(1), state)
        return filtered.squeeze(1), state
