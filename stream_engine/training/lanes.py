"""Series read side by side, a stretch of readings at a time, so that a network with a state learns to carry it on.

Each lane is somewhere in the run of one series through one passage and goes on from there; at its end it begins anew
elsewhere, with a fresh state. I know nothing of networks or losses.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stream_engine.errors import ConfigError
from stream_engine.training.harvest import Origins

STRETCH = 32
"""Readings of a lane taken at once; gradients reach back no further."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the lanes read next.

    Attributes:
        readings: [lanes, STRETCH] int64, places among the origins.
        targets: [lanes, STRETCH] int64, the reading itself, or by chance a question asked before the next one.
        is_fresh: [lanes] bool, which lanes begin anew.
    """

    readings: Tensor
    targets: Tensor
    is_fresh: Tensor


class Lanes:
    """So many of them over the same origins; they move on with every stretch."""

    def __init__(self, origins: Origins, num_lanes: int) -> None:
        """Begin before the first stretch: every lane is yet to be put somewhere.

        Raises:
            ConfigError: no series has readings enough for a stretch.
        """
        series, moment = origins.series.cpu().numpy(), origins.moment.cpu().numpy()
        order = np.lexsort((moment, series))
        is_first = (np.diff(series[order], prepend=-1) != 0) | (np.diff(moment[order], prepend=-2) != 1)
        run = np.cumsum(is_first)
        places = np.flatnonzero(~np.isnan(origins.ticks.cpu().numpy()[order]))
        run_ends = np.append(np.flatnonzero(is_first), len(order))[run[places]]
        next_places = np.append(places[1:], len(order))
        readings_left = np.searchsorted(run[places], run[places], side="right") - np.arange(len(places))
        self._order, self._places = torch.from_numpy(order), torch.from_numpy(places)
        self._num_asked = torch.from_numpy(np.minimum(next_places, run_ends) - places)
        self._left = torch.from_numpy(readings_left)
        self._starts = torch.from_numpy(np.flatnonzero(readings_left >= STRETCH))
        self.at = torch.full((num_lanes,), -1)
        if not len(self._starts):
            raise ConfigError(
                f"--attention: no series has {STRETCH} readings to learn from; give more history, or leave it out"
            )

    def move_on(self, draw: torch.Generator) -> Stretch:
        """The next stretch of every lane."""
        at = self.at.clamp(min=0)
        is_within = (self.at >= 0) & (self.at < len(self._left))
        is_fresh = ~is_within | (self._left[at.clamp(max=len(self._left) - 1)] < STRETCH)
        elsewhere = self._starts[torch.randint(len(self._starts), at.shape, generator=draw)]
        at = torch.where(is_fresh, elsewhere, at)
        taken = at[:, None] + torch.arange(STRETCH)
        self.at = torch.where(self._left[at] > STRETCH, at + STRETCH, -1)
        place = self._places[taken]
        later = (torch.rand(taken.shape, generator=draw) * self._num_asked[taken]).long()
        return Stretch(self._order[place], self._order[place + later], is_fresh)
