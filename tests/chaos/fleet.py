"""The engine's processes under a supervisor: started, killed, frozen, stopped, and started again when they end.

I know nothing of why anything happens, nor of what must come out.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.chaos.worker import Death, run
from tests.support.program import CONTEXT
from tests.support.waiting import poll_for

SHOWN_LINES = 60


@dataclass
class Member:
    """One place in the fleet: the process that holds it now.

    Attributes:
        client: of Kafka, python or librdkafka.
        death: what the process kills itself after.
        is_wanted: whether it is started again when it ends.
    """

    number: int
    client: str
    process: BaseProcess | None = None
    death: Death | None = None
    is_wanted: bool = True
    is_frozen: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether its process runs (or is frozen)."""
        return self.process is not None and self.process.is_alive()


@dataclass
class Fleet:
    """All workers of one group.

    Attributes:
        configs: one for each place; a member's number tells its place.
        ended: how often processes ended with which status (-9: killed).
        died_of: how often one killed itself after which phase.
    """

    configs: Sequence[Path]
    folder: Path
    members: list[Member] = field(default_factory=list)
    ended: Counter[int] = field(default_factory=Counter)
    died_of: Counter[str] = field(default_factory=Counter)

    def add(self, client: str) -> Member:
        """One more worker."""
        member = Member(len(self.members), client)
        self.members.append(member)
        self.start(member)
        return member

    def start(self, member: Member, death: Death | None = None) -> None:
        """Start a member's process."""
        config = self.configs[member.number % len(self.configs)]
        arguments = ["-c", str(config), "--set", f"kafka.client={member.client}"]
        member.process = CONTEXT.Process(target=run, args=(arguments, self.log(member), death))
        member.process.start()
        member.death, member.is_frozen = death, False

    def log(self, member: Member) -> Path:
        """Where a member's processes write their lines."""
        return self.folder / f"worker-{member.number}.log"

    @property
    def running(self) -> list[Member]:
        """Members that are wanted, alive and not frozen."""
        return [one for one in self.members if one.is_wanted and one.is_alive and not one.is_frozen]

    def kill(self, member: Member, heirs_death: Death | None = None) -> None:
        """kill -9, and the next process in its place, which may be doomed too."""
        member.death = None
        self.signal(member, signal.SIGKILL)
        self._bury(member)
        self.start(member, heirs_death)

    def freeze(self, member: Member) -> None:
        """SIGSTOP: it knows nothing of it."""
        self.signal(member, signal.SIGSTOP)
        member.is_frozen = True

    def wake(self, member: Member) -> None:
        """SIGCONT."""
        self.signal(member, signal.SIGCONT)
        member.is_frozen = False

    def retire(self, member: Member) -> None:
        """SIGTERM; it is not started again."""
        member.is_wanted = False
        self.signal(member, signal.SIGTERM)

    def signal(self, member: Member, number: signal.Signals) -> None:
        """Send a signal to a member's process, if it has one."""
        if member.process is not None and member.process.pid is not None and member.is_alive:
            os.kill(member.process.pid, number)

    def tend(self) -> None:
        """Start again what has ended, as a service manager does."""
        for member in self.members:
            if member.process is not None and not member.is_alive:
                self._bury(member)
                if member.is_wanted:
                    self.start(member)

    def _bury(self, member: Member) -> None:
        process, member.process = member.process, None
        if process is not None:
            process.join()
            self.ended[int(process.exitcode or 0)] += 1
            if member.death is not None and process.exitcode == -signal.SIGKILL:
                self.died_of[member.death[0]] += 1
            process.close()

    def watch(self, seconds: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Tend the fleet for a while, or until something is so."""
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s and not is_over():
            self.tend()
            time.sleep(0.05)

    def stop(self, timeout_s: float = 60.0) -> None:
        """SIGTERM to all, and wait for their ends."""
        for member in self.members:
            if member.is_frozen:
                self.wake(member)
            self.retire(member)
        poll_for(lambda: not any(one.is_alive for one in self.members), timeout_s, what="the end of all workers")
        self.tend()

    def close(self) -> None:
        """End whatever is left."""
        for member in self.members:
            member.is_wanted, member.death = False, None
            self.signal(member, signal.SIGKILL)
        self.tend()

    def said(self) -> str:
        """The last lines of every worker, and where it is now, for a failure."""
        for member in self.members:
            self.signal(member, signal.SIGUSR1)
        time.sleep(0.5)  # while they write
        found = []
        for member in self.members:
            lines = self.log(member).read_text(errors="replace").splitlines() if self.log(member).exists() else []
            found.append("\n".join([f"--- worker {member.number} ({member.client})", *lines[-SHOWN_LINES:]]))
        return "\n".join(found)
