"""The calendar memory for one row at a time: read at any moment, written visit by visit.

The same equations as `recurrent_core.calendar`, which is the truth I am tested against. I know nothing of forecasts.
"""

from typing import NamedTuple

import numpy as np

from recurrent_core.calendar import CLASS_COUNT_BASE, DAY_S, LEAST_SHARE, SLOWEST_DAILY_S, WEEK_S
from recurrent_core.compiling import compiled
from recurrent_core.models.elinformer.kernel.places import turn


class Clock(NamedTuple):
    """The calendars' cells at a cadence; see `calendar.Clock`."""

    cadence_s: float
    day_period_s: float
    day_width: float
    week_width: float
    is_day_coarse: bool
    is_week_coarse: bool


@compiled
def width(stretch, num_cells):
    """The largest divisor of num_cells not above the stretch (a tenth of grace), at least 1."""
    most = int(min(stretch * 1.1, num_cells))
    for width in range(most, 1, -1):
        if num_cells % width == 0:
            return np.float64(width)
    return 1.0


@compiled
def clock(p, cadence_s):
    """The calendars' cells at a cadence; as `calendar.clock`."""
    day_period_s = WEEK_S if cadence_s >= SLOWEST_DAILY_S else DAY_S
    day_stretch = cadence_s * p.day_cells / day_period_s
    week_stretch = cadence_s * p.week_cells / WEEK_S
    return Clock(
        cadence_s,
        day_period_s,
        width(day_stretch, p.day_cells),
        width(week_stretch, p.week_cells),
        day_stretch >= 0.9,
        week_stretch >= 0.9,
    )


@compiled
def _steps(position, width, is_coarse):
    """Where a position in cells stands among those in use: the cell before, in widths, and the share of the next."""
    steps = position / width
    if is_coarse:
        return np.floor(steps + 0.5), 0.0
    before = np.floor(steps)
    return before, steps - before


@compiled
def read_memories(row, p, at, second, memory):
    """Read A, C, D, W, L at a second (any turn) into memory, [5]; whether the profile knows the place, 1.0 or 0.0."""
    second = turn(second, WEEK_S)
    is_weekend = second >= 5.0 * DAY_S
    level = np.float64(row[p.level])
    position = turn(second / (at.day_period_s / p.day_cells), p.day_cells)
    before, after_share = _steps(position, at.day_width, at.is_day_coarse)
    last = profile = of_class = total = 0.0
    for side in range(2):
        share = after_share if side else 1.0 - after_share
        cell = int((before + side) * at.day_width)
        cell = p.day + (cell if cell < p.day_cells else cell - p.day_cells)
        count = np.float64(row[cell + 4 * p.day_cells])
        if share <= 0.0 or count <= 0.0:
            continue
        weekends = np.floor(count / CLASS_COUNT_BASE)
        class_count = weekends if is_weekend else count - CLASS_COUNT_BASE * weekends
        of_all = np.float64(row[cell + p.day_cells])
        last += share * row[cell]
        profile += share * of_all
        of_class += share * (row[cell + (3 if is_weekend else 2) * p.day_cells] if class_count > 0.0 else of_all)
        total += share
    is_known = total > LEAST_SHARE
    memory[0] = last / total if is_known else level
    memory[1] = profile / total if is_known else level
    memory[2] = of_class / total if is_known else level

    before, after_share = _steps(second / (WEEK_S / p.week_cells), at.week_width, at.is_week_coarse)
    deviation = last_week = total = 0.0
    for side in range(2):
        share = after_share if side else 1.0 - after_share
        cell = int((before + side) * at.week_width)
        cell = p.week + (cell if cell < p.week_cells else cell - p.week_cells)
        if share > 0.0 and row[cell + 2 * p.week_cells] > 0.0:
            deviation += share * row[cell]
            last_week += share * row[cell + p.week_cells]
            total += share
    is_hour_known = total > LEAST_SHARE
    memory[3] = memory[1] + (deviation / total if is_hour_known else 0.0)
    memory[4] = last_week / total if is_hour_known else memory[2]
    return 1.0 if is_known else 0.0


@compiled
def _write_day(row, p, k, place, mean):
    """Write the mean of a visit into a day cell; place is the cell, plus day_cells on a weekend."""
    is_weekend = place >= p.day_cells
    cell = p.day + place % p.day_cells
    packed = np.float64(row[cell + 4 * p.day_cells])
    weekends = np.floor(packed / CLASS_COUNT_BASE)
    weekdays = packed - CLASS_COUNT_BASE * weekends
    row[cell] = mean
    profile = cell + p.day_cells
    row[profile] += max(1.0 / (weekdays + weekends + 1.0), k.profile_rate) * (mean - row[profile])
    count = weekends if is_weekend else weekdays
    of_class = cell + (3 if is_weekend else 2) * p.day_cells
    row[of_class] += max(1.0 / (count + 1.0), k.class_rate) * (mean - row[of_class])
    count = min(count + 1.0, CLASS_COUNT_BASE - 1.0)
    if is_weekend:
        weekends = count
    else:
        weekdays = count
    row[cell + 4 * p.day_cells] = weekdays + CLASS_COUNT_BASE * weekends


@compiled
def _write_week(row, p, k, place, mean, deviation):
    cell = p.week + place % p.week_cells
    count = np.float64(row[cell + 2 * p.week_cells])
    row[cell] += max(1.0 / (count + 1.0), k.week_rate) * (deviation - row[cell])
    row[cell + p.week_cells] = mean
    row[cell + 2 * p.week_cells] = min(count + 1.0, 1e4)


@compiled
def _visit(row, visits, num, cell, value, deviation, is_same):
    """Take a reading into the visit of its cell; num floats a visit: cell, count, mean (and mean deviation)."""
    if is_same:
        row[visits + 1] += np.float32(1.0)
        row[visits + 2] += (value - row[visits + 2]) / row[visits + 1]
        if num == 4:
            row[visits + 3] += (deviation - row[visits + 3]) / row[visits + 1]
        return
    for i in range(num):
        row[visits + num + i] = row[visits + i]
    row[visits] = cell
    row[visits + 1] = 1.0
    row[visits + 2] = value
    if num == 4:
        row[visits + 3] = deviation


@compiled
def _goes_on(row, visits, cell, elapsed_s, cell_s):
    return row[visits] == cell and row[visits + 1] > 0.0 and elapsed_s <= cell_s


@compiled
def learn_calendar(row, p, k, at, value, deviation, elapsed_s, second):
    """Take the reading into its visits of the day's and the week's cells; write the visits that are over."""
    position = turn(second, at.day_period_s) / (at.day_period_s / p.day_cells)
    cell = int(np.floor(position / at.day_width + 0.5) * at.day_width) % p.day_cells
    if second >= 5.0 * DAY_S:
        cell += p.day_cells
    visits = p.day_visits
    if at.is_day_coarse:
        _write_day(row, p, k, cell, value)
        row[visits : visits + 6] = 0.0
    else:
        is_same = _goes_on(row, visits, cell, elapsed_s, at.day_width * at.day_period_s / p.day_cells)
        if not is_same and row[visits + 4] > 0.0:
            _write_day(row, p, k, int(row[visits + 3]), np.float64(row[visits + 5]))
        _visit(row, visits, 3, cell, value, 0.0, is_same)

    position = second / (WEEK_S / p.week_cells)
    cell = int(np.floor(position / at.week_width + 0.5) * at.week_width) % p.week_cells
    visits = p.week_visits
    if at.is_week_coarse:
        _write_week(row, p, k, cell, value, deviation)
        row[visits : visits + 8] = 0.0
        return
    is_same = _goes_on(row, visits, cell, elapsed_s, at.week_width * WEEK_S / p.week_cells)
    if not is_same and row[visits + 5] > 0.0:
        _write_week(row, p, k, int(row[visits + 4]), np.float64(row[visits + 6]), np.float64(row[visits + 7]))
    _visit(row, visits, 4, cell, value, deviation, is_same)
