"""Peak memory of a pass, measured in a process of its own that does nothing else.

On a CPU it is the system's own count of resident pages (Linux), on a GPU torch's. I know nothing of rules.
"""

import ctypes
from pathlib import Path

import torch

from stream_engine.bench.process import HANDING_BACK, Apart

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
WARM_LENGTH = 128


class PeakMemory(Apart):
    """A process that measures; it ends with the block."""

    def __init__(self, device: str = "cpu") -> None:
        super().__init__(HANDING_BACK)
        self._device = device
        self.is_telling = device != "cpu" or CLEAR.exists()

    def of(self, rule: str, over: str, length: int) -> int | None:
        """Most bytes a pass takes beyond its inputs; None where the system does not tell, or had no more to give."""
        return self.call(_peak, rule, over, length, self._device)


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
