"""Frozen sizes and choices of the models: everything that is set once and never learnt from a stream.

I know nothing of tensors, files or slots.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from recurrent_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ElinformerConfig:
    """Sizes and constants of the model `elinformer`.

    Rates are per reading unless their name says otherwise; a count n in the comments is the number of readings so far.

    Attributes:
        day_cells, week_cells: cells of the two calendars; the week's cells are hours.
        ring_ticks: last values kept, at least 18 (12 leads and a few ticks of grace for gaps).
        max_horizon: the longest horizon that can be asked for.
        slow_rate: floor of the rate 1/n of the running scale and level.
        smoothing_rates: rates of the two exponential smoothings.
        profile_rate, class_rate, week_rate: floors of the write rates per visit of a calendar cell.
        moments_ticks: decay time of the moments' mass, in ticks.
        ridge_floor, ridge_start: r = tr(C_kk) / d_k * (ridge_floor + ridge_start / W).
        residual_rate: floor of the rate of the residual decay's sums.
        error_rate: floor of the rate 1/n of the read-outs' running errors.
        mix_power: weights of the read-outs are proportional to error ** -mix_power.
        warm_up_readings: below this the forecasts are marked as warming up.
        drift_ratio: running surprise, in usual errors to one side, above which the slot's world has shifted.
        attention: rules of the trained dress's attention over each series' own past, bottom layer first; none for none.
    """

    day_cells: int = 96
    week_cells: int = 168
    ring_ticks: int = 18
    max_horizon: int = 288
    slow_rate: float = 0.003
    smoothing_rates: tuple[float, float] = (0.3, 0.08)
    profile_rate: float = 0.07
    class_rate: float = 0.10
    week_rate: float = 0.15
    moments_ticks: float = 4000.0
    ridge_floor: float = 0.01
    ridge_start: float = 30.0
    residual_rate: float = 0.002
    error_rate: float = 0.0125
    mix_power: int = 10
    warm_up_readings: int = 30
    drift_ratio: float = 2.5
    attention: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.ring_ticks < 18:
            raise ConfigError(f"ring_ticks is {self.ring_ticks}, wanted at least 18; the 12 leads need them")
        if self.mix_power < 1:
            raise ConfigError(f"mix_power is {self.mix_power}, wanted a whole number of at least 1")
        if self.day_cells % 24 or self.week_cells != 168:
            raise ConfigError(
                f"calendars of {self.day_cells} and {self.week_cells} cells; wanted a multiple of 24 and 168 (hours)"
            )

    def to_dict(self) -> dict[str, Any]:
        """The choices as plain values, for a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, choices: dict[str, Any]) -> "ElinformerConfig":
        """The config written by `to_dict`.

        Raises:
            ConfigError: if a choice is unknown.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(choices) - known)
        if unknown:
            raise ConfigError(f"unknown choices {unknown}; known are {sorted(known)}")
        rates = tuple(choices.get("smoothing_rates", cls().smoothing_rates))
        return cls(**{**choices, "smoothing_rates": rates, "attention": tuple(choices.get("attention", ()))})
