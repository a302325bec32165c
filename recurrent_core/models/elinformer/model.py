"""The model elinformer in its default dress: any sensor, nothing fitted to it.

I know nothing of files or of who owns the slots. A reading's way: `fold` it into a copy of the rows, `forecast`
from them, `note` the forecast for the day its truths arrive. README.md beside me has the equations.
"""

import torch
from torch import Tensor

from recurrent_core import scaling
from recurrent_core.calendar import clock
from recurrent_core.config import ElinformerConfig
from recurrent_core.errors import ConfigError
from recurrent_core.models.elinformer.fold import MOST_TICKS, fold
from recurrent_core.models.elinformer.forecast import Forecast, Origin, forecast, note
from recurrent_core.models.elinformer.layout import READOUTS, make_layout
from recurrent_core.models.interface import Arrival, Outlook, Question, StreamingModel

DEFAULT_PRIOR = (1.0, 2.0, 2.0, 2.0, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.5, 1.05, 1.3)
"""Errors expected of each read-out in a new slot, relative to persistence; see READOUTS."""


class Elinformer(StreamingModel):
    """Entropy-equality moments, calendar memory and simple read-outs of one state, mixed online by their errors.

    Holds the artifact's choices and tensors, never a slot's state; one object serves every slot of a process.
    """

    def __init__(self, config: ElinformerConfig, tensors: dict[str, Tensor], name: str, version: str) -> None:
        """Build from an artifact's parts.

        Args:
            config: sizes and choices.
            tensors: `readout_prior`, [readouts].
            name, version: the artifact's.
        """
        wanted = {"readout_prior": (len(READOUTS),)}
        found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        if found != wanted:
            raise ConfigError(f"elinformer wants the tensors {wanted}, found {found}")
        self.config = config
        self.tensors = {key: tensor.float() for key, tensor in tensors.items()}
        self.layout = make_layout(config)
        self._name, self._version = name, version

    @classmethod
    def untrained(
        cls, name: str = "default", version: str = "1", config: ElinformerConfig | None = None
    ) -> "Elinformer":
        """The model with nothing learnt: hand-set priors."""
        return cls(config or ElinformerConfig(), {"readout_prior": torch.tensor(DEFAULT_PRIOR)}, name, version)

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return self._version

    @property
    def state_floats(self) -> int:
        return self.layout.num_floats

    @property
    def layout_id(self) -> str:
        return self.layout.layout_id

    @property
    def max_horizon(self) -> int:
        return self.config.max_horizon

    def init_state(self, num_slots: int) -> Tensor:
        return self.layout.zeros(num_slots)

    @torch.no_grad()
    def advance(self, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
        self._check(state, horizon)
        with torch.inference_mode():
            parts = self.layout.views(state)
            at, scale = fold(parts, arrival, self.config)
            made = forecast(parts, Origin(at, at.second_of_week, scale, None), horizon, self._prior(state), self.config)
            note(parts, made)
        return self._outlook(state, made, horizon)

    @torch.no_grad()
    def ask(self, question: Question, state: Tensor, horizon: int) -> Outlook:
        self._check(state, horizon)
        with torch.inference_mode():
            last = question.second_of_week - question.elapsed_s
            at = clock(question.second_of_week, question.cadence_s, self.config.day_cells, self.config.week_cells)
            gap = (question.elapsed_s / question.cadence_s).clamp(max=MOST_TICKS).float()[:, None]
            parts = self.layout.views(state)
            scale = scaling.scale(parts["step_sizes"], parts["count"], parts["anchor"], parts["level"])
            made = forecast(parts, Origin(at, last, scale, gap), horizon, self._prior(state), self.config)
        return self._outlook(state, made, horizon)

    def describe(self, state: Tensor) -> dict[str, float]:
        parts = self.layout.views(state[None])
        scale = scaling.scale(parts["step_sizes"], parts["count"], parts["anchor"], parts["level"])
        anchor = scaling.join_anchor(parts["anchor"])
        return {
            "readings": float(parts["count"]),
            "last_value": float(anchor + parts["ring"][:, 0]),
            "level": float(anchor + parts["level"]),
            "scale": float(scale),
            "pairs_mass": float(parts["moments"][:, 0]),
            "day_cells_known": float((parts["day"][:, 4] > 0).sum()),
            "error_at_lead_1": float(parts["mix_errors"][:, 0]),
            "error_at_lead_12": float(parts["mix_errors"][:, -1]),
        }

    def _prior(self, state: Tensor) -> Tensor:
        return self.tensors["readout_prior"].to(state.device)

    def _check(self, state: Tensor, horizon: int) -> None:
        """Refuse a foreign state or an impossible horizon, at the door."""
        self.layout.check(state)
        if not 1 <= horizon <= self.max_horizon:
            raise ConfigError(f"horizon is {horizon}, wanted 1 to {self.max_horizon}")

    def _outlook(self, state: Tensor, made: Forecast, horizon: int) -> Outlook:
        """Put the forecast back into the unit of the values."""
        anchor = scaling.join_anchor(self.layout.view(state, "anchor"))[:, None]
        middle = made.mix[:, :horizon].double()
        sides = made.widths[:, :, :horizon].double()
        mean = anchor + middle
        drift, count = self.layout.view(state, "drift"), self.layout.view(state, "count")
        return Outlook(
            mean=mean,
            quantiles=torch.stack([mean - sides[:, 0], mean, mean + sides[:, 1]], dim=1),
            scale=made.scale.double(),
            is_warming_up=count < self.config.warm_up_readings,
            is_drifting=(drift[:, 0] > self.config.drift_ratio * drift[:, 1])
            & (count > 2 * self.config.warm_up_readings),
        )
