"""The calendar memory: where moments stand, what is read there, when visits are written."""

import pytest
import torch

from recurrent_core import calendar

DAY_CELLS, WEEK_CELLS = 96, 168


def at(second: float, cadence_s: float) -> calendar.Clock:
    second_of_week = torch.tensor([second], dtype=torch.float64)
    return calendar.clock(second_of_week, torch.tensor([cadence_s], dtype=torch.float64), DAY_CELLS, WEEK_CELLS)


@pytest.mark.parametrize(
    ("cadence_s", "day_width", "week_width"),
    [(0.01, 1, 1), (300, 1, 1), (900, 1, 1), (1800, 2, 1), (3600, 4, 1), (6 * 3600, 24, 6), (86400, 12, 24)],
)
def test_cells_are_as_wide_as_the_cadence(cadence_s: float, day_width: int, week_width: int) -> None:
    for jitter in (0.97, 1.0, 1.03):
        clock = at(0.0, cadence_s * jitter)
        assert clock.day_width.item() == day_width
        assert clock.week_width.item() == week_width


def test_a_place_between_cells_is_shared() -> None:
    where = calendar.places(at(86400.0 + 450.0 + 900.0, 300.0), torch.tensor([[0.0, 1.5]]), DAY_CELLS, WEEK_CELLS)
    assert where.day_cells.tolist() == [[1, 2, 2, 3]]
    assert torch.allclose(where.day_shares, torch.tensor([[0.5, 1.0, 0.5, 0.0]]))
    assert where.week_cells.tolist() == [[24, 24, 25, 25]]


def test_a_turn_ends_where_it_began() -> None:
    where = calendar.places(at(604800.0 - 300.0, 300.0), torch.tensor([[0.0, 1.0, 289.0]]), DAY_CELLS, WEEK_CELLS)
    assert where.day_cells.tolist() == [[95, 0, 0, 0, 1, 1]]
    assert where.week_cells[0, :3].tolist() == [167, 0, 24]
    assert where.is_weekend.tolist() == [[1.0, 0.0, 0.0]]


@pytest.mark.parametrize("offset_s", [0.0, 1799.0, 1800.0, 3599.0])
def test_an_hourly_slot_reads_the_cell_it_wrote_whatever_its_minute(offset_s: float) -> None:
    for hour in range(24):
        clock = at(hour * 3600.0 + offset_s, 3600.0)
        written, week_written, _ = calendar.cells_of(clock, DAY_CELLS, WEEK_CELLS)
        where = calendar.places(clock, torch.tensor([[0.0]]), DAY_CELLS, WEEK_CELLS)
        assert where.day_cells[0, 0] == written
        assert where.day_shares[0, 0] == 1.0
        assert where.week_cells[0, 0] == week_written


def test_seven_days_have_seven_cells_where_the_cadence_is_a_day() -> None:
    cells = {calendar.cells_of(at(86400.0 * d + 30000.0, 86400.0), DAY_CELLS, WEEK_CELLS)[0].item() for d in range(7)}
    assert len(cells) == 7


def test_an_unknown_place_reads_as_the_level() -> None:
    where = calendar.places(at(0.0, 300.0), torch.tensor([[0.0, 5.0]]), DAY_CELLS, WEEK_CELLS)
    day, week = torch.zeros(1, 5, DAY_CELLS), torch.zeros(1, 3, WEEK_CELLS)
    memories, is_known = calendar.read(day, week, torch.tensor([3.0]), where)
    assert torch.equal(memories, torch.full((1, 5, 2), 3.0))
    assert not is_known.any()


def test_classes_of_day_fall_back_to_the_profile() -> None:
    cells = torch.zeros(1, 5)
    cells = calendar.write_day(cells, torch.tensor([10.0]), torch.tensor([False]), 0.07, 0.1)
    assert cells.tolist() == [[10.0, 10.0, 10.0, 0.0, 1.0]]
    day = torch.zeros(1, 5, DAY_CELLS)
    day[:, :, 0] = cells
    week = torch.zeros(1, 3, WEEK_CELLS)
    saturday = calendar.places(at(5 * 86400.0, 300.0), torch.tensor([[0.0]]), DAY_CELLS, WEEK_CELLS)
    assert torch.equal(calendar.read(day, week, torch.zeros(1), saturday)[0], torch.full((1, 5, 1), 10.0))
    day[:, :, 0] = calendar.write_day(cells, torch.tensor([20.0]), torch.tensor([True]), 0.07, 0.1)
    memories, _ = calendar.read(day, week, torch.zeros(1), saturday)
    assert memories[0, :, 0].tolist() == [20.0, 15.0, 20.0, 15.0, 20.0]


def test_counts_of_visits_stop_before_they_spill_over() -> None:
    cells = torch.zeros(1, 5)
    for _ in range(200):
        cells = calendar.write_day(cells, torch.tensor([1.0]), torch.tensor([False]), 0.07, 0.1)
    assert cells[0, 4] == calendar.CLASS_COUNT_BASE - 1
    assert torch.allclose(cells[0, 1:3], torch.ones(2))


def test_the_hour_of_the_week_adds_its_deviation() -> None:
    cells = calendar.write_week(torch.zeros(1, 3), torch.tensor([12.0]), torch.tensor([2.0]), 0.15)
    assert cells.tolist() == [[2.0, 12.0, 1.0]]
    cells = calendar.write_week(cells, torch.tensor([14.0]), torch.tensor([4.0]), 0.15)
    assert cells.tolist() == [[3.0, 14.0, 2.0]]


def test_a_visit_is_written_two_cells_later() -> None:
    visits = torch.zeros(1, 2, 3)
    closed_means = []
    fine = torch.tensor([False])
    for cell, value in ((0, 1.0), (0, 3.0), (1, 5.0), (2, 7.0), (3, 9.0)):
        is_same = (visits[:, 0, 0] == cell) & (visits[:, 0, 1] > 0)
        visits, closed = calendar.visit(visits, torch.tensor([float(cell)]), torch.tensor([[value]]), is_same, fine)
        closed_means.append((closed[0, 0].item(), closed[0, 2].item()) if closed[0, 1] > 0 else None)
    assert closed_means == [None, None, None, (0.0, 2.0), (1.0, 5.0)]


def test_a_coarse_slot_writes_at_once() -> None:
    yes = torch.tensor([True])
    visits, closed = calendar.visit(torch.zeros(1, 2, 3), torch.tensor([8.0]), torch.tensor([[5.0]]), ~yes, yes)
    assert closed.tolist() == [[8.0, 1.0, 5.0]]
    assert not visits.any()
