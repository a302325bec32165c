"""Keeps what a benchmark measured, with the commit, the machine and the command; knows nothing of what it means."""

import json
import os
import platform
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent / "results"


def where_and_when(command: str) -> dict[str, object]:
    """The commit, the command and the machine."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "commit": commit.stdout.strip(),
        "command": command,
        "machine": f"{names[0] if names else platform.machine()}, {len(names)} cores",
        "python": platform.python_version(),
        "load_1m": round(os.getloadavg()[0], 2),
    }


def save(name: str, command: str, measured: dict[str, object]) -> Path:
    """Write results/<name>.json; returns its path."""
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps({**where_and_when(command), **measured}, indent=1) + "\n")
    return path
