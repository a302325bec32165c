"""A secret in every place that takes one: no way of showing the configuration, or what is made of it, tells it."""

import copy
import logging
import traceback

import pytest
import yaml

from stream_engine.config import Config, SecretText, load_config, print_config
from stream_engine.config.tree import Section
from stream_engine.errors import ConfigError
from stream_engine.worker import Doors

SECRET = "hush-%40-1"
"""Quoted as in an address."""
WORDS = ("hush", "aHVzaC")
"""The secret's beginning, and that of its base64."""
WHOLE = {
    "source": f"kafka://broker:9092/readings?group=g&password={SECRET}",
    "sink": {"url": f"kafka://engine:{SECRET}@broker:9092/forecasts", "format": "avro"},
    "store": f"redis://engine:{SECRET}@cache:6379/0?password={SECRET}",
    "registry": f"https://engine:{SECRET}@schemas:8081",
    "kafka": {
        "options": {
            "sasl.password": SECRET,
            "sasl_plain_password": SECRET,
            "ssl.key.password": SECRET,
            "ssl.key.pem": SECRET,
            "sasl.jaas.config": SECRET,
            "sasl.oauthbearer.client.secret": SECRET,
            "sasl.oauthbearer.config": SECRET,
            "api_key": SECRET,
        }
    },
}


def secrets_of(section: Section, path: str = "") -> dict[str, SecretText]:
    """Every value of the tree that may hold a secret, by its dotted key."""
    found: dict[str, SecretText] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            found |= secrets_of(value, f"{path}{name}.")
        elif isinstance(value, SecretText):
            found[f"{path}{name}"] = value
        elif isinstance(value, dict):
            found |= {f"{path}{name}.{key}": one for key, one in value.items() if isinstance(one, SecretText)}
    return found


def secret_keys(section: type[Section] = Config, path: str = "") -> set[str]:
    """Every key of the tree whose type takes a secret."""
    found = set()
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            found |= secret_keys(kind, f"{path}{name}.")
        elif "Secret" in str(kind):
            found.add(f"{path}{name}")
    return found


def is_told(text: str) -> bool:
    return any(word in text for word in WORDS)


def refusal(tree: dict[str, object]) -> str:
    """What a refused configuration is told, with all that it was caused by; "" where it is taken."""
    try:
        load_config(None, tree, {})
    except ConfigError as error:
        return "".join(traceback.format_exception(error))
    return ""


@pytest.fixture
def config() -> Config:
    return load_config(None, copy.deepcopy(WHOLE), {})


def test_the_walk_reaches_every_key_that_takes_a_secret(config: Config) -> None:
    found = secrets_of(config)
    assert {key for key in secret_keys() if key != "kafka.options"} <= found.keys()
    assert {f"kafka.options.{name}" for name in WHOLE["kafka"]["options"]} <= found.keys()
    assert all("hush" in value.get_secret_value() for value in found.values())


def test_no_way_of_showing_the_configuration_tells_a_secret(
    config: Config, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").info("%s %r", config, config)
        for value in secrets_of(config).values():
            logging.getLogger("test").info("%s %r %s", value, value, f"{value}")
    print(config)
    sections = [config, *(getattr(config, name) for name in Config.model_fields)]
    shown = [text for one in sections for text in (str(one), repr(one))]
    shown += [print_config(config), config.model_dump_json(), str(config.model_dump()), caplog.text]
    shown += [capsys.readouterr().out, yaml.safe_dump(config.model_dump(mode="json"))]
    assert not [text for text in shown if is_told(text)]
    assert print_config(config).count("********") >= len(secrets_of(config))


def test_what_opens_the_servers_tells_no_secret(config: Config) -> None:
    doors = Doors(config)
    made = [doors, doors.store(), doors.registry(), doors.encoder("m@1")]
    shown = [text for one in made for text in (str(one), repr(one))]
    with pytest.raises(Exception, match="carries a password") as caught:  # a user in Kafka's URL is refused
        doors.sink()
    shown += ["".join(traceback.format_exception_only(caught.value))]
    with pytest.raises(Exception, match="unknown setting") as caught:
        doors.source()
    shown += ["".join(traceback.format_exception_only(caught.value))]
    assert not [text for text in shown if is_told(text)]


@pytest.mark.parametrize("key", sorted(secret_keys() | {"kafka.options.sasl.password", "nowhere", "kafka.nowhere"}))
@pytest.mark.parametrize("value", [f"nonsense {SECRET}", [SECRET], {SECRET: 1}, {"url": {"x": SECRET}}])
def test_no_refusal_tells_a_secret(key: str, value: object) -> None:
    tree = copy.deepcopy(WHOLE)
    *above, last = key.split(".", 2) if key.startswith("kafka.options.") else key.split(".")
    place = tree
    for name in above:
        inner = place.get(name)
        place[name] = inner if isinstance(inner, dict) else {"url": inner}
        place = place[name]
    place[last] = value
    told = refusal(tree)
    names_the_key = "unknown key" in told and isinstance(value, dict)
    assert names_the_key or not is_told(told)
