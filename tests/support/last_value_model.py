"""The simplest streaming model there is: it forecasts the last reading. For tests of what stands around a model."""

import torch
from torch import Tensor

from recurrent_core.models.interface import Arrival, Outlook, Question, StreamingModel


class LastValueModel(StreamingModel):
    """State: [last value, readings folded]; the quantiles lie `spread` below and above the last value."""

    def __init__(self, spread: float = 0.0) -> None:
        self._spread = spread

    @property
    def name(self) -> str:
        return "last-value"

    @property
    def version(self) -> str:
        return "1"

    @property
    def state_floats(self) -> int:
        return 2

    @property
    def layout_id(self) -> str:
        return "last-value-1"

    @property
    def max_horizon(self) -> int:
        return 1_000

    def init_state(self, num_slots: int) -> Tensor:
        return torch.zeros(num_slots, 2)

    def step(self, arrival: Arrival, state: Tensor, horizon: int) -> tuple[Outlook, Tensor]:
        new = torch.stack([arrival.value.float(), state[:, 1] + 1], dim=1)
        return self._outlook(new, horizon), new

    def ask(self, question: Question, state: Tensor, horizon: int) -> Outlook:
        return self._outlook(state, horizon)

    def describe(self, state: Tensor) -> dict[str, float]:
        return {"last value": float(state[0]), "readings": float(state[1])}

    def _outlook(self, state: Tensor, horizon: int) -> Outlook:
        last = state[:, :1].double().expand(-1, horizon)
        scale = torch.ones(len(state), dtype=torch.float64)
        return Outlook(
            mean=last,
            quantiles=torch.stack([last - self._spread, last, last + self._spread], dim=1),
            scale=scale,
            is_warming_up=state[:, 1] < 2,
            is_drifting=torch.zeros(len(state), dtype=torch.bool),
        )
