"""One small table written in every form a file can have."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

IDS = ("007", "b")
FIRST_S, STEP_S, NUM_ROWS = 1_700_000_100, 300, 6
TIMES_S = FIRST_S + STEP_S * np.arange(NUM_ROWS, dtype=np.int64)
VALUES = np.array([[1.0, 9.5], [2.0, np.nan], [np.nan, 7.5], [0.0, 6.5], [5.0, 5.5], [6.0, 4.5]])


def _rfc3339(time_s: int) -> str:
    return str(np.datetime64(time_s, "s")) + "Z"


def _text(value: float) -> str:
    return "" if np.isnan(value) else str(value)


def _wide_csv(path: Path, spell: Callable[[int], str]) -> Path:
    lines = ["time," + ",".join(IDS)]
    lines += [spell(int(t)) + "," + ",".join(map(_text, row)) for t, row in zip(TIMES_S, VALUES, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def _entries() -> tuple[np.ndarray, np.ndarray]:
    return np.nonzero(~np.isnan(VALUES))


def _long_csv(path: Path) -> Path:
    rows, series = _entries()
    lines = ["unique_id,ds,y"]
    lines += [
        f"{IDS[n]},{_rfc3339(int(TIMES_S[r])).replace('Z', '+00:00')},{VALUES[r, n]}"
        for r, n in zip(rows, series, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def _wide_parquet(path: Path) -> Path:
    times = pa.array(TIMES_S * 1_000_000).cast(pa.timestamp("us", tz="Europe/Berlin"))
    table = pa.table({"ds": times, **{name: pa.array(VALUES[:, n], from_pandas=True) for n, name in enumerate(IDS)}})
    pyarrow.parquet.write_table(table, path)
    return path


def _long_parquet(path: Path) -> Path:
    rows, series = _entries()
    table = pa.table(
        {
            "unique_id": pa.array([IDS[n] for n in series]).dictionary_encode(),
            "ds": TIMES_S[rows] * 1_000,
            "y": VALUES[rows, series],
        }
    )
    pyarrow.parquet.write_table(table, path)
    return path


def _npz_events(path: Path, **times: object) -> Path:
    rows, series = _entries()
    np.savez(path, sensor=series.astype(np.uint8), value=VALUES[rows, series], sensor_ids=np.array(IDS), **times)
    return path


def _npz_scaled(path: Path) -> Path:
    q = np.where(np.isnan(VALUES), -32768, VALUES * 2).astype(np.int16)
    np.savez(path, q=q, scale=np.float64(0.5), timestamps=TIMES_S, sensor_ids=np.array(IDS))
    return path


def _npz_grid(path: Path) -> Path:
    np.savez(path, values=VALUES.astype(np.float32), timestamps=TIMES_S, sensor_ids=np.array(IDS))
    return path


FORMS: dict[str, Callable[[Path], Path]] = {
    "wide CSV, RFC 3339": lambda folder: _wide_csv(folder / "t.csv", _rfc3339),
    "wide CSV, text with a space": lambda folder: _wide_csv(
        folder / "t.csv", lambda t: _rfc3339(t).replace("T", " ").strip("Z")
    ),
    "wide CSV, another offset": lambda folder: _wide_csv(
        folder / "t.csv", lambda t: _rfc3339(t + 7_200).replace("Z", "+02:00")
    ),
    "wide CSV, s": lambda folder: _wide_csv(folder / "t.csv", str),
    "wide CSV, fractions of s": lambda folder: _wide_csv(folder / "t.csv", lambda t: f"{t}.000"),
    "wide CSV, ms": lambda folder: _wide_csv(folder / "t.csv", lambda t: str(t * 10**3)),
    "wide CSV, us": lambda folder: _wide_csv(folder / "t.csv", lambda t: str(t * 10**6)),
    "wide CSV, ns": lambda folder: _wide_csv(folder / "t.csv", lambda t: str(t * 10**9)),
    "long CSV": lambda folder: _long_csv(folder / "t.csv"),
    "wide Parquet": lambda folder: _wide_parquet(folder / "t.parquet"),
    "long Parquet": lambda folder: _long_parquet(folder / "t.parquet"),
    "NPZ grid": lambda folder: _npz_grid(folder / "t.npz"),
    "NPZ scaled integers": lambda folder: _npz_scaled(folder / "t.npz"),
    "NPZ events by slot": lambda folder: _npz_events(
        folder / "t.npz", slot=_entries()[0].astype(np.int32), t0=FIRST_S, step=STEP_S, n_slots=NUM_ROWS
    ),
    "NPZ events by time": lambda folder: _npz_events(folder / "t.npz", time_ms=TIMES_S[_entries()[0]] * 1_000),
}
