"""The model elinformer in both its dresses: the default one, and the trained one that knows series by number.

I know nothing of files or of who owns the slots. A reading's way: `fold` it into a copy of the rows, `forecast`
from them, `note` the forecast for the day its truths arrive. README.md beside me has the equations.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core import scaling
from recurrent_core.config import ElinformerConfig
from recurrent_core.errors import ConfigError
from recurrent_core.models.elinformer.group_net import NUM_HEARD
from recurrent_core.models.elinformer.hearing import Hearing
from recurrent_core.models.elinformer.kernel.group import GROUP_FLOATS, NO_TICK
from recurrent_core.models.elinformer.layout import NUM_LEADS, READOUTS, make_layout
from recurrent_core.models.elinformer.made import UNKNOWN, Final, Made, finish_plain
from recurrent_core.models.elinformer.mix_net import MixNet, says
from recurrent_core.models.elinformer.on_cpu import OnCpu
from recurrent_core.models.elinformer.on_torch import OnTorch
from recurrent_core.models.elinformer.series_net import SeriesNets
from recurrent_core.models.interface import Arrival, Groups, Outlook, Question, Runs, StreamingModel, put_back

DEFAULT_PRIOR = (1.0, 2.0, 2.0, 2.0, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.5, 1.05, 1.3)
"""Errors expected of each read-out in a new slot, relative to persistence; see READOUTS."""

PRIOR, NETWORK, SERIES_NETS = "readout_prior", "network.", "series_nets."
"""Names of the artifact's tensors: the prior, and the beginnings of the networks'."""


Network = TypeVar("Network", MixNet, SeriesNets)


@dataclass(frozen=True, slots=True)
class Known:
    """The series that a trained dress has learnt weights for.

    Attributes:
        names: each name's number is its place, counted from 1.
        channel: the channel they were learnt on, "" where there was just one.
        cadence_s: of the history they were learnt from, the tick in which series of a group hear each other.
    """

    names: tuple[str, ...] = ()
    channel: str = ""
    cadence_s: float = 300.0

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Known":
        """What an artifact tells of them; nothing where it knows none."""
        if not told:
            return cls()
        return cls(tuple(map(str, told["names"])), str(told["channel"]), float(told["cadence_s"]))

    @property
    def fingerprint(self) -> str:
        """Of names, order and cadence, "" without names."""
        told = json.dumps([self.channel, self.cadence_s, *self.names])
        return hashlib.sha256(told.encode()).hexdigest()[:8] if self.names else ""


class Elinformer(StreamingModel):
    """Entropy-equality moments, calendar memory and simple read-outs of one state, mixed online by their errors.

    Holds the artifact's choices and tensors, never a slot's state; one object serves every slot of a process.
    """

    def __init__(
        self,
        config: ElinformerConfig,
        tensors: dict[str, Tensor],
        name: str,
        version: str,
        known: Known | None = None,
    ) -> None:
        """Build from an artifact's parts.

        Args:
            config: sizes and choices.
            tensors: `readout_prior`, [readouts]; `network.*`, those of MixNet, where there is one; `series_nets.*`,
                those of the SeriesNets, where there are some (and a MixNet).
            name, version: the artifact's.
            known: the series that the SeriesNets were learnt from.
        """
        self.known = known or Known()
        self.network = _network(tensors)
        self.series_nets = _series_nets(tensors, len(self.known.names))
        wanted = {PRIOR: (len(READOUTS),)}
        found = {key: tuple(each.shape) for key, each in tensors.items() if not key.startswith((NETWORK, SERIES_NETS))}
        if found != wanted or (self.series_nets is not None) > (self.network is not None and bool(self.known.names)):
            raise ConfigError(f"elinformer wants the tensors {wanted} and those of its networks, found {found}")
        self.config = config
        self.tensors = tensors
        num_candidates = 1 + (self.network is not None) + 2 * (self.series_nets is not None)
        self.layout = make_layout(config, num_candidates, self.known.fingerprint)
        self._hears = self.series_nets is not None
        self._numbers = {name: number for number, name in enumerate(self.known.names, start=1)}
        self._name, self._version = name, version
        self._on_torch = OnTorch(config, has_network=self.network is not None)
        self._on_cpu = OnCpu(config, self.layout, has_network=self.network is not None)
        self._observer = OnCpu(config, self.layout, has_network=True)

    @classmethod
    def untrained(
        cls,
        name: str = "default",
        version: str = "1",
        config: ElinformerConfig | None = None,
        known: Known | None = None,
    ) -> "Elinformer":
        """The model with nothing learnt: hand-set priors; known: series whose rows are to keep their numbers."""
        return cls(config or ElinformerConfig(), {PRIOR: torch.tensor(DEFAULT_PRIOR)}, name, version, known)

    def with_networks(
        self, mix_net: MixNet, series_nets: SeriesNets | None, name: str, version: str, known: Known | None = None
    ) -> "Elinformer":
        """This model with a MixNet on top of its mix, and the networks that know some series, if there are any."""
        tensors = {PRIOR: self.tensors[PRIOR]}
        for prefix, network in ((NETWORK, mix_net), (SERIES_NETS, series_nets)):
            state = {} if network is None else network.state_dict()
            tensors |= {prefix + key: tensor.detach().clone() for key, tensor in state.items()}
        return Elinformer(self.config, tensors, name, version, known)

    def without_group(self) -> "Elinformer":
        """This model with its series deaf to each other."""
        deaf = copy.copy(self)
        deaf._hears = False
        return deaf

    @property
    def hears_group(self) -> bool:
        """Whether its series attend to each other within a group."""
        return self._hears

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

    def number_of(self, name: str, channel: str) -> int:
        is_theirs = channel in ("", self.known.channel) or not self.known.channel
        return self._numbers.get(name, UNKNOWN) if is_theirs else UNKNOWN

    def init_group(self) -> NDArray[np.float64]:
        if not self._hears:
            return super().init_group()
        group = np.zeros(GROUP_FLOATS)
        group[0] = NO_TICK
        return group

    def inscribe(self, state: Tensor, numbers: NDArray[np.int64]) -> None:
        if self.known.names:
            self.layout.view(state, "series").copy_(torch.from_numpy(numbers))

    def renew(self, state: Tensor) -> None:
        series = self.layout.view(state, "series").nan_to_num(nan=UNKNOWN, posinf=UNKNOWN) if self.known.names else None
        super().renew(state)
        if series is not None:
            self.layout.view(state, "series").copy_(series)

    def keep_told(self, state: Tensor, before: Tensor) -> None:
        if self.known.names:
            self.layout.view(state, "told").copy_(self.layout.view(before, "told"))

    def prepare(self, device: torch.device, threads: int = 1) -> None:
        if self.network is not None:
            self.network.to(device)
        if self.series_nets is not None:
            self.series_nets.to(device)
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

    def sequence(
        self, arrival: Arrival, runs: Runs, slab: Tensor, horizon: int, groups: Groups | None = None
    ) -> Outlook:
        hearing = self._hearing(groups)
        if slab.is_cuda:
            if hearing is None:
                return super().sequence(arrival, runs, slab, horizon)
            return self._by_waves(arrival, runs, slab, horizon, hearing)
        self._check(slab, horizon)
        with torch.inference_mode():
            return self._on_cpu.advance(arrival, runs.slots, slab, horizon, self._prior(slab), self._finish, hearing)

    @torch.inference_mode()
    def _by_waves(self, arrival: Arrival, runs: Runs, slab: Tensor, horizon: int, hearing: Hearing) -> Outlook:
        """Runs of readings that hear each other, by torch's operations on any device."""
        self._check(slab, horizon)
        columns = (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
        values, prior = arrival.value.cpu().numpy(), self._prior(slab)
        outlooks, places = [], []
        for wave in hearing.waves(runs.slots, np.isnan(values)):
            which, slots = (torch.from_numpy(each).to(slab.device) for each in (wave, runs.slots[wave]))
            rows = slab[slots]
            parts = self.layout.views(rows)
            finish = partial(self._finish_heard, hearing=hearing, wave=wave, told=parts["told"], values=values)
            value, *when = (column[which] for column in columns)
            if np.isnan(values[wave[0]]):
                found = self._on_torch.ask(Question(*when), parts, horizon, prior, finish)
            else:
                found = self._on_torch.advance(Arrival(value, *when), parts, horizon, prior, finish)
                slab[slots] = rows
            outlooks.append(found)
            places.append(which)
        return put_back(outlooks, places)

    def _finish_heard(
        self, made: Made, *, hearing: Hearing, wave: NDArray[np.int64], told: Tensor, values: NDArray[np.float64]
    ) -> Final:
        """The final forecasts of a wave whose readings tell their groups and hear of them; told: theirs, changed."""
        table = told.cpu().numpy()
        slots = np.empty(len(values), np.int64)
        slots[wave] = np.arange(len(wave))
        (heard,) = hearing.heard(table, slots, [(wave, made, hearing.said(made))], values)
        told.copy_(torch.from_numpy(table))
        return self._finish(replace(made, heard=heard.to(told.device)))

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
        """The final forecasts: the mix as the networks have it, or as it is."""
        if self.network is None:
            return finish_plain(made)
        final = self.network.finish(made)
        if self.series_nets is None:
            return final
        with torch.inference_mode():
            heard = made.features.new_zeros(len(made.mix), NUM_HEARD) if made.heard is None else made.heard
            said = [_shifted(made, shift) for shift in self.series_nets(made.shown, heard)]
        return replace(final, candidates=torch.cat([final.candidates, *said], dim=1))

    def _hearing(self, groups: Groups | None) -> Hearing | None:
        """Of a batch, where this model's series hear each other."""
        if groups is None or self.series_nets is None or not self._hears:
            return None
        return Hearing(self.series_nets.group, groups, self.known.cadence_s)

    def _prior(self, state: Tensor) -> Tensor:
        return self.tensors[PRIOR].to(state.device)

    def _check(self, state: Tensor, horizon: int) -> None:
        """Refuse a foreign state or an impossible horizon, at the door."""
        self.layout.check(state)
        if not 1 <= horizon <= self.max_horizon:
            raise ConfigError(f"horizon is {horizon}, wanted 1 to {self.max_horizon}")


def _network(tensors: dict[str, Tensor]) -> MixNet | None:
    """The network on top of the mix among an artifact's tensors, if there is one."""
    state = _under(NETWORK, tensors)
    return _loaded(MixNet(), state) if state else None


def _series_nets(tensors: dict[str, Tensor], num_series: int) -> SeriesNets | None:
    """The networks that know series among an artifact's tensors, if there are some."""
    state = _under(SERIES_NETS, tensors)
    return _loaded(SeriesNets(num_series), state) if state else None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _loaded(network: Network, state: dict[str, Tensor]) -> Network:
    """The network with these weights, ready to serve.

    Raises:
        ConfigError: they do not fit.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ConfigError(f"a network's tensors do not fit this version: {error}") from error
    return network.eval().requires_grad_(False)


def _shifted(made: Made, shift: Tensor) -> Tensor:
    """The mix shifted at the learnt leads, less and less beyond them, [batch, 1, leads]."""
    num_leads = made.mix.shape[1]
    whole = says(made.features)[:, None] * shift[:, :num_leads]
    if num_leads > NUM_LEADS:
        fading = NUM_LEADS / torch.arange(NUM_LEADS + 1, num_leads + 1, device=shift.device)
        whole = torch.cat([whole, whole[:, -1:] * fading], dim=1)
    return (made.mix + whole)[:, None]
