"""One sentence for one fault of the configuration: where, what, wanted, way out.

I know nothing of where faults come from. Values of keys that may hold a secret are not shown.
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from stream_engine.config.tree import Config, Section
from stream_engine.errors import nearest_name

EXAMPLES = {
    "source": "source: kafka://127.0.0.1:9092/readings?group=forecaster",
    "sink": "sink: kafka://127.0.0.1:9092/forecasts",
    "store": "store: redis://127.0.0.1:6379/0",
}
MAX_SHOWN = 60

_WANTED = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "string_type": "must be text (put it in quotes)",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list, such as [sensor, ts, value]",
    "string_pattern_mismatch": "must be one of auto, cpu, cuda or cuda:N",
    "model_type": "must be a mapping of its keys",
    "model_attributes_type": "must be a mapping of its keys",
}


def sentence(fault: ErrorDetails, tree: Mapping[str, Any], origins: Mapping[tuple[str, ...], str], name: str) -> str:
    """The fault in one sentence.

    Args:
        fault: as pydantic gives it.
        tree: what was checked.
        origins: where each key came from.
        name: of the configuration as a whole, for what came from nowhere.
    """
    path = tuple(str(key) for key in fault["loc"])
    if not path:  # a rule about the whole tree: its sentence begins with the key
        text = _message(fault)
        key = tuple(text.split(" ")[0].rstrip(":").split("."))
        return f"{_origin(key, origins, name)}: {text}"
    dotted = ".".join(path)
    if fault["type"] == "missing":
        example = EXAMPLES.get(path[0], f"{dotted}: …")
        return f"{name}: the key '{dotted}' is missing; add it, for example `{example}`"
    where = _origin(path, origins, name)
    found, found_value = _found(path, tree)
    return f"{where}: {dotted}{found} {_wanted(fault, found_value)}{_way_out(path)}"


def _origin(path: tuple[str, ...], origins: Mapping[tuple[str, ...], str], name: str) -> str:
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return origins[path[:length]]
    return name


def _message(fault: ErrorDetails) -> str:
    error = fault.get("ctx", {}).get("error")
    return str(error) if error is not None else fault["msg"]


def _wanted(fault: ErrorDetails, found: object) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "value_error":
        return _message(fault)
    if kind == "literal_error":
        expected = str(context["expected"])
        names = [part.strip("' ") for part in expected.replace(" or ", ", ").split(",")]
        hint = nearest_name(found, names) if isinstance(found, str) else ""
        return f"must be {expected}" + (f" ({hint})" if hint.startswith("did") else "")
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}"
    if kind == "less_than_equal":
        return f"must be at most {context['le']}"
    return _WANTED.get(kind, fault["msg"].replace("Input should be", "must be"))


def _found(path: tuple[str, ...], tree: Mapping[str, Any]) -> tuple[str, object]:
    """What stands there, to be shown (nothing for an address or an option of a client), and itself."""
    if "url" in path or "options" in path:
        return "", None
    value: Any = tree
    for key in path:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return "", None
    if isinstance(value, Mapping | list):
        return "", None
    text = repr(value)
    return f" is {text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + '…'}, but", value


def _way_out(path: tuple[str, ...]) -> str:
    section: type[Section] = Config
    for key in path[:-1]:
        annotation = section.model_fields[key].annotation if key in section.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, Section)):
            return ""
        section = annotation
    field = section.model_fields.get(path[-1])
    if field is None or field.is_required() or field.default_factory is not None:
        return ""
    default = "null" if field.default is None else field.default
    return f"; leave it out for {default}"
