"""The model's choices."""

import pytest

from recurrent_core.config import ElinformerConfig
from recurrent_core.errors import ConfigError


def test_choices_survive_a_json_file() -> None:
    config = ElinformerConfig(mix_power=8, smoothing_rates=(0.5, 0.1))
    choices = config.to_dict()
    choices["smoothing_rates"] = list(choices["smoothing_rates"])
    assert ElinformerConfig.from_dict(choices) == config


def test_unknown_choices_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown choices \['mix_powr'\]"):
        ElinformerConfig.from_dict({"mix_powr": 3})


@pytest.mark.parametrize("choice", [{"ring_ticks": 12}, {"day_cells": 100}, {"week_cells": 84}, {"mix_power": 0}])
def test_sizes_that_cannot_work_are_refused(choice: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        ElinformerConfig(**choice)  # type: ignore[arg-type]
