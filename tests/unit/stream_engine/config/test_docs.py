"""The pages on configuration and messages say what the code does."""

import re
from pathlib import Path

import pytest
import yaml

from stream_engine.codec import JsonDecoder
from stream_engine.config import ReadingConfig, load_config
from stream_engine.records import REASONS
from tests.support.configuration_table import table
from tests.support.messages import messages

DOCS = Path(__file__).parents[4] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text()
MESSAGES = (DOCS / "messages.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL)


def test_the_table_holds_every_key():
    assert table() in CONFIGURATION, "run `python -m tests.support.configuration_table` and put its table into the page"


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads(example, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s")
    path = tmp_path / "engine.yaml"
    path.write_text(re.sub(r"\$\{file:[^}]*\}", f"${{file:{secret}}}", example))
    config = load_config(path, {}, {})
    assert config.horizon == yaml.safe_load(example).get("horizon", 12)


def test_every_reason_is_explained():
    assert re.findall(r"^\| `(\w+)` \| (?:is|names|has|comes)", MESSAGES, re.MULTILINE) == [
        "undecodable",
        "no_sensor",
        "bad_value",
        "bad_time",
        "future_time",
        "late",
        "schema",
        "too_large",
    ]
    assert all(f"`{reason}`" in MESSAGES for reason in REASONS)


def test_the_example_messages_are_read():
    block = re.search(r"```json\n(.*?)```", MESSAGES, re.DOTALL).group(1)
    lines = [line.encode() for line in block.strip().splitlines()]
    batch, rejects = JsonDecoder(ReadingConfig(), None).decode(messages(lines))
    assert not rejects
    assert list(zip(batch.rows.tolist(), batch.channels, strict=True)) == [(0, ""), (1, "speed"), (1, "count"), (2, "")]
