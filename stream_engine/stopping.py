"""What a stop means before there is anything to stop: the process ends, at once and with status 0.

I import nothing slow, so that signals are heard from the first moment. What a stop means once a worker runs is that
worker's matter.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOPPED_EARLY = "stopped before the servers were reached"


@contextmanager
def ending_at_once() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the process while its libraries load and its model is compiled.

    Nothing is held then that wants an end in order. A handler in Python would not do: libraries run for seconds without
    coming to it, and numba swallows what it raises. So a thread hears of the signals, by their numbers on a pipe.
    """
    numbers, written = os.pipe()
    os.set_blocking(written, False)
    before = {number: signal.signal(number, lambda number, frame: None) for number in STOP_SIGNALS}
    pipe_before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    listener = threading.Thread(target=_end, args=(numbers,), name="early signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(pipe_before)
        os.close(written)
        listener.join()
        os.close(numbers)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(numbers: int) -> None:
    while heard := os.read(numbers, 1):
        if heard[0] in STOP_SIGNALS:
            os.write(2, f"stream-engine: {STOPPED_EARLY}\n".encode())
            os._exit(0)
