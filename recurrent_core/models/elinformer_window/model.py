"""A windowed forecaster with attention over time and attention over sensors, by any rule (after arXiv:2511.03190).

Of the paper's model only the abstract was at hand; this is its idea with our layout: tokens of readings attend over
time within a sensor, their joined hidden vectors attend across sensors, with learned sensors, time of day and day of
week as in arXiv:2208.05233. I know nothing of files or training. I re-read my window at every call and keep no state.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recurrent_core.errors import ConfigError, ShapeError
from recurrent_core.layers.attention import AttentionLayer
from recurrent_core.layers.block import Block
from recurrent_core.ops.registry import mechanism_class

NUM_IN = NUM_OUT = 12
TIME_WIDTH, TIME_HEADS = 16, 2
WIDTH, SENSOR_HEADS, NUM_BLOCKS = 64, 4, 2
CELLS_A_DAY, DAYS_A_WEEK = 288, 7
STAND_IN = "softmax"
"""What reads across sensors where the rule cannot, since it lives on the order."""


class Layer(nn.Module):
    """x + attention(norm x), then a block."""

    def __init__(self, width: int, num_heads: int, rule: str, choices: Mapping[str, Any]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = AttentionLayer(width, num_heads, rule, choices)
        self.block = Block(width)

    def forward(self, x: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        """attend is one of the attention's own forms."""
        hidden: Tensor = self.block(x + attend(self.norm(x)))
        return hidden


class ElinformerWindow(nn.Module):
    """NUM_IN readings of every sensor in, NUM_OUT forecasts of each out.

    `mean` and `std`, [sensors], are what values are standardised by.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_sensors: int, rule: str) -> None:
        """Args: num_sensors, always the same ones; rule, by name, over time and, where it can, across sensors.

        Raises:
            ConfigError: if there is no such rule.
        """
        super().__init__()
        if num_sensors < 1:
            raise ConfigError(f"a window of {num_sensors} sensors; wanted at least 1")
        across = STAND_IN if mechanism_class(rule).why_not_across else rule
        over_time, over_sensors = ({"window": n} if rule == "linformer" else {} for n in (NUM_IN, num_sensors))
        if rule == "linformer":
            over_sensors["rank"] = min(16, num_sensors)
        self.rule, self.num_sensors = rule, num_sensors
        self.register_buffer("mean", torch.zeros(num_sensors))
        self.register_buffer("std", torch.ones(num_sensors))
        self.token = nn.Linear(2, TIME_WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(NUM_IN, TIME_WIDTH))
        self.over_time = Layer(TIME_WIDTH, TIME_HEADS, rule, over_time)
        self.join = nn.Linear(NUM_IN * TIME_WIDTH + NUM_IN, WIDTH)
        self.sensor = nn.Parameter(0.02 * torch.randn(num_sensors, WIDTH))
        self.time_of_day, self.day = nn.Embedding(CELLS_A_DAY, WIDTH), nn.Embedding(DAYS_A_WEEK, WIDTH)
        for table in (self.time_of_day, self.day):
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.Sequential(*(Block(WIDTH) for _ in range(NUM_BLOCKS)))
        self.over_sensors = Layer(WIDTH, SENSOR_HEADS, across, over_sensors)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, NUM_OUT)

    def forward(self, values: Tensor, is_there: Tensor, second_of_week: Tensor) -> Tensor:
        """Forecasts of the next NUM_OUT readings.

        Args:
            values: [batch, NUM_IN, sensors], standardised, gaps filled with the last reading.
            is_there: [batch, NUM_IN, sensors] bool, which are readings.
            second_of_week: [batch], of the last reading, 0 is Monday 00:00.
        Returns:
            [batch, NUM_OUT, sensors], standardised.
        Raises:
            ShapeError: if the window has another length or other sensors.
        """
        if values.shape[1:] != (NUM_IN, self.num_sensors):
            raise ShapeError(f"values are {list(values.shape)}, wanted [batch, {NUM_IN}, {self.num_sensors}]")
        rows = values.mT
        tokens, _ = self._over_time(rows, is_there.mT)
        joined = self.join(torch.cat([tokens.flatten(-2), rows], dim=-1))
        cell = (second_of_week % 86400 * CELLS_A_DAY / 86400).long()
        when = self.time_of_day(cell) + self.day((second_of_week / 86400).long())
        hidden = self.blocks(joined + self.sensor + when.unsqueeze(1))
        hidden = self.over_sensors(hidden, self.over_sensors.attention.across)
        changes: Tensor = self.head(self.norm(hidden))
        return (rows[..., -1:] + changes).mT

    @torch.no_grad()
    def forecast(self, readings: Tensor, second_of_week: Tensor) -> Tensor:
        """Forecasts in the unit of the readings, [batch, NUM_OUT, sensors].

        Args:
            readings: [batch, NUM_IN, sensors], NaN where there is none; a gap is filled with the window's reading
                before it, the mean where there is none.
            second_of_week: [batch], of the last row.
        """
        is_there = ~readings.isnan()
        rows = torch.arange(readings.shape[1], device=readings.device)[:, None]
        last = torch.where(is_there, rows, -1).cummax(dim=1).values
        filled = torch.where(last >= 0, readings.gather(1, last.clamp(min=0)), self.mean.to(readings.dtype))
        standardised = ((filled - self.mean) / self.std).float()
        said: Tensor = self(standardised, is_there, second_of_week)
        return said * self.std + self.mean

    def weights_over_time(self, values: Tensor, is_there: Tensor) -> Tensor | None:
        """What the last reading of each window weighs each with, [batch sensors, heads, NUM_IN]; None where a rule's
        outputs are no sums of values."""
        rows = values.mT
        _, tokens = self._over_time(rows, is_there.mT)
        ones = torch.ones(tokens.shape[:2], device=tokens.device)
        weights = self.over_time.attention.weights(self.over_time.norm(tokens), ones, ones.bool())
        return None if weights is None else weights[..., -1, :]

    def _over_time(self, rows: Tensor, is_there: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens after attention over time, [batch, sensors, NUM_IN, width], and before it, sensors in the batch."""
        tokens = self.token(torch.stack([rows, is_there.to(rows.dtype)], dim=-1)) + self.place
        flat = tokens.flatten(0, 1)
        ones = torch.ones(flat.shape[:2], device=flat.device)
        after = self.over_time(flat, lambda x: self.over_time.attention.attend(x, ones, ones.bool()))
        return after.reshape(tokens.shape), flat
