"""From file, environment and flags to one checked tree, or one clear sentence.

I know nothing of what the keys mean (`tree` does). Precedence: flag > environment > file > default.
"""

import os
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import ValidationError

from stream_engine.config.sentences import sentence
from stream_engine.config.tree import SHORT_FORMS, Config, Section
from stream_engine.errors import ConfigError, nearest_name

ENVIRONMENT_PREFIX = "STREAM_ENGINE__"
FREE_FORM = ("kafka", "options")
"""The one mapping whose keys are not ours."""
MAX_FILE_BYTES = 1_000_000

KeyPath: TypeAlias = tuple[str, ...]
Tree: TypeAlias = dict[str, Any]


def load_config(
    path: Path | str | None = None,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read the configuration: flag > environment > file > default.

    Args:
        path: a YAML file, or None for none.
        overrides: values of flags by dotted key, such as `{"model.device": "cpu"}`.
        environment: variables, of which `STREAM_ENGINE__SECTION__KEY` are read; None is the process's own.
    Raises:
        ConfigError: one sentence that says what is wrong, where, what was wanted, and the way out.
    """
    environment = os.environ if environment is None else environment
    merged = _Merged()
    if path is not None:
        merged.add(_read_file(Path(path)), str(path))
    for name, text in sorted(environment.items()):
        if name.upper().startswith(ENVIRONMENT_PREFIX):
            keys = tuple(name[len(ENVIRONMENT_PREFIX) :].lower().split("__"))
            merged.add(_nested(keys, _from_text(text, name)), f"environment {name}")
    for dotted, value in (overrides or {}).items():
        content = _from_text(value, dotted) if isinstance(value, str) else value
        merged.add(_nested(tuple(dotted.split(".")), content), "command line")
    return merged.check(str(path) if path is not None else "configuration")


class _Merged:
    """Layers laid over each other, and where each value came from."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.origins: dict[KeyPath, str] = {}

    def add(self, layer: Mapping[Any, Any], origin: str) -> None:
        """Lay `layer` over what is there.

        Raises:
            ConfigError: it holds a key that is not known.
        """
        self._lay(self.tree, layer, Config, (), origin)

    def _lay(
        self, below: Tree, layer: Mapping[Any, Any], section: type[Section] | None, path: KeyPath, origin: str
    ) -> None:
        for raw_key, value in layer.items():
            key = str(raw_key)
            here = (*path, key)
            if section is not None and key not in section.model_fields:
                unknown = ".".join(here)
                hint = nearest_name(key, section.model_fields)
                raise ConfigError(f"{origin}: unknown key '{unknown}'; {hint}")
            if len(here) == 1 and key in SHORT_FORMS and isinstance(value, str):
                value = {SHORT_FORMS[key]: value}
            self.origins[here] = origin
            inner = None if section is None else _section_of(section, key)
            if isinstance(value, Mapping) and (inner is not None or here == FREE_FORM):
                kept = below.get(key)
                below[key] = kept if isinstance(kept, dict) else {}
                self._lay(below[key], value, inner, here, origin)
            elif value is None and (inner is not None or here == FREE_FORM):
                continue  # `kafka:` with nothing below it says nothing
            else:
                below[key] = value

    def check(self, name: str) -> Config:
        """The checked tree.

        Raises:
            ConfigError: the first fault, in one sentence.
        """
        try:
            return Config.model_validate(self.tree)
        except ValidationError as error:
            # not chained: pydantic's own text may show what was given, and that may be secret
            fault = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(sentence(fault, self.tree, self.origins, name))


def _section_of(section: type[Section], key: str) -> type[Section] | None:
    annotation = section.model_fields[key].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _nested(keys: KeyPath, value: object) -> Tree:
    for key in reversed(keys):
        value = {key: value}
    return value  # type: ignore[return-value]


def _from_text(text: str, name: str) -> object:
    """A variable's or flag's value: lists, mappings and null as in YAML, all else as it stands."""
    if text.strip().lower() in ("null", "~"):
        return None
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return yaml.load(text, _StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: is no YAML mapping or list; write {{key: value}} or [a, b]") from error


def _read_file(path: Path) -> Mapping[Any, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise ConfigError(f"{path}: {reason}; name a YAML file, such as engine.yaml, that can be read") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: over {MAX_FILE_BYTES} bytes, which no configuration is; name the right file")
    try:
        loaded = yaml.load(content.decode(), _StrictLoader)  # noqa: S506 (a SafeLoader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        fault = ConfigError(f"{path}{line}: is not YAML ({error.problem}); mend that line")
    except (yaml.YAMLError, ValueError, RecursionError):
        fault = ConfigError(f"{path}: is not YAML; write one `key: value` a line")
    else:
        if loaded is None:
            return {}
        if isinstance(loaded, Mapping):
            return loaded
        fault = ConfigError(f"{path}: must hold `key: value` lines; see docs/configuration.md")
    raise fault  # not chained: a parser's own text shows the line, which may hold a secret


class _StrictLoader(yaml.SafeLoader):
    """YAML without the key that stands twice, of which one would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As SafeLoader's.

        Raises:
            yaml.constructor.ConstructorError: a key stands twice.
        """
        seen: set[str] = set()
        for key in self._keys(node):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    @staticmethod
    def _keys(node: yaml.MappingNode) -> Iterator[yaml.ScalarNode]:
        return (key for key, _ in node.value if isinstance(key, yaml.ScalarNode))
