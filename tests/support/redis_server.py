"""One real redis-server on loopback with its own folder; knows nothing of the engine."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import ServerProcess, ServerStartError, fetching, free_port, new_folder
from tests.support.waiting import poll_for


def redis_binary() -> str:
    """The path of redis-server, installed by apt-get where that is possible."""
    with fetching():
        found = shutil.which("redis-server") or _install()
    if found is None:
        raise ServerStartError(
            "the tests start a real Redis and redis-server is missing; "
            "install it (Debian, Ubuntu: apt-get install redis-server)"
        )
    return found


def _install() -> str | None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-q"], check=False, capture_output=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "redis-server"]
        subprocess.run(install, check=False, capture_output=True, env=environment)
    return shutil.which("redis-server")


class RedisServer:
    """A redis-server that keeps nothing on disk unless told so; may be killed and restarted.

    Attributes:
        url: its address, "redis://127.0.0.1:port/0", the same after a restart.
    """

    def __init__(self, port: int | None = None, arguments: Sequence[str] = ()) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._arguments = arguments
        self._folder: Path | None = None
        self._process: ServerProcess | None = None

    def start(self, timeout_s: float = 20.0) -> "RedisServer":
        """Start (again; empty, unless its arguments say what to keep) and wait until it answers."""
        if self._folder is None:
            self._folder = new_folder("redis")
        base = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        keep_nothing = ["--save", "", "--appendonly", "no"]
        command = [redis_binary(), *base, *keep_nothing, *self._arguments]
        self._process = ServerProcess(command, self._folder / "redis.log")
        poll_for(self._is_ready, timeout_s, what=f"Redis at {self.url}")
        return self

    def _is_ready(self) -> bool:
        if self._process is None or not self._process.is_running:
            tail = self._process.log_tail() if self._process else ""
            raise ServerStartError(f"Redis ended while starting:\n{tail}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.is_running

    def kill(self) -> None:
        """kill -9: what it held in memory is gone."""
        if self._process is not None:
            self._process.kill()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        if self._process is not None:
            self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        if self._process is not None:
            self._process.signal(signal.SIGCONT)

    def close(self) -> None:
        """End the server and remove its folder."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._process = self._folder = None
