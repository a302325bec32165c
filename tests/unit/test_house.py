"""Keeps the house honest: file lengths, module docstrings, examples in docstrings, links and commands in the pages."""

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest
import yaml

import connectors
import recurrent_core
import stream_engine
from stream_engine.cli.program import app
from stream_engine.config import load_config

ROOT = Path(__file__).parents[2]
PACKAGES = (stream_engine, recurrent_core, connectors)
MOST_LINES = 500
FOLDERS = ("stream_engine", "recurrent_core", "connectors", "tests", "deploy")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "recurrent_core").rglob("*.md")])
MODULES = sorted(
    name
    for package in PACKAGES
    for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not name.endswith("__main__")
)


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=where)
def test_no_file_grows_past_the_limit_and_each_says_what_it_does(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES
    assert ast.get_docstring(ast.parse(text)) or not text.strip(), "begins with what it does and knows nothing of"


@pytest.mark.parametrize("path", [path for path in FILES if "tests" not in path.parts], ids=where)
def test_every_public_function_and_class_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    public = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_front_doors_name_only_what_is_there(package: object) -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            assert hasattr(module, public), f"{name}.{public}"


@pytest.mark.parametrize("page", PAGES, ids=where)
def test_links_of_the_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_the_readmes_configuration_is_whole() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    config = load_config(None, yaml.safe_load(example), {})
    assert config.source.url.get_secret_value() == "kafka://127.0.0.1:9092/readings?group=forecaster"


def test_the_readmes_commands_exist() -> None:
    text = (ROOT / "README.md").read_text()
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback is not None}
    commands |= {str(group.name) for group in app.registered_groups}
    assert set(re.findall(r"^stream-engine (\w+)", text, re.MULTILINE)) <= commands
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = {name for names in targets for name in names.split()}
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= known
    modules = re.findall(r"python -m ([\w.]+)", text)
    assert modules
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)


def test_lock_files_hold_no_addresses() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text()
