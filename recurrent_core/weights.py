"""Saves and loads a model's artifact: a folder of model.safetensors, config.json and card.json.

I know nothing of how a model computes. config.json names the model class and its choices; card.json holds the
artifact's name and version, the format, the state's layout id and the checksum of the other two files. No pickle.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from recurrent_core.config import ElinformerConfig
from recurrent_core.errors import ArtifactError, ConfigError
from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.models.elinformer_window.model import ElinformerWindow
from recurrent_core.registry import MODELS

FORMAT_VERSION = 1
WINDOW = "elinformer_window"
WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "card.json"
SHIPPED = {"default": ("recurrent_core.models.elinformer", "default")}
"""Artifacts that come with the package: name -> package and folder in it."""


def save_model(model: Elinformer, folder: str | Path, facts: dict[str, Any] | None = None) -> None:
    """Write a model's artifact into a folder, which is made if it is not there; the card is written last.

    Args:
        model: what to save.
        folder: where to; files of the same names are replaced.
        facts: what else the card should tell (scores, data, how it was made).
    """
    known = {"known": asdict(model.known)} if model.known.names else {}
    config = {"model": "elinformer", "choices": model.config.to_dict(), **known}
    card = {
        "name": model.name,
        "version": model.version,
        "layout_id": model.layout_id,
        "state_floats": model.state_floats,
        "facts": facts or {},
    }
    _write(Path(folder), model.tensors, config, card)


def save_window(
    model: ElinformerWindow, sensors: Sequence[str], folder: str | Path, name: str, facts: dict[str, Any]
) -> None:
    """Write a windowed model's artifact; it can be loaded by `load_window` alone.

    Args:
        sensors: [N] ids, in the order of the model's columns.
        folder, facts: as `save_model` has them.
    """
    config = {"model": WINDOW, "rule": model.rule, "sensors": list(sensors)}
    version = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:8]
    _write(Path(folder), model.state_dict(), config, {"name": name, "version": version, "facts": facts})


def _write(folder: Path, tensors: Mapping[str, Tensor], choices: dict[str, Any], told: dict[str, Any]) -> None:
    """Write the three files, the card last."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = save_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()})
    config = _to_json(choices)
    card = {"format_version": FORMAT_VERSION, **told, "checksum": _checksum(weights, config)}
    for file, content in ((WEIGHTS_FILE, weights), (CONFIG_FILE, config), (CARD_FILE, _to_json(card))):
        part = folder / f"{file}.part"
        part.write_bytes(content)
        part.replace(folder / file)


def load_model(source: str | Path = "default") -> Elinformer:
    """Load a shipped artifact by name, or one from a folder.

    Raises:
        ArtifactError: if there is no such artifact, or it is damaged, of another format or of a foreign layout.
    """
    folder = _find(source)
    card, config, weights = _read(folder)
    return _build(folder, card, config, weights)


def load_window(folder: str | Path) -> tuple[ElinformerWindow, tuple[str, ...]]:
    """A windowed model and the ids of its sensors, in the order of its columns.

    Raises:
        ArtifactError: if there is no such artifact, or it is damaged, of another format or no windowed model's.
    """
    folder = _find(folder)
    _, config, weights = _read(folder)
    if config.get("model") != WINDOW:
        raise ArtifactError(f"{folder} holds the model {config.get('model')!r}, not {WINDOW!r}; load_model takes it")
    try:
        sensors = tuple(map(str, config["sensors"]))
        model = ElinformerWindow(len(sensors), str(config["rule"]))
        model.load_state_dict(load_tensors(weights))
    except (ConfigError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise ArtifactError(f"{folder} does not fit this version: {error}; train the model again with it") from error
    return model.eval(), sensors


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Card, config and weights of an artifact whose files are whole."""
    try:
        weights, config, card_text = ((folder / file).read_bytes() for file in (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE))
    except OSError as error:
        raise ArtifactError(
            f"{folder} lacks {Path(error.filename or '?').name}; an artifact is {WEIGHTS_FILE}, {CONFIG_FILE} and "
            f"{CARD_FILE}: copy the folder again, or save the model again"
        ) from error
    card = _from_json(folder / CARD_FILE, card_text)
    if card.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{folder} is of format {card.get('format_version')!r}, this version reads {FORMAT_VERSION}; "
            "save the model again with this version, or install the one that wrote it"
        )
    if card.get("checksum") != _checksum(weights, config):
        raise ArtifactError(f"{folder} is damaged: the checksum in {CARD_FILE} does not match; copy the folder again")
    return card, _from_json(folder / CONFIG_FILE, config), weights


def load_card(source: str | Path = "default") -> dict[str, Any]:
    """What an artifact's card tells: name, version, layout and, under `facts`, how it came to be.

    Raises:
        ArtifactError: if there is no such artifact, or its card cannot be read.
    """
    path = _find(source) / CARD_FILE
    try:
        return _from_json(path, path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path.parent} lacks {CARD_FILE}: copy the folder again") from error


def _build(folder: Path, card: dict[str, Any], config: dict[str, Any], weights: bytes) -> Elinformer:
    """Make the model of an artifact whose files are whole."""
    if config.get("model") == WINDOW:
        raise ArtifactError(
            f"{folder} holds {WINDOW}, which reads a window of all its sensors anew at every forecast and keeps no "
            "state, so it cannot stream; train without --model for one that can"
        )
    model_class = MODELS.get(str(config.get("model")))
    if model_class is None:
        raise ArtifactError(f"{folder} holds the model {config.get('model')!r}; known are {', '.join(sorted(MODELS))}")
    try:
        choices = ElinformerConfig.from_dict(config.get("choices", {}))
        known = Known.from_dict(config.get("known", {}))
        model = model_class(choices, load_tensors(weights), str(card["name"]), str(card["version"]), known)
    except (ConfigError, SafetensorError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder} does not fit this version: {error}; save the model again with it") from error
    if model.layout_id != card.get("layout_id"):
        raise ArtifactError(
            f"{folder} was saved for the state layout {card.get('layout_id')!r}, this version lays it out as "
            f"{model.layout_id!r}; stored states would be misread: save the model again with this version"
        )
    return model


def _find(source: str | Path) -> Path:
    """The folder of a shipped artifact's name, or the folder given."""
    if str(source) in SHIPPED:
        package, folder = SHIPPED[str(source)]
        return Path(str(resources.files(package) / folder))
    if not Path(source).is_dir():
        near = get_close_matches(str(source), SHIPPED, n=1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"name one of {', '.join(sorted(SHIPPED))}, or an artifact's folder"
        )
        raise ArtifactError(f"there is no artifact {str(source)!r}; {hint}")
    return Path(source)


def _checksum(weights: bytes, config: bytes) -> str:
    return hashlib.sha256(len(weights).to_bytes(8, "big") + weights + config).hexdigest()


def _to_json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _from_json(path: Path, text: bytes) -> dict[str, Any]:
    """The object in a JSON file."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ArtifactError(f"{path} is damaged: {error}; copy the folder again") from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is damaged: wanted a JSON object; copy the folder again")
    return content
