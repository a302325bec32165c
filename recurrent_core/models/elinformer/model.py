"""The model elinformer in its default dress: any sensor, nothing fitted to it.

I know nothing of files or of who owns the slots. A reading's way: `fold` it into a copy of the rows, `forecast`
from them, `note` the forecast for the day its truths arrive. README.md beside me has the equations.
"""

import numpy as np
import torch
from torch import Tensor

from recurrent_core import scaling
from recurrent_core.config import ElinformerConfig
from recurrent_core.errors import ConfigError
from recurrent_core.models.elinformer.layout import READOUTS, make_layout
from recurrent_core.models.elinformer.made import Final, Made, finish_plain
from recurrent_core.models.elinformer.mix_net import MixNet
from recurrent_core.models.elinformer.on_cpu import OnCpu
from recurrent_core.models.elinformer.on_torch import OnTorch
from recurrent_core.models.interface import Arrival, Outlook, Question, Runs, StreamingModel

DEFAULT_PRIOR = (1.0, 2.0, 2.0, 2.0, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.5, 1.05, 1.3)
"""Errors expected of each read-out in a new slot, relative to persistence; see READOUTS."""

PRIOR, NETWORK = "readout_prior", "network."
"""Names of the artifact's tensors: the prior, and the beginning of the network's."""


class Elinformer(StreamingModel):
    """Entropy-equality moments, calendar memory and simple read-outs of one state, mixed online by their errors.

    Holds the artifact's choices and tensors, never a slot's state; one object serves every slot of a process.
    """

    def __init__(self, config: ElinformerConfig, tensors: dict[str, Tensor], name: str, version: str) -> None:
        """Build from an artifact's parts.

        Args:
            config: sizes and choices.
            tensors: `readout_prior`, [readouts]; `network.*`, those of MixNet, where there is one.
            name, version: the artifact's.
        """
        tensors = {key: tensor.float() for key, tensor in tensors.items()}
        self.network = _network(tensors)
        wanted = {PRIOR: (len(READOUTS),)}
        found = {key: tuple(tensor.shape) for key, tensor in tensors.items() if not key.startswith(NETWORK)}
        if found != wanted:
            raise ConfigError(f"elinformer wants the tensors {wanted}, found {found}")
        self.config = config
        self.tensors = tensors
        self.layout = make_layout(config, num_candidates=1 if self.network is None else 2)
        self._name, self._version = name, version
        self._on_torch = OnTorch(config, has_network=self.network is not None)
        self._on_cpu = OnCpu(config, self.layout, has_network=self.network is not None)
        self._observer = OnCpu(config, self.layout, has_network=True)

    @classmethod
    def untrained(
        cls, name: str = "default", version: str = "1", config: ElinformerConfig | None = None
    ) -> "Elinformer":
        """The model with nothing learnt: hand-set priors."""
        return cls(config or ElinformerConfig(), {PRIOR: torch.tensor(DEFAULT_PRIOR)}, name, version)

    def with_network(self, network: MixNet, name: str, version: str) -> "Elinformer":
        """This model with a network on top of its mix."""
        tensors = {key: tensor for key, tensor in self.tensors.items() if not key.startswith(NETWORK)}
        tensors |= {NETWORK + key: tensor.detach().clone() for key, tensor in network.state_dict().items()}
        return Elinformer(self.config, tensors, name, version)

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

    def prepare(self, device: torch.device, threads: int = 1) -> None:
        if self.network is not None:
            self.network.to(device)
        if device.type == "cpu":
            self._on_cpu.prepare(self.init_state(1), threads)

    def advance(self, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
        self._check(state, horizon)
        with torch.inference_mode():
            if not state.is_cuda:
                return self._on_cpu.advance(
                    arrival, np.arange(len(state)), state, horizon, self._prior(state), self._finish
                )
            parts = self.layout.views(state)
            return self._on_torch.advance(arrival, parts, horizon, self._prior(state), self._finish)

    def sequence(self, arrival: Arrival, runs: Runs, slab: Tensor, horizon: int) -> Outlook:
        if slab.is_cuda:
            return super().sequence(arrival, runs, slab, horizon)
        self._check(slab, horizon)
        with torch.inference_mode():
            return self._on_cpu.advance(arrival, runs.slots, slab, horizon, self._prior(slab), self._finish)

    def observe(self, arrival: Arrival, runs: Runs, slab: Tensor) -> Made:
        """Fold runs of readings as `sequence` does; what a network on top of the mix is shown at each.

        For training: rows are in host memory, and this model's own network, if it has one, is left aside. The choice
        between candidates learns nothing.
        """
        self.layout.check(slab)
        with torch.inference_mode():
            return self._observer.observe(arrival, runs.slots, slab, self._prior(slab))

    def anchors(self, slab: Tensor) -> Tensor:
        """What every row's values are relative to, [rows] float64."""
        return scaling.join_anchor(self.layout.view(slab, "anchor"))

    def ask(self, question: Question, state: Tensor, horizon: int) -> Outlook:
        self._check(state, horizon)
        with torch.inference_mode():
            if not state.is_cuda:
                return self._on_cpu.ask(question, state, horizon, self._prior(state), self._finish)
            return self._on_torch.ask(question, self.layout.views(state), horizon, self._prior(state), self._finish)

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

    def _finish(self, made: Made) -> Final:
        """The final forecasts: the mix as the network has it, or as it is."""
        return finish_plain(made) if self.network is None else self.network.finish(made)

    def _prior(self, state: Tensor) -> Tensor:
        return self.tensors[PRIOR].to(state.device)

    def _check(self, state: Tensor, horizon: int) -> None:
        """Refuse a foreign state or an impossible horizon, at the door."""
        self.layout.check(state)
        if not 1 <= horizon <= self.max_horizon:
            raise ConfigError(f"horizon is {horizon}, wanted 1 to {self.max_horizon}")


def _network(tensors: dict[str, Tensor]) -> MixNet | None:
    """The network among an artifact's tensors, if there is one.

    Raises:
        ConfigError: its tensors do not fit.
    """
    state = {key.removeprefix(NETWORK): tensor for key, tensor in tensors.items() if key.startswith(NETWORK)}
    if not state:
        return None
    network = MixNet()
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(f"the network's tensors do not fit this version: {error}") from error
    return network.eval().requires_grad_(False)
