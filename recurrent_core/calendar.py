"""Memory of the calendar: what a slot's values were at this time of day, this kind of day, this hour of the week.

Linear attention whose keys are calendar cells: a cell holds the means of its visits, and is read by
interpolation at any moment, past or to come. I know nothing of forecasts, nor of how a local time is found.

Two calendars: the *day* (of seven days where the cadence is near a day or longer) and the hours of the *week*.
A slot that reports less often than once a cell uses every w-th cell, w a divisor of their number.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

DAY_S = 86400.0
WEEK_S = 604800.0
SLOWEST_DAILY_S = 64800.0
"""Cadences of at least this many seconds have a season of seven days."""
CLASS_COUNT_BASE = 64.0
"""A day cell's visits on weekdays and on weekends are kept in one float: weekdays + 64 * weekends, each <= 63."""
NUM_DAY_ROWS = 5
"""Rows of the day calendar: last visit A, profile C, weekday and weekend profile D0 and D1, packed counts."""
NUM_WEEK_ROWS = 3
"""Rows of the week calendar: deviation from C by hour, last week's value, count."""
LEAST_SHARE = 1e-6
"""A place is known to a calendar if cells it has seen have at least this share in it."""
NUM_MEMORIES = 5
"""Memories read: A last visit, C profile, D the class of day's, W = C + deviation by hour of week, L last week."""


@dataclass(frozen=True, slots=True)
class Clock:
    """When a batch's moment is, and the calendars' cells at its cadence; lives for one call.

    Attributes:
        second_of_week: [batch] float64; cadence_s: [batch] float64.
        day_period_s: [batch] float64, seconds in the day calendar's turn.
        day_width, week_width: [batch] float64, cells used as one.
        is_day_coarse, is_week_coarse: [batch] bool, at most one reading a cell: read the nearest, do not interpolate.
    """

    second_of_week: Tensor
    cadence_s: Tensor
    day_period_s: Tensor
    day_width: Tensor
    week_width: Tensor
    is_day_coarse: Tensor
    is_week_coarse: Tensor


@dataclass(frozen=True, slots=True)
class Places:
    """Where moments stand in the two calendars; every column [batch, moments].

    Attributes:
        day_cells, week_cells: [batch, 2 * moments] int64, the cells before, then the cells after each moment.
        day_shares, week_shares: [batch, 2 * moments], their weights, each pair summing to 1.
        is_weekend: [batch, moments] float32, 1 on Saturdays and Sundays, else 0.
    """

    day_cells: Tensor
    week_cells: Tensor
    day_shares: Tensor
    week_shares: Tensor
    is_weekend: Tensor


def clock(second_of_week: Tensor, cadence_s: Tensor, num_day_cells: int, num_week_cells: int) -> Clock:
    """Set the clock of a batch; arguments [batch] float64."""
    day_period_s = torch.where(cadence_s >= SLOWEST_DAILY_S, WEEK_S, DAY_S).double()
    day_stretch = cadence_s * num_day_cells / day_period_s
    week_stretch = cadence_s * num_week_cells / WEEK_S
    return Clock(
        second_of_week=second_of_week,
        cadence_s=cadence_s,
        day_period_s=day_period_s,
        day_width=_width(day_stretch, num_day_cells),
        week_width=_width(week_stretch, num_week_cells),
        is_day_coarse=day_stretch >= 0.9,
        is_week_coarse=week_stretch >= 0.9,
    )


@cache
def _divisors(num_cells: int, device: torch.device) -> Tensor:
    """The divisors of num_cells in order, float64."""
    divisors = [d for d in range(1, num_cells + 1) if num_cells % d == 0]
    return torch.tensor(divisors, dtype=torch.float64, device=device)


def _width(stretch: Tensor, num_cells: int) -> Tensor:
    """The largest divisor of num_cells not above the cadence's stretch in cells (a tenth of grace), at least 1."""
    divisors = _divisors(num_cells, stretch.device)
    return divisors[(torch.bucketize(stretch * 1.1, divisors, right=True) - 1).clamp(min=0)]


def _split(position: Tensor, width: Tensor, is_coarse: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
    """Cells before and after each position, and their shares, [batch, 2 * moments]; width, is_coarse: [batch, 1]."""
    steps = position / width
    steps = torch.where(is_coarse, torch.floor(steps + 0.5), steps)
    before = torch.floor(steps)
    share = steps - before
    cells = torch.cat([before, before + 1.0], dim=1) * width
    return _turn(cells, num_cells).long(), torch.cat([1.0 - share, share], dim=1).float()


def _turn(position: Tensor, length: float) -> Tensor:
    """The position within one turn, [0, length); much faster than torch.remainder."""
    return position - length * torch.floor(position / length)


def places(at: Clock, ticks: Tensor, num_day_cells: int, num_week_cells: int) -> Places:
    """Where the moments `ticks` after the clock's stand; ticks: [batch or 1, moments]."""
    second = _turn(at.second_of_week[:, None] + ticks.double() * at.cadence_s[:, None], WEEK_S)
    day_position = _turn(second / (at.day_period_s / num_day_cells)[:, None], num_day_cells)
    day_cells, day_shares = _split(day_position, at.day_width[:, None], at.is_day_coarse[:, None], num_day_cells)
    week_cells, week_shares = _split(
        second / (WEEK_S / num_week_cells), at.week_width[:, None], at.is_week_coarse[:, None], num_week_cells
    )
    return Places(day_cells, week_cells, day_shares, week_shares, (second >= 5 * DAY_S).float())


def read(day: Tensor, week: Tensor, level: Tensor, where: Places) -> tuple[Tensor, Tensor]:
    """Read the memories at the places.

    A memory that has never seen a place falls back: L and D to C, A and C to the level.

    Args:
        day: [batch, NUM_DAY_ROWS, day_cells]; week: [batch, NUM_WEEK_ROWS, week_cells]; level: [batch].
    Returns:
        memories: [batch, NUM_MEMORIES, moments]; is_known: [batch, moments] float32, 1 where the profile has seen
        the place, 0 elsewhere.
    """
    half = where.is_weekend.shape[1]
    cells = day.gather(2, where.day_cells[:, None].expand(-1, NUM_DAY_ROWS, -1))
    count = cells[:, 4]
    weekends = torch.floor(count / CLASS_COUNT_BASE)
    is_weekend = where.is_weekend.repeat(1, 2)
    class_count = torch.lerp(count - CLASS_COUNT_BASE * weekends, weekends, is_weekend)
    of_class = torch.lerp(cells[:, 2], cells[:, 3], is_weekend)
    of_class = torch.lerp(cells[:, 1], of_class, class_count.clamp(max=1.0))
    shares = where.day_shares * count.clamp(max=1.0)
    columns = torch.cat([cells[:, :2], of_class[:, None], torch.ones_like(count)[:, None]], dim=1) * shares[:, None]
    sums = columns[..., :half] + columns[..., half:]
    is_known = (sums[:, 3] > LEAST_SHARE).float()
    by_day = torch.lerp(level[:, None, None], sums[:, :3] / sums[:, 3:].clamp(min=LEAST_SHARE), is_known[:, None])

    hours = week.gather(2, where.week_cells[:, None].expand(-1, NUM_WEEK_ROWS, -1))
    shares = where.week_shares * hours[:, 2].clamp(max=1.0)
    columns = torch.cat([hours[:, :2], torch.ones_like(shares)[:, None]], dim=1) * shares[:, None]
    sums = columns[..., :half] + columns[..., half:]
    is_hour_known = (sums[:, 2:] > LEAST_SHARE).float()
    without_hour = torch.cat([torch.zeros_like(by_day[:, :1]), by_day[:, 2:]], dim=1)
    by_week = torch.lerp(without_hour, sums[:, :2] / sums[:, 2:].clamp(min=LEAST_SHARE), is_hour_known)
    return torch.cat([by_day, by_day[:, 1:2] + by_week[:, :1], by_week[:, 1:]], dim=1), is_known


def visit(visits: Tensor, cell: Tensor, values: Tensor, is_same: Tensor, is_coarse: Tensor) -> tuple[Tensor, Tensor]:
    """Take a reading into the visit of its cell; say which visit is over and to be written.

    A visit is written two cells later, so that reading a cell ahead never meets the visit going on
    (a coarse slot, one reading a cell, writes at once).

    Args:
        visits: [batch, 2, 2 + means], the visit going on and the one before: cell, count, means.
        cell: [batch] the reading's cell; values: [batch, means]; is_same: [batch] bool, the visit goes on.
    Returns:
        the new visits, and the one to write, [batch, 2 + means]; its count is 0 where there is none.
    """
    fresh = torch.cat([cell[:, None], torch.ones_like(cell)[:, None], values], dim=1)
    current, before = visits[:, 0], visits[:, 1]
    count = current[:, 1:2] + 1.0
    means = current[:, 2:] + (values - current[:, 2:]) / count
    going_on = torch.cat([cell[:, None], count, means], dim=1)
    same, fine = is_same.float()[:, None], 1.0 - is_coarse.float()[:, None]
    closed = torch.lerp(fresh, before * (1.0 - same), fine)
    new_before = torch.lerp(current, before, same) * fine
    new_current = torch.lerp(fresh, going_on, same) * fine
    return torch.stack([new_current, new_before], dim=1), closed


def write_day(cells: Tensor, mean: Tensor, is_weekend: Tensor, profile_rate: float, class_rate: float) -> Tensor:
    """A day cell after one more visit.

    Args:
        cells: [batch, NUM_DAY_ROWS]; mean: [batch]; is_weekend: [batch] bool.
    Returns:
        [batch, NUM_DAY_ROWS], a new tensor.
    """
    weekends = torch.floor(cells[:, 4] / CLASS_COUNT_BASE)
    weekdays = cells[:, 4] - CLASS_COUNT_BASE * weekends
    profile = cells[:, 1] + (mean - cells[:, 1]) * (1.0 / (weekdays + weekends + 1.0)).clamp(min=profile_rate)
    count = torch.where(is_weekend, weekends, weekdays)
    old = torch.where(is_weekend, cells[:, 3], cells[:, 2])
    of_class = old + (mean - old) * (1.0 / (count + 1.0)).clamp(min=class_rate)
    count = (count + 1.0).clamp(max=CLASS_COUNT_BASE - 1.0)
    packed = torch.where(is_weekend, weekdays + CLASS_COUNT_BASE * count, count + CLASS_COUNT_BASE * weekends)
    weekday = torch.where(is_weekend, cells[:, 2], of_class)
    weekend = torch.where(is_weekend, of_class, cells[:, 3])
    return torch.stack([mean, profile, weekday, weekend, packed], dim=1)


def write_week(cells: Tensor, mean: Tensor, deviation: Tensor, week_rate: float) -> Tensor:
    """A week cell after one more visit, [batch, NUM_WEEK_ROWS]; mean, deviation (from the profile): [batch]."""
    count = cells[:, 2]
    rate = (1.0 / (count + 1.0)).clamp(min=week_rate)
    return torch.stack([cells[:, 0] + rate * (deviation - cells[:, 0]), mean, (count + 1.0).clamp(max=1e4)], dim=1)


def cells_of(at: Clock, num_day_cells: int, num_week_cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """The cells a reading is written to: day cell and week cell, [batch] float32, and whether it is weekend."""
    day_position = torch.remainder(at.second_of_week, at.day_period_s) / (at.day_period_s / num_day_cells)
    day_cell = torch.remainder(torch.floor(day_position / at.day_width + 0.5) * at.day_width, num_day_cells)
    week_position = at.second_of_week / (WEEK_S / num_week_cells)
    week_cell = torch.remainder(torch.floor(week_position / at.week_width + 0.5) * at.week_width, num_week_cells)
    return day_cell.float(), week_cell.float(), at.second_of_week >= 5 * DAY_S
