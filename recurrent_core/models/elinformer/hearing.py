"""Lets the readings of a batch tell their groups what they say, and hear of them: made for one batch.

I know nothing of folds or of who owns the slab.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recurrent_core.models.elinformer.group_net import NUM_HEARD, GroupNet
from recurrent_core.models.elinformer.kernel.group import hear
from recurrent_core.models.elinformer.made import Made
from recurrent_core.models.elinformer.mix_net import says
from recurrent_core.models.interface import Groups

Int64s = NDArray[np.int64]
Float32s = NDArray[np.float32]


class Hearing:
    """The readings of one batch, in the order in which they hear each other."""

    def __init__(self, net: GroupNet, groups: Groups, cadence_s: float) -> None:
        """Begin.

        Args:
            groups: of every reading of the batch; their state is changed.
            cadence_s: a tick of every group.
        """
        self._net = net
        self._groups = groups
        self._tick = np.floor(groups.time_s / cadence_s)
        self.order: Int64s = np.argsort(groups.rank, kind="stable")

    def pieces(self, size: int) -> list[Int64s]:
        """The readings in order, in pieces of about `size` that cut no rank in two."""
        firsts = np.flatnonzero(np.diff(self._groups.rank[self.order], prepend=-1))
        cuts = np.unique(firsts[np.searchsorted(firsts, np.arange(size, len(self.order), size), side="right") - 1])
        return [piece for piece in np.split(self.order, cuts) if len(piece)]

    def waves(self, slots: Int64s, is_question: NDArray[np.bool_]) -> Iterator[Int64s]:
        """The readings in order, in waves of different slots, all readings or all questions.

        A wave cuts no rank in two; where there are questions it is of one rank, whose readings come first.
        """
        rank = self._groups.rank[self.order]
        firsts = np.flatnonzero(np.diff(rank, prepend=-1))
        if is_question.any():
            for row in np.split(self.order, firsts[1:]):
                yield from (part for part in (row[~is_question[row]], row[is_question[row]]) if len(part))
            return
        mine = slots[self.order]
        by_slot = np.argsort(mine, kind="stable")
        before = np.full(len(mine), -1)
        is_same = mine[by_slot[1:]] == mine[by_slot[:-1]]
        before[by_slot[1:][is_same]] = by_slot[:-1][is_same]
        start = 0
        while start < len(mine):
            repeats = np.flatnonzero(before[start:] >= start)
            stop = len(mine) if not len(repeats) else firsts[np.searchsorted(firsts, start + repeats[0], "right") - 1]
            yield self.order[start:stop]
            start = int(stop)

    def said(self, made: Made) -> Tensor:
        """What readings say, [n, 3, heads, width]."""
        said: Tensor = self._net(made.shown)
        return said.nan_to_num()

    def heard(
        self, table: Float32s, slots: Int64s, piece: Sequence[tuple[Int64s, Made, Tensor]], values: NDArray[np.float64]
    ) -> list[Tensor]:
        """What readings hear, after all that stand before them in the order have been heard.

        Args:
            table: [rows, floats] what each slot told last, changed. slots: [readings of the batch].
            piece: parts of a piece: which readings of the batch they are, [n], what was made of them and what they say.
            values: [readings of the batch], NaN for a question, which tells nothing.
        Returns:
            [n, NUM_HEARD] for each part.
        """
        places = np.concatenate([part for part, _, _ in piece])
        told = np.concatenate([said.cpu().numpy() for _, _, said in piece])
        may = np.concatenate([self._may_tell(made).cpu().numpy() for _, made, _ in piece]) & ~np.isnan(values[places])
        groups, rank = self._groups, self._groups.rank[places]
        heard = np.empty((len(places), NUM_HEARD), np.float32)
        order = np.argsort(rank, kind="stable")
        hear(table, slots[places], told, may, order, rank, self._tick[places], groups.of[places], groups.state, heard)
        cuts = np.cumsum([len(part) for part, _, _ in piece])[:-1]
        return [torch.from_numpy(part) for part in np.split(heard, cuts)]

    def _may_tell(self, made: Made) -> Tensor:
        """[n] bool: series that were learnt, and have something to say."""
        return (made.series > 0) & (made.series <= self._net.num_series) & (says(made.features) > 0)
