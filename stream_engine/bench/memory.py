"""Peak memory of a pass, measured in a process of its own that does nothing else.

On a CPU it is the system's own count of resident pages (Linux), with the allocator told to hand every large block
back at once, since what it keeps for later would hide the peak; on a GPU torch's. I know nothing of rules.
"""

import ctypes
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
HANDED_BACK_BYTES = 64 * 1024
"""Blocks larger than this are the system's own, and go back to it when freed."""
WARM_LENGTH = 128


class PeakMemory:
    """A process that measures; it ends with the block."""

    def __init__(self, device: str = "cpu") -> None:
        self._device = device
        self.is_telling = device != "cpu" or CLEAR.exists()
        self._pool = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def of(self, rule: str, over: str, length: int) -> int | None:
        """Most bytes a pass takes beyond its inputs; None where the system does not tell, or had no more to give."""
        try:
            return self._pool.submit(_peak, rule, over, length, self._device).result()
        except BrokenProcessPool:  # the system has ended it, as it does where memory is short
            self._pool = self._started()
            return None

    @staticmethod
    def _started() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_settle)


def _settle() -> None:
    """Make the allocator honest, and the process one of a single thread."""
    torch.set_num_threads(1)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, HANDED_BACK_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, HANDED_BACK_BYTES)


def _peak(rule: str, over: str, length: int, device: str) -> int | None:
    from stream_engine.bench.attention import one_pass  # it names me as what it is given

    one_pass(rule, over, min(WARM_LENGTH, length), device)()
    call = one_pass(rule, over, length, device)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    if not CLEAR.exists():
        return None
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    CLEAR.write_text("5")
    before = _status_bytes("VmRSS")
    call()
    return max(_status_bytes("VmHWM") - before, 0)


def _status_bytes(field: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
