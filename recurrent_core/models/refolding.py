"""A model around another one, which folds readings that come late as if they had come in order.

What a state has folded cannot be unfolded, nor can a reading be put under it. So beside the other model's row I keep
one that is some readings behind, the *base*, and the journal of the readings since:

    [ current = base and the whole journal folded | base | journal | length ]

A late reading is put in its place in the journal, and the current row is folded anew from the base. When the journal
is full its oldest readings are folded into the base. So every reading is folded twice, and what a row holds depends on
the readings in their order alone, never on how they were cut into batches.
"""

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core.models import journal
from recurrent_core.models.interface import Arrival, Groups, Outlook, Question, Runs, StreamingModel, put_back
from recurrent_core.state import StateLayout

Int64s = NDArray[np.int64]

NUM_SPARE = 4
"""Readings by which a journal may grow before that many go into the base together: a row is read from memory once."""


class RefoldingModel(StreamingModel):
    """Any model, and readings that are late by fewer than `num_kept` of their slot.

    An arrival whose elapsed_s is below 0 is late: it came so much before the slot's last reading. Its outlook is that
    of the slot's last reading, as it is now. One with num_kept newer readings or more is folded as if it were the
    oldest that is kept. Numbers are rounded to 48 bits before the other model sees them, so that it sees the same when
    they are folded again.

    A series that is folded anew neither hears its group nor tells it anything: what it told last stays told.
    """

    def __init__(self, inner: StreamingModel, num_kept: int) -> None:
        """Wrap a model.

        Args:
            num_kept: at least so many of a slot's last readings can be folded again.
        """
        self._inner = inner
        self._num_kept = num_kept
        parts: dict[str, tuple[int, ...]] = {
            "current": (inner.state_floats,),
            "base": (inner.state_floats,),
            "journal": (num_kept + NUM_SPARE - 1, journal.NUM_COLUMNS, 2),
            "length": (),
        }
        self._layout = StateLayout(f"{inner.layout_id}-refolding", 1, parts)

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def version(self) -> str:
        return self._inner.version

    @property
    def state_floats(self) -> int:
        return self._layout.num_floats

    @property
    def layout_id(self) -> str:
        return self._layout.layout_id

    @property
    def max_horizon(self) -> int:
        return self._inner.max_horizon

    def init_state(self, num_slots: int) -> Tensor:
        state = self._layout.zeros(num_slots)
        for part in self._rows(state):
            part.copy_(self._inner.init_state(num_slots))
        return state

    def number_of(self, name: str, channel: str) -> int:
        return self._inner.number_of(name, channel)

    def inscribe(self, state: Tensor, numbers: NDArray[np.int64]) -> None:
        for part in self._rows(state):
            self._inner.inscribe(part, numbers)

    def init_group(self) -> NDArray[np.float64]:
        return self._inner.init_group()

    def renew(self, state: Tensor) -> None:
        current, base = self._rows(state)
        self._inner.renew(current)
        base.copy_(current)
        self._layout.view(state, "journal").zero_()
        self._layout.view(state, "length").zero_()

    def keep_told(self, state: Tensor, before: Tensor) -> None:
        self._inner.keep_told(self._rows(state)[0], self._rows(before)[0])

    def prepare(self, device: torch.device, threads: int = 1) -> None:
        self._inner.prepare(device, threads)

    def advance(self, arrival: Arrival, state: Tensor, horizon: int) -> Outlook:
        num = len(state)
        return self.sequence(arrival, Runs(np.arange(num), np.array([num])), state, horizon)

    @torch.inference_mode()
    def sequence(
        self, arrival: Arrival, runs: Runs, slab: Tensor, horizon: int, groups: Groups | None = None
    ) -> Outlook:
        self._layout.check(slab)
        entries = journal.written(arrival)
        is_late = (arrival.elapsed_s < 0.0).cpu().numpy()
        if not is_late.any():
            return self._arrive(entries, runs, slab, horizon, groups)
        outlooks, places = [], []
        for piece in _pieces(runs.slots, is_late, np.arange(len(is_late)) if groups is None else groups.rank):
            for which in (piece[~is_late[piece]], piece[is_late[piece]]):
                if not len(which):
                    continue
                order, part = Runs.of(runs.slots[which])
                which = which[order]
                theirs = torch.from_numpy(which).to(slab.device)
                if is_late[which[0]]:
                    outlooks.append(self._merge(entries[theirs], part, slab, horizon))
                else:
                    outlooks.append(self._arrive(entries[theirs], part, slab, horizon, _some(groups, which)))
                places.append(theirs)
        return put_back(outlooks, places)

    def ask(self, question: Question, state: Tensor, horizon: int) -> Outlook:
        self._layout.check(state)
        return self._inner.ask(question, self._layout.view(state, "current").contiguous(), horizon)

    def describe(self, state: Tensor) -> dict[str, float]:
        return self._inner.describe(self._layout.view(state[None], "current")[0])

    def _rows(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """The current rows and the bases, sharing the state's memory."""
        return self._layout.view(state, "current"), self._layout.view(state, "base")

    def _arrive(self, entries: Tensor, runs: Runs, slab: Tensor, horizon: int, groups: Groups | None) -> Outlook:
        """Fold readings that come in order, and answer questions."""
        used, owner = np.unique(runs.slots, return_inverse=True)
        slots = torch.from_numpy(used).to(slab.device)
        current, _ = self._rows(slab)
        rows = current[slots]
        outlook = self._inner.sequence(journal.read(entries), Runs(owner, runs.wave_ends), rows, horizon, groups)
        current[slots] = rows
        is_reading = ~entries[:, journal.VALUE, 0].isnan()
        kept, lengths = self._journals(slab, slots)
        owners = torch.from_numpy(owner).to(slab.device)
        self._keep(
            torch.cat([_owners(lengths), owners[is_reading]]),
            torch.cat([kept, entries[is_reading]]),
            slots,
            slab,
            horizon,
        )
        return outlook

    def _merge(self, entries: Tensor, runs: Runs, slab: Tensor, horizon: int) -> Outlook:
        """Put late readings into the journals and fold their slots anew; the slots' outlooks."""
        used, owner = np.unique(runs.slots, return_inverse=True)
        slots = torch.from_numpy(used).to(slab.device)
        longer, lengths = self._layout.view(slab, "journal")[slots].double().sum(dim=3), self._lengths(slab, slots)
        late = entries.double().sum(dim=2)
        for start, end in pairwise([0, *runs.wave_ends.tolist()]):
            mine = torch.from_numpy(owner[start:end]).to(slab.device)
            grown = longer.new_zeros(len(longer), longer.shape[1] + 1, journal.NUM_COLUMNS)
            grown[:, :-1] = longer
            grown[mine] = journal.inserted(longer[mine], lengths[mine], late[start:end])
            longer = grown
            lengths[mine] += 1
        is_kept = torch.arange(longer.shape[1], device=slab.device) < lengths[:, None]
        self._keep(_owners(lengths), journal.written(Arrival(*longer[is_kept].T)), slots, slab, horizon)
        current, base = self._rows(slab)
        rows = base[slots]
        kept, lengths = self._journals(slab, slots)
        outlook = self._fold(_owners(lengths), kept, rows, horizon)
        self._inner.keep_told(rows, current[slots])
        current[slots] = rows
        lasts = (lengths.cumsum(dim=0) - 1)[torch.from_numpy(owner).to(slab.device)]
        return Outlook(
            outlook.mean[lasts],
            outlook.quantiles[lasts],
            outlook.scale[lasts],
            outlook.is_warming_up[lasts],
            outlook.is_drifting[lasts],
        )

    def _lengths(self, slab: Tensor, slots: Tensor) -> Tensor:
        return self._layout.view(slab, "length")[slots].long()

    def _journals(self, slab: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """The entries of slots, one slot's after the other, and how many each has."""
        journals, lengths = self._layout.view(slab, "journal")[slots], self._lengths(slab, slots)
        return journals[torch.arange(journals.shape[1], device=slab.device) < lengths[:, None]], lengths

    def _keep(self, owners: Tensor, entries: Tensor, slots: Tensor, slab: Tensor, horizon: int) -> None:
        """Write what stands behind the bases into the journals; of what is too much fold the oldest into the bases.

        Args:
            owners: [m] int64, place among the slots of each entry; one's entries stand in order.
            entries: [m, 4, 2].
        """
        owners, order = owners.sort(stable=True)
        entries = entries[order]
        lengths = owners.bincount(minlength=len(slots))
        num_gone = (lengths - self._num_kept).clamp(min=0) // NUM_SPARE * NUM_SPARE
        place = torch.arange(len(owners), device=slab.device) - (lengths.cumsum(dim=0) - lengths + num_gone)[owners]
        is_gone = place < 0
        if is_gone.any():
            _, base = self._rows(slab)
            leaving = num_gone > 0
            rows = base[slots[leaving]]
            self._fold(_owners(num_gone[leaving]), entries[is_gone], rows, horizon)
            base[slots[leaving]] = rows
        journals = self._layout.view(slab, "journal")
        kept = journals.new_zeros(len(slots), *journals.shape[1:])
        kept[owners[~is_gone], place[~is_gone]] = entries[~is_gone]
        journals[slots] = kept
        self._layout.view(slab, "length")[slots] = (lengths - num_gone).float()

    def _fold(self, owners: Tensor, entries: Tensor, rows: Tensor, horizon: int) -> Outlook:
        """Fold entries, [m], into their owners' rows, in place, unheard by any group; an outlook at each."""
        order, runs = Runs.of(owners.cpu().numpy())
        places = torch.from_numpy(order).to(rows.device)
        return put_back([self._inner.sequence(journal.read(entries[places]), runs, rows, horizon)], [places])


def _some(groups: Groups | None, which: Int64s) -> Groups | None:
    """The groups of some readings of a batch."""
    if groups is None:
        return None
    return Groups(groups.state, groups.of[which], groups.rank[which], groups.time_s[which])


def _owners(lengths: Tensor) -> Tensor:
    """Whose each entry is where one's stand after the other's, [sum of lengths]."""
    return torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)


def _pieces(slots: Int64s, is_late: NDArray[np.bool_], rank: Int64s) -> list[Int64s]:
    """The readings by rank, cut so that within a piece no slot has another reading after a late one; no rank is cut.

    Args:
        slots, is_late, rank: [n].
    Returns:
        places, [m] each.
    """
    order = np.argsort(rank, kind="stable")
    firsts = np.searchsorted(rank[order], rank[order])
    by_slot = np.argsort(slots[order], kind="stable")
    at, follower = by_slot[:-1], by_slot[1:]
    is_followed = (slots[order][at] == slots[order][follower]) & is_late[order][at] & ~is_late[order][follower]
    late_at, cut_at = at[is_followed], firsts[follower[is_followed]]
    by_end = np.argsort(cut_at, kind="stable")
    cuts = [0]
    for late, cut in zip(late_at[by_end].tolist(), cut_at[by_end].tolist(), strict=True):
        if cuts[-1] <= late:
            cuts.append(cut)
    return [order[start:end] for start, end in pairwise([*cuts, len(order)])]
