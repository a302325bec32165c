"""See whether something leaves threads, sockets or files behind; knows nothing of what.

Threads are counted by the kernel (/proc), so that those of C libraries are seen too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import poll_for


def open_files() -> set[str]:
    """Sockets, pipes and files this process holds open, as "number -> target"."""
    found: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} -> {entry.readlink()}")
        except OSError:
            continue
    return {item for item in found if "/proc/" not in item}


def threads() -> set[str]:
    """Threads of this process, as "id name"."""
    found: set[str] = set()
    for entry in Path("/proc/self/task").iterdir():
        try:
            found.add(f"{entry.name} {(entry / 'comm').read_text().strip()}")
        except OSError:
            continue
    return found


@contextmanager
def no_leaks(timeout_s: float = 10.0) -> Iterator[None]:
    """Fail if a thread or an open file that was not there at the start is still there timeout_s after the end."""
    threads_before, files_before = threads(), open_files()
    yield

    def left() -> set[str]:
        return (threads() - threads_before) | (open_files() - files_before)

    try:
        poll_for(lambda: not left(), timeout_s)
    except AssertionError as error:
        raise AssertionError(f"still there {timeout_s:g} s after: {sorted(left())}") from error
