"""Keeps a training run's progress in one file, written whole or not at all, and takes it up after a kill.

The file is safetensors: tensors, and a plan's fingerprint and what was decided so far as text beside them. No pickle.
I know nothing of nets.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stream_engine.errors import ConfigError

KEPT_FILE = "training.safetensors"
_FINGERPRINT, _DECIDED = "fingerprint", "decided"


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with this, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


class Keeper:
    """The file of one run; owned by it."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """Make the folder.

        Args:
            fingerprint: of data, options and code; progress of any other is refused.
        Raises:
            ConfigError: the folder cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--out: {folder} cannot be made: {error.strerror}") from error
        self.path = folder / KEPT_FILE
        self._fingerprint = fingerprint

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What was decided so far and the tensors kept; both empty at the start.

        Raises:
            ConfigError: the file is of another run, or damaged.
        """
        if not self.path.exists():
            return {}, {}
        try:
            with safe_open(self.path, framework="pt") as file:
                notes = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (a file, not a dict)
            decided = json.loads(notes[_DECIDED])
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise ConfigError(f"{self.path} is damaged ({error}); delete it to start afresh") from error
        if notes.get(_FINGERPRINT) != self._fingerprint:
            raise ConfigError(
                f"{self.path} is the progress of another training run (other data, options or version); "
                "delete it to start afresh, or choose another --out"
            )
        return decided, tensors

    def save(self, decided: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Put both in the place of what was kept."""
        notes = {_FINGERPRINT: self._fingerprint, _DECIDED: json.dumps(decided)}
        whole = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
        part = self.path.with_suffix(".part")
        part.write_bytes(save(whole, metadata=notes))
        part.replace(self.path)

    def clear(self) -> None:
        """The run is over."""
        self.path.unlink(missing_ok=True)
