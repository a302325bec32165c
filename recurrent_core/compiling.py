"""Compiles functions to machine code, and keeps that of the doors on disk from one process to the next.

I know nothing of what is compiled. numba renews its cache when the file of the called function changes, not when one
it calls does: so the folder of the cache is named by the checksum of every source of the core.
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

CORE = Path(__file__).parent
"""The folder of recurrent_core."""


REORDERING = {"reassoc", "contract", "nsz"}
"""Sums may be taken in another order than written, several terms at once; NaN and infinity stay what they are."""


def compiled(function: Callable[..., Any], *, is_reordered: bool = False) -> Callable[..., Any]:
    """The function as machine code, for use by other compiled functions; made when first called."""
    fast = REORDERING if is_reordered else False
    return cast(Callable[..., Any], numba.njit(error_model="numpy", nogil=True, fastmath=fast)(function))


def door(function: Callable[..., None], *, is_reordered: bool = False) -> Callable[..., None]:
    """The function as machine code, for use from outside, kept on disk where a folder for it can be written."""
    fast = REORDERING if is_reordered else False
    settings: dict[str, Any] = vars(config)
    before = settings["CACHE_DIR"]
    settings["CACHE_DIR"] = str(_cache_folder())
    try:
        return cast(
            Callable[..., None], numba.njit(error_model="numpy", nogil=True, cache=True, fastmath=fast)(function)
        )
    except (RuntimeError, OSError, NumbaWarning):
        return compiled(function, is_reordered=is_reordered)
    finally:
        settings["CACHE_DIR"] = before


def are_kept(module: str) -> bool:
    """Whether this machine has kept the machine code of the doors in a module, as its file is called."""
    return any(_cache_folder().rglob(f"{module}.*.nbc"))


@cache
def _cache_folder() -> Path:
    digest = hashlib.sha256()
    for source in sorted(CORE.rglob("*.py")):
        digest.update(source.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "stream-engine" / f"compiled-{digest.hexdigest()[:16]}"
