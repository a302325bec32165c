"""The program, `stream-engine …`, as processes for tests that are not about its start.

They are forked from one process that has everything loaded, so that a start takes a tenth of a second, not five. What
is forked is the program's own `main`, with arguments, environment and folder of the test; signals and exit status are
a process's own.
"""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.loaded"])

_DIES_WITH_ITS_PARENT = 1
"""Linux: PR_SET_PDEATHSIG."""


def become(arguments: Sequence[str], out: Path, err: Path, environment: Mapping[str, str], folder: str) -> None:
    """Be the program to its end, in this process; both files are appended to."""
    from stream_engine.cli import main

    ctypes.CDLL(None).prctl(_DIES_WITH_ITS_PARENT, signal.SIGKILL)
    for number, path in ((1, out), (2, err)):
        with path.open("ab") as lines:
            os.dup2(lines.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["stream-engine", *arguments]
    sys.exit(main())


class Program:
    """One process of the program; looks like `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], out: Path, err: Path) -> None:
        """Start it."""
        given = (list(arguments), out, err, dict(os.environ), str(Path.cwd()))
        self._process = CONTEXT.Process(target=become, args=given)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid or 0

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._process.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()

    def poll(self) -> int | None:
        """Its exit status (-9: killed), or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status once it has ended.

        Raises:
            TimeoutExpired: it has not, within timeout seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("stream-engine", timeout or 0.0)
        return self._process.exitcode


def run_program(*arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        program = Program(arguments, out, err)
        try:
            status = program.wait(timeout_s)
        finally:
            program.kill()
        return subprocess.CompletedProcess(list(arguments), status, out.read_text(), err.read_text())
