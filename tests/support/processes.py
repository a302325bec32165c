"""Server processes that never outlive the tests: own folders, own pids, a guard against orphans.

I know nothing of Kafka or Redis. A process is started through a small launcher that asks the kernel to
kill it when its parent dies (Linux), so that nothing is left even after `kill -9` of pytest. Folders are named
by the pid of their owner; folders of dead owners are removed at the next start.
"""

import atexit
import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".servers"
FOLDER_PREFIX = "stream-engine-servers-"

# Runs as the child before it becomes the server: dies with its parent (prctl 1 is PR_SET_PDEATHSIG).
_LAUNCHER = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ServerStartError(Exception):
    """A server of the tests could not be started; says which and what to install."""


_given: set[int] = set()
_chance = random.SystemRandom()
_MOST_PROCESSES = 16


def free_port() -> int:
    """A loopback port nobody listens on, below the range the kernel gives to outgoing connections; a new one each time.

    A port from that range could be taken by a client's own connection while a server is down. Processes that share a
    test run draw from ports of their own, so that none takes another's while its server is down.
    """
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = range(20_000 + process % _MOST_PROCESSES, 32_000, _MOST_PROCESSES)
    for _ in range(200):
        port = _chance.choice(ports)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port
    raise ServerStartError("no free loopback port between 20000 and 32000; stop what listens there")


@contextlib.contextmanager
def fetching() -> Iterator[Path]:
    """The folder that keeps what servers need, to one process at a time."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield CACHE


def new_folder(name: str) -> Path:
    """A fresh folder for one server, removed when this process ends."""
    _remove_folders_of_the_dead()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove_folders_of_the_dead() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        owner = folder.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_running: "weakref.WeakSet[ServerProcess]" = weakref.WeakSet()


@atexit.register
def _kill_all() -> None:
    for process in list(_running):
        process.kill()


class ServerProcess:
    """One server process; owned by the test session, ended by its own pid.

    It has its own process group, so that Ctrl-C at the terminal reaches the owner first.
    """

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCHER, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _running.add(self)

    @property
    def pid(self) -> int:
        """The server's own process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process alone."""
        if self.is_running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once (kill -9) and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        _running.discard(self)

    def stop(self, timeout_s: float = 20.0) -> None:
        """Ask it to end in order, and end it at once after timeout_s."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        self.kill()

    def log_tail(self, num_lines: int = 25) -> str:
        """The last lines it wrote, for error messages."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-num_lines:])
