"""Carries each series' attention over its own past on, within the rows of a batch: made for one call.

I know nothing of folds, groups or of who owns the rows. Runs of equal length go through the stack together.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core.models.elinformer.history_net import HistoryNet
from recurrent_core.models.elinformer.made import Made
from recurrent_core.models.elinformer.mix_net import FIRST_COUNT
from recurrent_core.state import StateLayout

Int64s = NDArray[np.int64]


class Recalling:
    """The rows that readings go to, as far as they are a HistoryNet's."""

    def __init__(self, net: HistoryNet, layout: StateLayout, rows: Tensor) -> None:
        """Args: rows, [rows, floats] of the layout; their history and memory are changed."""
        self._net = net
        self._history, self._memory = (layout.view(rows, part) for part in net.parts)

    def shift(self, made: Made) -> Tensor:
        """Fold what was made of readings, and say what the mix should be shifted by at each, [n, NUM_LEADS]."""
        rows = made.rows.cpu().numpy()
        is_told = ((made.count >= FIRST_COUNT) & ~made.ticks.isnan()).cpu().numpy()
        order = np.argsort(rows, kind="stable")
        told = order[is_told[order]]
        remembered = self._memory[made.rows]
        if len(told):
            hidden = self._fold(made, told, rows[told])
            last = _last_told(rows[order], is_told[order])
            has_one = last >= 0
            places = torch.from_numpy(order[has_one]).to(hidden.device)
            remembered[places] = hidden[torch.from_numpy(last[has_one]).to(hidden.device)]
        said: Tensor = self._net(made.shown, remembered)
        return said

    def _fold(self, made: Made, told: Int64s, rows: Int64s) -> Tensor:
        """The stack's outputs at readings told [m], whose rows [m] never fall; [m, WIDTH]."""
        device = self._memory.device
        readings = made[torch.from_numpy(told).to(device)]
        tokens, ticks = self._net.tokens(readings.shown), readings.ticks.float()
        hidden = torch.empty_like(tokens)
        owners, firsts, lengths = np.unique(rows, return_index=True, return_counts=True)
        for length in np.unique(lengths).tolist():
            which = lengths == length
            of = torch.from_numpy(owners[which]).to(device)
            run = torch.from_numpy(firsts[which][:, None] + np.arange(length)).to(device)
            is_written = torch.ones(run.shape, dtype=torch.bool, device=device)
            state = self._net.stack.unpack(self._history[of])
            found, state = self._net.stack.sequence(tokens[run], ticks[run], is_written, state)
            hidden[run] = found
            self._history[of] = self._net.stack.pack(state)
            self._memory[of] = found[:, -1]
        return hidden


def _last_told(rows: Int64s, is_told: NDArray[np.bool_]) -> Int64s:
    """The number, among those told, of each one's last one of its row; -1 before the first. Rows never fall."""
    number = np.cumsum(is_told) - 1
    before_row = (np.cumsum(is_told) - is_told)[np.searchsorted(rows, rows)] - 1
    return np.where(number > before_row, number, -1)
