"""What a stop means before there is anything to stop: the process ends, at once and with status 0.

I import nothing slow, so that signals are heard from the first moment. What a stop means once a worker runs is that
worker's matter.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
STOPPED_EARLY = "stopped before the servers were reached"


Handler = Callable[[int, FrameType | None], None]


@contextmanager
def hearing_twice(handler: Handler, listen: Callable[[int], None]) -> Iterator[None]:
    """SIGTERM and Ctrl-C come to the handler, and to a thread of their own.

    Python runs handlers between its own steps only: libraries' C code may keep the thread for seconds without coming to
    it, and numba swallows what a handler raises.

    Args:
        listen: run by the thread; it reads signals' numbers, a byte each, from the pipe it is given, until that ends.
    """
    numbers, written = os.pipe()
    os.set_blocking(written, False)
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    pipe_before = signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, args=(numbers,), name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(pipe_before)
        os.close(written)
        listener.join()
        os.close(numbers)
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def ending_at_once() -> Iterator[None]:
    """SIGTERM and Ctrl-C end the process while its libraries load and its model is compiled.

    Nothing is held then that wants an end in order.
    """
    with hearing_twice(lambda number, frame: None, _end):
        yield


def _end(numbers: int) -> None:
    while heard := os.read(numbers, 1):
        if heard[0] in STOP_SIGNALS:
            os.write(2, f"stream-engine: {STOPPED_EARLY}\n".encode())
            os._exit(0)
