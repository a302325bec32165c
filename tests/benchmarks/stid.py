"""STID's forward pass at its published size (arXiv:2208.05233), for what it costs: its weights are random.

A window of 12 readings with time of day and day of week, an embedding of the sensor and of both times, three residual
layers of two products each, one product to 12 leads. Dropout does nothing while serving and is left out.
"""

import torch
from torch import Tensor, nn

NUM_INPUTS, NUM_LEADS = 12, 12
CHANNELS = 3
"""Value, time of day, day of week."""
EMBEDDED = 32
HIDDEN = 4 * EMBEDDED
NUM_LAYERS = 3
SLOTS_OF_DAY, DAYS = 288, 7


class Residual(nn.Module):
    """x + W2 relu(W1 x)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """x: [sensors, HIDDEN]."""
        return torch.add(x, self.second(torch.relu(self.first(x))))


class Stid(nn.Module):
    """Windows of every sensor -> forecasts."""

    def __init__(self, num_sensors: int) -> None:
        super().__init__()
        self.window = nn.Linear(NUM_INPUTS * CHANNELS, EMBEDDED)
        self.sensor = nn.Parameter(torch.randn(num_sensors, EMBEDDED))
        self.slot_of_day = nn.Parameter(torch.randn(SLOTS_OF_DAY, EMBEDDED))
        self.day = nn.Parameter(torch.randn(DAYS, EMBEDDED))
        self.layers = nn.Sequential(*(Residual() for _ in range(NUM_LAYERS)))
        self.leads = nn.Linear(HIDDEN, NUM_LEADS)

    def forward(self, windows: Tensor, slot_of_day: Tensor, day: Tensor) -> Tensor:
        """The next readings of every sensor.

        Args:
            windows: [sensors, NUM_INPUTS, CHANNELS]; slot_of_day, day: [sensors] int64, of the last reading.
        Returns:
            [sensors, NUM_LEADS].
        """
        parts = (self.window(windows.flatten(1)), self.sensor, self.slot_of_day[slot_of_day], self.day[day])
        said: Tensor = self.leads(self.layers(torch.cat(parts, dim=1)))
        return said
