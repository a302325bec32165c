"""The journal of a slot: its last readings, kept so that one which comes late can be put in its place.

A reading is kept as four numbers of 48 bits, each two float32, so that a journal is a part of a row like any other. I
know nothing of models or of who owns the rows.

    entries [n, 4, 2] float32      value, elapsed_s, cadence_s, second_of_week; high and low part of each
"""

import torch
from torch import Tensor

from recurrent_core import scaling
from recurrent_core.calendar import WEEK_S
from recurrent_core.models.interface import Arrival

NUM_COLUMNS = 4
VALUE, ELAPSED, _, SECOND = range(NUM_COLUMNS)


def written(arrival: Arrival) -> Tensor:
    """Readings as entries, [n, 4, 2]; NaN, the value of a question, stays NaN."""
    columns = (arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
    return torch.stack([scaling.split_anchor(column) for column in columns], dim=1)


def read(entries: Tensor) -> Arrival:
    """The readings that entries hold, each number rounded to 48 bits."""
    value, elapsed_s, cadence_s, second = entries.double().sum(dim=2).T.contiguous()
    return Arrival(value, elapsed_s, cadence_s, second.remainder(WEEK_S))


def inserted(journals: Tensor, lengths: Tensor, late: Tensor) -> Tensor:
    """Journals with one late reading more, each in its place.

    Args:
        journals: [slots, most, 4] float64, the readings in order; what stands behind the last is of no matter.
        lengths: [slots] int64, how many there are.
        late: [slots, 4] float64; its elapsed_s, < 0, is since the slot's last reading.
    Returns:
        [slots, most + 1, 4]; the late reading and the one after it have the elapsed_s that they would have in order.
    """
    num, most, _ = journals.shape
    place = torch.arange(most, device=journals.device)
    elapsed_s = journals[:, :, ELAPSED].where(place < lengths[:, None], 0.0)
    age_s = elapsed_s.flip(1).cumsum(dim=1).flip(1) - elapsed_s
    behind_s = -late[:, ELAPSED, None]
    before = ((age_s > behind_s) & (place < lengths[:, None])).sum(dim=1)
    is_next = place == before[:, None]
    until_next_s = ((behind_s - age_s) * is_next).sum(dim=1)
    from_last_s = ((elapsed_s - behind_s + age_s) * is_next).sum(dim=1).clamp(min=0.0)
    journals, late = journals.clone(), late.clone()
    journals[:, :, ELAPSED] = torch.where(is_next, until_next_s[:, None], journals[:, :, ELAPSED])
    late[:, ELAPSED] = from_last_s
    longer = torch.arange(most + 1, device=journals.device)
    source = (longer - (longer > before[:, None]).long()).clamp(max=most - 1)
    found = journals.gather(1, source[:, :, None].expand(num, most + 1, NUM_COLUMNS))
    return torch.where((longer == before[:, None])[:, :, None], late[:, None], found)
