"""A process of its own that measures, with the system's allocator set for what is measured.

glibc alone is told; elsewhere the allocator stays as it is. I know nothing of what is measured.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

_TUNABLES = "GLIBC_TUNABLES"
_NO_END = 2**40
KEEPING = f"glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold={_NO_END}"
"""For time: freed blocks stay, on large pages. Else arrays of more than 32 MB are mapped anew at every pass, and what
grows with the run is the system's zeroing of pages."""
HANDED_BACK_BYTES = 64 * 1024
HANDING_BACK = f"glibc.malloc.mmap_threshold={HANDED_BACK_BYTES}:glibc.malloc.trim_threshold={HANDED_BACK_BYTES}"
"""For memory: larger blocks go back to the system when freed. Else what is kept for later hides the peak."""


class Apart:
    """A process that waits for what to call; it ends with the block."""

    def __init__(self, tunables: str, threads: int = 1) -> None:
        """Args: tunables, of its allocator, KEEPING or HANDING_BACK; threads, of its torch."""
        self._tunables, self._threads = tunables, threads
        self._pool = self._started()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def call(self, what: Callable[P, T], *given: P.args, **named: P.kwargs) -> T | None:
        """What it returned; None where the system has ended the process, as it does where memory is short."""
        try:
            return self._pool.submit(what, *given, **named).result()
        except BrokenProcessPool:
            self._pool = self._started()
            return None

    def _started(self) -> ProcessPoolExecutor:
        """The process reads its tunables as it begins, so they are there until it has answered once."""
        before = os.environ.get(_TUNABLES)
        os.environ[_TUNABLES] = self._tunables
        try:
            pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
            pool.submit(_settle, self._threads).result()
        finally:
            if before is None:
                del os.environ[_TUNABLES]
            else:
                os.environ[_TUNABLES] = before
        return pool


def _settle(threads: int) -> None:
    torch.set_num_threads(threads)
