"""The page is whole, escapes what users name, asks the network for nothing and stays small."""

import re
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import torch

from stream_engine.backtest.breakdown import Breakdown, Spells
from stream_engine.backtest.history import GridHistory
from stream_engine.backtest.report import Found
from stream_engine.backtest.report.sections import verdict
from stream_engine.backtest.report.tables import MOST_SENSORS
from stream_engine.backtest.run import Candidate, Plan, run_backtest
from tests.support.engine import CountingModel

JUDGED = Candidate(CountingModel(), torch.device("cpu"), 0, ("seen",))
EVIL = "<script>alert('x')</script>&\"[b]"
VOID = {"meta", "link", "input"}


class Outline(HTMLParser):
    """Checks that elements close in order; keeps headings, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def data(path: Path, num_rows: int, num_sensors: int, step_s: int = 3_600) -> Path:
    rng = np.random.default_rng(14)
    hours = np.arange(num_rows)[:, None] * step_s / 3_600 + 2 * np.arange(num_sensors)
    values = 30 + 9 * np.sin(hours / 24 * 2 * np.pi) + rng.normal(0, 1, hours.shape)
    values[rng.random(values.shape) < 0.05] = np.nan
    ids = [EVIL, *(f"sensor-{n:04d}" for n in range(1, num_sensors))]
    times_s = 1_700_000_000 // 3_600 * 3_600 + step_s * np.arange(num_rows)
    np.savez(path, values=values.astype(np.float32), timestamps=times_s, sensor_ids=np.array(ids))
    return path


def made(tmp_path: Path, plan: Plan) -> tuple[str, Outline]:
    run_backtest(plan, JUDGED, tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    return text, outline


def test_a_whole_page(tmp_path: Path) -> None:
    text, outline = made(tmp_path, Plan(data(tmp_path / "fleet.npz", 24 * 12, 9), horizon=6, test_start="100"))
    assert outline.headings == [
        "Scores",
        "How far ahead",
        "Do the intervals keep their word",
        "Forecasts",
        "Time of day",
        "Along time",
        "Sensors",
    ]
    for place in ("A good sensor", "The sensor in the middle", "The worst sensor"):
        assert place in text
    assert text.count("<svg") == text.count('role="img" aria-label="')
    shown = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.DOTALL)
    assert re.findall(r"\b(?:nan|NaN|None|inf)\b", shown) == []
    assert "zero-shot: the model has not learned from this data" in text


def test_what_users_name_is_escaped(tmp_path: Path) -> None:
    text, outline = made(tmp_path, Plan(data(tmp_path / "<b>&.npz", 24 * 6, 1), horizon=3))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "<b>&" not in text
    assert [tag for tag, _, _ in outline.attributes].count("script") == 0
    assert text.count("<script>") == 1


def test_it_asks_the_network_for_nothing_and_runs_only_its_own_script(tmp_path: Path) -> None:
    text, outline = made(tmp_path, Plan(data(tmp_path / "t.npz", 24 * 6, 2), horizon=3))
    addresses = [(tag, value) for tag, name, value in outline.attributes if name in ("src", "href", "action", "data")]
    assert addresses == [("link", "data:,")]
    assert "url(" not in text
    assert "@import" not in text
    assert "//" not in re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    policy = next(
        value for tag, name, value in outline.attributes if tag == "meta" and (value or "").startswith("default")
    )
    assert policy is not None
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]+'", policy
    )


def test_a_thousand_sensors_stay_below_a_megabyte(tmp_path: Path) -> None:
    text, _ = made(tmp_path, Plan(data(tmp_path / "t.npz", 60, MOST_SENSORS + 50), horizon=3))
    assert len(text.encode()) < 1_000_000
    assert text.count('<tr><th scope="row">sensor-') + text.count('<tr><th scope="row">&lt;script') == MOST_SENSORS
    assert f"The {MOST_SENSORS:,} worst of {MOST_SENSORS + 50:,} sensors are shown." in text


@pytest.mark.parametrize(
    "plan",
    [
        {"horizon": 1},
        {"horizon": 24},
        {"baselines": ()},
        {"only_at_readings": True},
        {"test_start": "136"},
        {"horizon": 3, "test_start": "140"},
    ],
)
def test_small_and_plain_plans_have_a_page_too(plan: dict[str, object], tmp_path: Path) -> None:
    path = data(tmp_path / "seen.npz", 24 * 6, 2)
    text, outline = made(tmp_path, Plan(**{"path": path, "horizon": 6, **plan}))  # type: ignore[arg-type]
    expected = ["Scores", "How far ahead", "Do the intervals keep their word"]
    assert outline.headings[:2] == (["Scores", expected[2]] if plan.get("horizon") == 1 else expected[:2])
    assert "the model has learned from this data" in text


def test_daily_data_has_no_hours(tmp_path: Path) -> None:
    _, outline = made(tmp_path, Plan(data(tmp_path / "t.npz", 60, 2, step_s=86_400), horizon=3))
    assert "Time of day" not in outline.headings


def test_the_verdict_says_what_may_be_chance() -> None:
    document = {
        "mean": {"coverage_80": 0.7},
        "baselines": {
            "persistence": {"mae_ratio": {"mean": 0.5}, "diebold_mariano": {"mean": {"p_value": 0.0}}},
            "seasonal_naive": {"mae_ratio": {"mean": 1.02}, "diebold_mariano": {"mean": {"p_value": 0.3}}},
        },
    }
    nothing = GridHistory((), np.zeros(2, np.int64), np.zeros((2, 0)), 1)
    breakdown = Breakdown(1, 0, (), Spells.of(0, 1), ZoneInfo("UTC"))
    assert verdict(Found(document, breakdown, nothing, ZoneInfo("UTC"))) == (
        "On the same cells, 2.0 % more error than seasonal_naive (may be chance), the strongest baseline; "
        "50.0 % less error than persistence. 70.0 % of the truths fell into the 80 % interval: too narrow."
    )
