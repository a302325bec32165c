"""A worker is put together with the calendar that the configuration or else the model names."""

from pathlib import Path

import pytest

from recurrent_core.weights import load_model, save_model
from stream_engine.config import load_config
from stream_engine.localtime import Calendar
from stream_engine.worker.assembly import assemble, policy_of


@pytest.mark.parametrize(
    ("said", "wanted", "is_warned"),
    [
        ({}, {"timezone": "Europe/Copenhagen", "country": "DK"}, False),
        ({"timezone": "UTC"}, {"timezone": "UTC", "country": "DK"}, True),
        ({"country": "none"}, {"timezone": "Europe/Copenhagen", "country": None}, True),
    ],
)
def test_the_models_calendar_unless_the_configuration_names_another(
    said: dict[str, str],
    wanted: dict[str, str],
    is_warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save_model(load_model(), tmp_path / "mine", {"calendar": {"timezone": "Europe/Copenhagen", "country": "DK"}})
    config = load_config(
        None,
        {
            "source": "embedded://readings?group=calendar",
            "sink": "embedded://forecasts",
            "store": f"sqlite://{tmp_path / 'state.db'}",
            "model": str(tmp_path / "mine"),
            "calendar": said,
        },
        {},
    )
    seen: list[Calendar] = []
    monkeypatch.setattr(
        "stream_engine.worker.assembly.policy_of",
        lambda config, calendar: seen.append(calendar) or policy_of(config, calendar),
    )
    assemble(config)
    assert [calendar.to_dict() for calendar in seen] == [wanted]
    assert ("learned with the calendar" in caplog.text) == is_warned
