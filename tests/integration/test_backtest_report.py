"""`stream-engine backtest` as a user runs it, on real readings: three files that agree with one another."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.data,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here"),
]


def test_files_of_a_backtest_on_real_readings_agree(tmp_path: Path) -> None:
    pytest.importorskip("river")
    arguments = [str(DATA / "nab_speed_7578.npz"), "--only-at-readings", "--test-start", "700", "--horizon", "6"]
    arguments += ["--timezone", "America/Chicago", "--baselines", "persistence,seasonal_naive,holt_winters"]
    command = [
        sys.executable,
        "-m",
        "stream_engine.cli",
        "backtest",
        *arguments,
        "--device",
        "cpu",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert "persistence" in done.stdout
    document = json.loads((tmp_path / "scores.json").read_text())
    table = pyarrow.parquet.read_table(tmp_path / "forecasts.parquet")
    assert table.column_names == ["unique_id", "ds", "cutoff", "y", "default", "default-lo-80", "default-hi-80"]
    assert table.num_rows == document["mean"]["count"] > 1_000
    y, median, low, high = (table.column(name).to_numpy() for name in table.column_names[3:])
    assert np.abs(y - median).mean() == pytest.approx(document["mean"]["mae"], rel=1e-5)
    # forecasts are float32 in the file: a truth may lie on the other side of a bound by a rounding
    assert ((low <= y) & (y <= high)).mean() == pytest.approx(document["mean"]["coverage_80"], abs=2e-3)
    assert sum(hour["count"] for hour in document["hours"].values()) == document["mean"]["count"]
    persistence = document["baselines"]["persistence"]
    ratio = document["mean"]["mae"] / persistence["mean"]["mae"]
    assert persistence["mae_ratio"]["mean"] == pytest.approx(ratio)  # persistence has a forecast for every cell
    for test in (*persistence["diebold_mariano"]["horizons"].values(), persistence["diebold_mariano"]["mean"]):
        assert 0 <= test["p_value"] <= 1
        assert np.sign(test["statistic"]) in (-1, 1)
    page = (tmp_path / "report.html").read_text()
    assert "speed_7578" in page
    assert "America/Chicago" in page
    assert page.count("<svg") >= 8
    assert len(page) < 300_000
