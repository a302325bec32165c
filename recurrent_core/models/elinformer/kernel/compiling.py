"""Compiles functions to machine code, and keeps that of the doors on disk from one process to the next.

I know nothing of what is compiled. numba renews its cache when the file of the called function changes, not when one
it calls does: so the folder of the cache is named by the checksum of every source beside me and of what they import.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import numba
from numba.core import config
from numba.core.errors import NumbaWarning

CORE = Path(__file__).parents[3]
"""The folder of recurrent_core."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code, for use by other compiled functions; made when first called."""
    return cast(Callable[..., Any], numba.njit(error_model="numpy", nogil=True)(function))


def door(function: Callable[..., None]) -> Callable[..., None]:
    """The function as machine code, for use from outside, kept on disk where a folder for it can be written."""
    settings: dict[str, Any] = vars(config)
    before = settings["CACHE_DIR"]
    settings["CACHE_DIR"] = str(_cache_folder())
    try:
        return cast(Callable[..., None], numba.njit(error_model="numpy", nogil=True, cache=True)(function))
    except (RuntimeError, OSError, NumbaWarning):
        return compiled(function)
    finally:
        settings["CACHE_DIR"] = before


def are_kept() -> bool:
    """Whether this machine has kept the doors' machine code of these sources."""
    return any(_cache_folder().rglob("*.nbc"))


@cache
def _cache_folder() -> Path:
    digest = hashlib.sha256()
    for source in sorted(CORE.rglob("*.py")):
        digest.update(source.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "stream-engine" / f"compiled-{digest.hexdigest()[:16]}"
