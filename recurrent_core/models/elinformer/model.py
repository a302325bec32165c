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
from recurrent_core.models.elinformer.history_net import HistoryNet
from recurrent_core.models.elinformer.kernel.group import GROUP_FLOATS, NO_TICK
from recurrent_core.models.elinformer.layout import NUM_LEADS, READOUTS, make_layout
from recurrent_core.models.elinformer.made import UNKNOWN, Final, Finish, Made, finish_plain
from recurrent_core.models.elinformer.mix_net import MixNet, says
from recurrent_core.models.elinformer.networks import Networks
from recurrent_core.models.elinformer.on_cpu import OnCpu
from recurrent_core.models.elinformer.on_torch import OnTorch
from recurrent_core.models.elinformer.recalling import Recalling
from recurrent_core.models.elinformer.series_net import SeriesNets
from recurrent_core.models.interface import Arrival, Groups, Outlook, Question, Runs, StreamingModel, put_back

DEFAULT_PRIOR = (1.0, 2.0, 2.0, 2.0, 1.3, 1.3, 1.3, 1.3, 1.3, 1.3, 1.5, 1.05, 1.3)
"""Errors expected of each read-out in a new slot, relative to persistence; see READOUTS."""

PRIOR, NETWORK, SERIES_NETS, HISTORY_NET = "readout_prior", "network.", "series_nets.", "history_net."
"""Names of the artifact's tensors: the prior, and the beginnings of the networks'."""


Network = TypeVar("Network", MixNet, SeriesNets, HistoryNet)


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
                those of the SeriesNets, where there are some (and a MixNet); `history_net.*`, those of the HistoryNet,
                where config.attention names its rules (and there are SeriesNets).
            name, version: the artifact's.
            known: the series that the SeriesNets were learnt from.
        """
        self.known = known or Known()
        self.network = _network(tensors)
        self.series_nets = _series_nets(tensors, len(self.known.names))
        self.history_net = _history_net(tensors, len(self.known.names), config.attention)
        wanted = {PRIOR: (len(READOUTS),)}
        of_networks = (NETWORK, SERIES_NETS, HISTORY_NET)
        found = {key: tuple(each.shape) for key, each in tensors.items() if not key.startswith(of_networks)}
        is_whole = (self.series_nets is None or self.network is not None) and (
            self.history_net is None or self.series_nets is not None
        )
        if found != wanted or not is_whole or (self.series_nets is not None) > bool(self.known.names):
            raise ConfigError(f"elinformer wants the tensors {wanted} and those of its networks, found {found}")
        self.config = config
        self.tensors = tensors
        num_candidates = 1 + (self.network is not None) + 2 * (self.series_nets is not None)
        history = {} if self.history_net is None else self.history_net.parts
        self.layout = make_layout(config, num_candidates + bool(history), self.known.fingerprint, history)
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

    def with_networks(self, networks: Networks, name: str, version: str, known: Known | None = None) -> "Elinformer":
        """This model with networks on top of its mix; known: the series that they know."""
        tensors = {PRIOR: self.tensors[PRIOR]}
        parts = {NETWORK: networks.mix_net, SERIES_NETS: networks.series_nets, HISTORY_NET: networks.history_net}
        for prefix, network in parts.items():
            state = {} if network is None else network.state_dict()
            tensors |= {prefix + key: tensor.detach().clone() for key, tensor in state.items()}
        rules = () if networks.history_net is None else networks.history_net.rules
        return Elinformer(replace(self.config, attention=rules), tensors, name, version, known)

    def without_history(self) -> "Elinformer":
        """This model without its attention over each series' own past."""
        tensors = {key: tensor for key, tensor in self.tensors.items() if not key.startswith(HISTORY_NET)}
        return Elinformer(replace(self.config, attention=()), tensors, self.name, self.version, self.known)

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
        for network in (self.series_nets, self.history_net):
            if network is not None:
                network.to(device)
        if device.type == "cpu":
            self._on_cpu.prepare(self.init_state(1), threads)

    def advance(self, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
        self._check(state, horizon)
        with torch.inference_mode():
            if not state.is_cuda:
                slots = np.arange(len(state))
                return self._on_cpu.advance(arrival, slots, state, horizon, self._prior(state), self._finisher(state))
            parts = self.layout.views(state)
            return self._on_torch.advance(arrival, parts, horizon, self._prior(state), self._finisher(state))

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
            finish, prior = self._finisher(slab), self._prior(slab)
            return self._on_cpu.advance(arrival, runs.slots, slab, horizon, prior, finish, hearing)

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
            finish = partial(self._finish_heard, rows=rows, hearing=hearing, wave=wave, values=values)
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
        self, made: Made, *, rows: Tensor, hearing: Hearing, wave: NDArray[np.int64], values: NDArray[np.float64]
    ) -> Final:
        """The final forecasts of a wave whose readings tell their groups and hear of them; rows: theirs, changed."""
        told = self.layout.view(rows, "told")
        table = told.cpu().numpy()
        slots = np.empty(len(values), np.int64)
        slots[wave] = np.arange(len(wave))
        (heard,) = hearing.heard(table, slots, [(wave, made, hearing.said(made))], values)
        told.copy_(torch.from_numpy(table))
        return self._finisher(rows)(replace(made, heard=heard.to(told.device)))

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
                return self._on_cpu.ask(question, state, horizon, self._prior(state), self._finisher(state))
            parts = self.layout.views(state)
            return self._on_torch.ask(question, parts, horizon, self._prior(state), self._finisher(state))

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

    def _finisher(self, rows: Tensor) -> Finish:
        """What turns the mix of readings that go to these rows into final forecasts."""
        recalling = None if self.history_net is None else Recalling(self.history_net, self.layout, rows)
        return partial(self._finish, recalling=recalling)

    @torch.inference_mode()
    def _finish(self, made: Made, recalling: Recalling | None) -> Final:
        """The final forecasts: the mix as the networks have it, or as it is."""
        if self.network is None:
            return finish_plain(made)
        final = self.network.finish(made)
        if self.series_nets is None:
            return final
        heard = made.features.new_zeros(len(made.mix), NUM_HEARD) if made.heard is None else made.heard
        shifts: list[Tensor] = self.series_nets(made.shown, heard)
        if recalling is not None:
            shifts.append(recalling.shift(made))
        said = [_shifted(made, shift) for shift in shifts]
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


def _history_net(tensors: dict[str, Tensor], num_series: int, rules: tuple[str, ...]) -> HistoryNet | None:
    """The network that attends to each series' past among an artifact's tensors, if it has rules."""
    return _loaded(HistoryNet(num_series, rules), _under(HISTORY_NET, tensors)) if rules else None


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
