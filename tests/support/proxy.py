"""A way to a server that a test may block or cut: a TCP proxy on loopback. It knows nothing of what passes."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from tests.support.processes import free_port

CHUNK_BYTES = 1 << 16
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that lets a close reset the connection."""


class Proxy:
    """Carries bytes to and from a port of this machine, from `start` to `close`, on a thread of its own.

    Attributes:
        port: where it listens, the same after a cut.
    """

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self._target_port = target_port
        self._flows = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def start(self) -> "Proxy":
        """Listen."""
        self._thread.start()
        self.mend()
        return self

    def pause(self) -> None:
        """No byte and no end of a connection passes any more; all stay open, and new ones seem to open."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._do(self._cut())

    def mend(self) -> None:
        """Let pass again, after a pause or a cut."""
        self._do(self._mend())

    def close(self) -> None:
        """Cut, for good."""
        if self._thread.is_alive():  # else it was never started
            self.cut()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _mend(self) -> None:
        self._flows.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for end in self._ends:
            if not end.is_closing():
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()
        self._flows.set()  # for those that held bytes back, which have nobody left to go to
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)

    async def _carry(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it."""
        self._ends.add(to_client)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            to_client.close()
            self._ends.discard(to_client)
            return
        self._ends.add(to_server)
        ways = ((from_client, to_server), (from_server, to_client))
        pumps = [asyncio.create_task(self._pump(source, sink)) for source, sink in ways]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        to_client.close()
        to_server.close()
        await asyncio.wait(pumps)
        self._ends -= {to_client, to_server}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                some = await source.read(CHUNK_BYTES)
                await self._flows.wait()
                if not some:
                    return
                sink.write(some)
                await sink.drain()
