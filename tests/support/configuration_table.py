"""The table of every key in docs/configuration.md, made from the tree.

`python -m tests.support.configuration_table` prints it; a test compares it with the page.
"""

import json
from collections.abc import Iterator

from stream_engine.config import Config
from stream_engine.config.tree import Section


def rows(section: type[Section] = Config, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of every key, in the tree's order."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from rows(field.annotation, f"{path}{name}.")
            continue
        default = "needed" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        yield f"{path}{name}", default, field.description or ""


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool | dict):
        return f"`{json.dumps(value)}`"
    return f"`{value}`"


def table() -> str:
    """The table as Markdown."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in rows()])


if __name__ == "__main__":
    print(table())
