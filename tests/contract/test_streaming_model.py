"""The promises of any StreamingModel, run against each that is shipped.

A promise is written once, with slots of every kind side by side: slow and fast, steady and gappy, smooth and wild.
"""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from recurrent_core.errors import CoreError
from recurrent_core.models.elinformer.model import Known
from recurrent_core.models.interface import Arrival, Outlook, Question, StreamingModel
from recurrent_core.models.refolding import RefoldingModel
from recurrent_core.weights import load_model
from tests.support.models import with_history, with_random_network, with_series_nets

HORIZON = 12
WEEK_S = 604800.0
NUM_KEPT = 24
MODELS: dict[str, StreamingModel] = {
    "default": load_model("default"),
    "network": with_random_network(3, 0.02),
    "series": with_series_nets(3, Known(("s-1", "s-2")), 0.02),
    "history": with_history(3, Known(("s-1", "s-2")), 0.02, "entropy_equality", "conv+gla"),
}
MODELS["refolding"] = RefoldingModel(MODELS["default"], NUM_KEPT)
STATE_BYTES = {"default": 8192, "network": 8192, "series": 12288, "history": 16384, "refolding": 17408}


@pytest.fixture(params=MODELS, scope="module")
def model(request: pytest.FixtureRequest) -> StreamingModel:
    """The shipped model, such whose networks say something at once, and one that can merge late readings."""
    return MODELS[request.param]


@pytest.fixture(params=("default", "network"), scope="module")
def any_sensors(request: pytest.FixtureRequest) -> StreamingModel:
    """Such as know no series: they must not care for the unit of the values."""
    return MODELS[request.param]


@dataclass(frozen=True)
class Story:
    """Readings of some slots: values, elapsed and times are [readings, slots] float64; cadence is [slots]."""

    values: Tensor
    elapsed_s: Tensor
    times_s: Tensor
    cadence_s: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def arrival(self, row: int, slots: slice = slice(None)) -> Arrival:
        return Arrival(
            self.values[row, slots],
            self.elapsed_s[row, slots],
            self.cadence_s[slots],
            self.times_s[row, slots] % WEEK_S,
        )

    def question(self, row: int, waited_s: Tensor, slots: slice = slice(None)) -> Question:
        """Asked `waited_s` after the reading of this row."""
        cadence_s = self.cadence_s[slots]
        return Question(waited_s.expand(len(cadence_s)), cadence_s, (self.times_s[row, slots] + waited_s) % WEEK_S)


def make_story(num_readings: int = 150, seed: int = 7) -> Story:
    """Six slots: 5-minute daily wave, the same with gaps, 10 ms, hourly with jitter, daily, and 2 s random walk."""
    draw = torch.Generator().manual_seed(seed)

    def normal() -> Tensor:
        return torch.randn(num_readings, generator=draw, dtype=torch.float64)

    cadence_s = torch.tensor([300.0, 300.0, 0.01, 3600.0, 86400.0, 2.0], dtype=torch.float64)
    gaps = cadence_s.repeat(num_readings, 1)
    gaps[:, 1] *= 1.0 + (torch.rand(num_readings, generator=draw) < 0.2) * torch.randint(
        1, 30, (num_readings,), generator=draw
    )
    gaps[:, 3] += 200.0 * torch.rand(num_readings, generator=draw, dtype=torch.float64)
    gaps[0] = 0.0
    times_s = gaps.cumsum(dim=0) + 3600.0
    wave = torch.sin(times_s * (2.0 * math.pi / 86400.0))
    values = torch.stack(
        [
            60.0 + 20.0 * wave[:, 0] + normal(),
            60.0 + 20.0 * wave[:, 1] + normal(),
            101325.0 + 0.1 * normal().cumsum(0),
            5.0 + wave[:, 3] + 0.1 * normal(),
            1e-3 * normal(),
            normal().cumsum(0),
        ],
        dim=1,
    )
    # multiples of 2^-20, so that exact arithmetic on them stays exact
    return Story(torch.round(values * 2**20) / 2**20, gaps, times_s, cadence_s)


def tell(
    model: StreamingModel, story: Story, state: Tensor, start: int = 0, end: int = 0, slots: slice = slice(None)
) -> tuple[list[Outlook], Tensor]:
    """Step through rows start ... end - 1 (all if end is 0)."""
    outlooks = []
    for row in range(start, end or len(story)):
        outlook, state = model.step(story.arrival(row, slots), state, HORIZON)
        outlooks.append(outlook)
    return outlooks, state


def means(outlooks: list[Outlook]) -> Tensor:
    """[readings, slots, leads]."""
    return torch.stack([outlook.mean for outlook in outlooks])


def assert_sound(outlook: Outlook) -> None:
    """Everything finite, the scale above 0, the quantiles in order."""
    for column in (outlook.mean, outlook.quantiles, outlook.scale):
        assert column.dtype == torch.float64
        assert column.isfinite().all()
    assert (outlook.scale > 0).all()
    assert (outlook.quantiles.diff(dim=1) >= 0).all()


def test_shapes_are_as_promised(model: StreamingModel) -> None:
    story = make_story(3)
    state = model.init_state(6)
    assert state.shape == (6, model.state_floats)
    assert state.dtype == torch.float32
    for horizon in (1, 5, 12, 40, model.max_horizon):
        outlook, after = model.step(story.arrival(0), state, horizon)
        asked = model.ask(story.question(0, story.cadence_s), after, horizon)
        assert after.shape == state.shape
        for each in (outlook, asked):
            assert each.mean.shape == (6, horizon)
            assert each.quantiles.shape == (6, 3, horizon)
            assert each.scale.shape == each.is_drifting.shape == each.is_warming_up.shape == (6,)
            assert each.is_drifting.dtype == each.is_warming_up.dtype == torch.bool
            assert_sound(each)


@pytest.mark.parametrize("horizon", [0, -1, 10**6])
def test_an_impossible_horizon_is_refused(model: StreamingModel, horizon: int) -> None:
    story = make_story(1)
    with pytest.raises(CoreError, match="horizon"):
        model.step(story.arrival(0), model.init_state(6), horizon)
    with pytest.raises(CoreError, match="horizon"):
        model.ask(story.question(0, story.cadence_s), model.init_state(6), horizon)


def test_a_foreign_state_is_refused(model: StreamingModel) -> None:
    story = make_story(1)
    with pytest.raises(CoreError, match="float32"):
        model.step(story.arrival(0), torch.zeros(6, model.state_floats + 1), HORIZON)


def test_step_and_ask_leave_their_arguments_unchanged(model: StreamingModel) -> None:
    story = make_story(60)
    _, state = tell(model, story, model.init_state(6), end=59)
    arrival, question = story.arrival(59), story.question(58, story.cadence_s * 2)
    kept = [t.clone() for t in (state, arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)]
    model.step(arrival, state, HORIZON)
    model.ask(question, state, HORIZON)
    now = (state, arrival.value, arrival.elapsed_s, arrival.cadence_s, arrival.second_of_week)
    assert all(torch.equal(a, b) for a, b in zip(kept, now, strict=True))


def test_a_batch_gives_what_its_slots_give_one_by_one(model: StreamingModel) -> None:
    story = make_story()
    together, state = tell(model, story, model.init_state(6))
    scale = torch.stack([outlook.scale for outlook in together])
    for slot in range(6):
        alone, row = tell(model, story, model.init_state(1), slots=slice(slot, slot + 1))
        error = (means(alone)[:, 0] - means(together)[:, slot]).abs() / scale[:, slot, None]
        # float32 sums in another order; a flipped threshold may move an interval, never the mean, by more
        assert error.max() < 1e-3
        assert torch.isclose(row, state[slot], rtol=1e-2, atol=1e-3).float().mean() > 0.98


def test_a_fresh_slot_does_not_care_for_its_neighbours(model: StreamingModel) -> None:
    story = make_story(120)
    alone, _ = tell(model, story, model.init_state(6))
    _, old = tell(model, make_story(120, seed=8), model.init_state(6))
    wild = Story(*(torch.cat([a, b], dim=-1) for a, b in zip(vars_of(story), vars_of(make_story(120, 9)), strict=True)))
    crowded, _ = tell(model, wild, torch.cat([model.init_state(6), old]))
    assert torch.allclose(means(crowded)[:, :6], means(alone), rtol=1e-5, atol=1e-4)


def vars_of(story: Story) -> tuple[Tensor, ...]:
    return story.values, story.elapsed_s, story.times_s, story.cadence_s


def test_asking_changes_nothing(model: StreamingModel) -> None:
    story = make_story(100)
    silent, _ = tell(model, story, model.init_state(6))
    state, asked = model.init_state(6), []
    for row in range(len(story)):
        outlook, state = model.step(story.arrival(row), state, HORIZON)
        model.ask(story.question(row, story.cadence_s * (1 + row % 5)), state, 24)
        asked.append(outlook)
    assert torch.equal(means(asked), means(silent))


def test_the_horizon_wanted_changes_neither_state_nor_nearer_leads(model: StreamingModel) -> None:
    story = make_story(80)
    _, state = tell(model, story, model.init_state(6), end=79)
    arrival = story.arrival(79)
    short, after_short = model.step(arrival, state, 3)
    long, after_long = model.step(arrival, state, 100)
    # another shape of the same sums rounds otherwise
    assert torch.allclose(short.mean, long.mean[:, :3], rtol=1e-6, atol=1e-5)
    assert torch.allclose(after_short, after_long, rtol=1e-4, atol=1e-4)


def test_saved_and_restored_in_the_middle_is_as_never_saved(model: StreamingModel) -> None:
    story = make_story(100)
    whole, end = tell(model, story, model.init_state(6))
    _, half = tell(model, story, model.init_state(6), end=61)
    stored = [row.numpy().tobytes() for row in half]
    assert all(len(row) == 4 * model.state_floats for row in stored)
    restored = torch.stack([torch.frombuffer(bytearray(row), dtype=torch.float32) for row in stored])
    rest, end_again = tell(model, story, restored, start=61)
    assert torch.equal(means(rest), means(whole)[61:])
    assert torch.equal(end_again, end)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7, 101325.25, 1e9 + 0.125, 1e-12, 1e30])
def test_a_constant_series_is_forecast_perfectly(model: StreamingModel, value: float) -> None:
    story = make_story(150)
    story = replace(story, values=torch.full_like(story.values, value))
    outlooks, state = tell(model, story, model.init_state(6))
    asked = model.ask(story.question(149, story.cadence_s * 7), state, 50)
    # the anchor keeps 48 bits of a value
    assert torch.allclose(means(outlooks), torch.tensor(value, dtype=torch.float64), rtol=1e-13, atol=0.0)
    assert torch.allclose(asked.mean, torch.tensor(value, dtype=torch.float64), rtol=1e-13, atol=0.0)
    for outlook in (*outlooks, asked):
        assert_sound(outlook)


def test_the_first_reading_gives_persistence_with_a_wide_interval(model: StreamingModel) -> None:
    story = make_story(1)
    outlook, _ = model.step(story.arrival(0), model.init_state(6), HORIZON)
    assert torch.allclose(outlook.mean, story.values[0][:, None].expand(-1, HORIZON), rtol=1e-6)
    width = outlook.quantiles[:, 2] - outlook.quantiles[:, 0]
    assert (width >= 0.05 * story.values[0].abs()[:, None]).all()
    assert outlook.is_warming_up.all()


NASTY = {
    "huge": [1e30, -1e30] * 40,
    "tiny": [1e-30, -1e-30, 0.0] * 30,
    "beyond float32": [1e300, -1e300, 0.0, 5.0] * 20,
    "growing": [10.0 ** (i / 4.0) for i in range(120)],
    "one jump": [1.0] * 50 + [1e12] * 50,
    "one spike": [0.0] * 60 + [1e20] + [0.0] * 60,
    "counter": [1e9 + 17.0 * i for i in range(100)],
    "on and off": [0.0, 1.0] * 50,
}


@pytest.mark.parametrize("kind", NASTY)
def test_nasty_values_give_finite_forecasts(model: StreamingModel, kind: str) -> None:
    story = make_story(len(NASTY[kind]))
    story = replace(story, values=torch.tensor(NASTY[kind], dtype=torch.float64)[:, None].repeat(1, 6))
    outlooks, state = tell(model, story, model.init_state(6))
    asked = model.ask(story.question(len(story) - 1, story.cadence_s * 3.0), state, model.max_horizon)
    for outlook in (*outlooks, asked):
        assert_sound(outlook)
    assert state.isfinite().all()


@pytest.mark.parametrize("elapsed_s", [0.0, 1e-9, 1e5, 1e9, 1e15])
@pytest.mark.parametrize("cadence_s", [1e-3, 1.0, 300.0, 2.6e6])
def test_nasty_times_give_finite_forecasts(model: StreamingModel, elapsed_s: float, cadence_s: float) -> None:
    story = make_story(40)
    _, state = tell(model, story, model.init_state(6), end=39)
    odd = torch.full((6,), elapsed_s, dtype=torch.float64)
    arrival = replace(story.arrival(39), elapsed_s=odd, cadence_s=torch.full_like(odd, cadence_s))
    outlook, after = model.step(arrival, state, HORIZON)
    assert_sound(outlook)
    assert after.isfinite().all()
    question = Question(odd.clamp(min=1e-9), arrival.cadence_s, arrival.second_of_week)
    assert_sound(model.ask(question, after, model.max_horizon))
    outlook, _ = model.step(replace(arrival, elapsed_s=arrival.cadence_s), after, HORIZON)
    assert_sound(outlook)


def test_a_shifted_series_gives_shifted_forecasts(any_sensors: StreamingModel) -> None:
    story = make_story()
    shift = 2.0**20
    plain, _ = tell(any_sensors, story, any_sensors.init_state(6))
    moved, _ = tell(any_sensors, replace(story, values=story.values + shift), any_sensors.init_state(6))
    error = (means(moved) - shift - means(plain)).abs()[60:]
    scale = torch.stack([outlook.scale for outlook in plain])[60:, :, None]
    # only the guess of the scale at the first readings sees the offset; slot 4 is far below the offset's own rounding
    kept = [0, 1, 2, 3, 5]
    assert (error / scale)[:, kept].mean() < 0.01


def test_a_stretched_series_gives_stretched_forecasts(any_sensors: StreamingModel) -> None:
    story = make_story()
    plain, _ = tell(any_sensors, story, any_sensors.init_state(6))
    stretched, _ = tell(any_sensors, replace(story, values=story.values * 2.0**13), any_sensors.init_state(6))
    assert torch.allclose(means(stretched) / 2.0**13, means(plain), rtol=1e-5, atol=1e-5)


def test_a_daily_wave_is_learnt_and_reaches_a_whole_season(model: StreamingModel) -> None:
    story = make_story(288 * 3 + 100)
    slots = slice(0, 1)
    _, state = tell(model, story, model.init_state(1), end=len(story) - 1, slots=slots)
    horizon = min(288, model.max_horizon)
    outlook, state = model.step(story.arrival(len(story) - 1, slots), state, horizon)
    times_s = story.times_s[-1, 0] + 300.0 * torch.arange(1, horizon + 1)
    truth = 60.0 + 20.0 * torch.sin(times_s * (2.0 * math.pi / 86400.0))
    # noise has standard deviation 1, the wave 14; a flat forecast is off by 18 on average
    assert (outlook.mean[0] - truth).abs().mean() < 2.0
    waited = 40
    asked = model.ask(story.question(len(story) - 1, torch.tensor([300.0 * waited]).double(), slots), state, 100)
    assert (asked.mean[0] - truth[waited : waited + 100]).abs().mean() < 2.0


def test_a_fast_sensor_silent_for_hours_is_read_at_the_right_time_of_day(model: StreamingModel) -> None:
    """Asked five hours on as if its cadence were 10 ms: more ticks than are counted, yet the hour must be right."""
    times_s = 300.0 * torch.arange(3 * 288, dtype=torch.float64)[:, None] + 3600.0
    elapsed_s = torch.full_like(times_s, 300.0)
    elapsed_s[0] = 0.0
    values = 10.0 * torch.sin(times_s * (2.0 * math.pi / 86400.0))
    story = Story(values, elapsed_s, times_s, torch.tensor([300.0], dtype=torch.float64))
    _, state = tell(model, story, model.init_state(1))
    waited_s = torch.tensor([5.0 * 3600.0], dtype=torch.float64)
    question = replace(story.question(len(story) - 1, waited_s), cadence_s=torch.tensor([0.01], dtype=torch.float64))
    truth = 10.0 * math.sin((times_s[-1, 0].item() + 5.0 * 3600.0) * (2.0 * math.pi / 86400.0))
    assert abs(model.ask(question, state, 1).mean.item() - truth) < 1.5


def test_intervals_hold_four_in_five(model: StreamingModel) -> None:
    story = make_story(900)
    outlooks, _ = tell(model, story, model.init_state(6))
    quantiles = torch.stack([outlook.quantiles for outlook in outlooks])
    for lead in (1, 4, 12):
        truth = story.values[200:]
        low, _, high = quantiles[200 - lead : len(story) - lead, :, :, lead - 1].unbind(dim=2)
        is_inside = ((truth >= low) & (truth <= high)).double().mean(dim=0)
        # slot 1 has gaps: the reading after it is not the lead's truth
        assert ((is_inside - 0.8).abs() < 0.06)[[0, 2, 4, 5]].all(), is_inside


def test_describe_gives_numbers_for_people(model: StreamingModel) -> None:
    _, state = tell(model, make_story(20), model.init_state(6))
    for row in (state[0], model.init_state(1)[0]):
        told = model.describe(row)
        assert told
        assert all(isinstance(name, str) and math.isfinite(number) for name, number in told.items())


def test_the_model_says_who_it_is(model: StreamingModel) -> None:
    kind = next(kind for kind, one in MODELS.items() if one is model)
    assert model.name == ("default" if kind == "refolding" else kind)
    assert model.version
    assert model.layout_id.startswith("elinformer")
    assert model.state_floats * 4 <= STATE_BYTES[kind]
    assert model.max_horizon >= 288
