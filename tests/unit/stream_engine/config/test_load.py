"""Loading: precedence, short forms, and one clear sentence for every fault."""

import traceback

import pytest
import yaml

from stream_engine.config import Condition, Duration, load_config, print_config
from stream_engine.config.secrets import MASK
from stream_engine.errors import ConfigError

WHOLE = """\
source: kafka://127.0.0.1:9092/readings?group=forecaster
sink: kafka://127.0.0.1:9092/forecasts
store: redis://127.0.0.1:6379/0
model: default
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text="", overrides=None, environment=None, whole=WHOLE):
        path = tmp_path / "engine.yaml"
        path.write_text(whole + text)
        return load_config(path, overrides, environment or {})

    return load_text


@pytest.fixture
def fault(load, tmp_path):
    def fault_of(*arguments, **settings):
        with pytest.raises(ConfigError) as caught:
            load(*arguments, **settings)
        assert caught.value.exit_status == 2
        text = str(caught.value)
        assert "\n" not in text
        return text.replace(str(tmp_path / "engine.yaml"), "engine.yaml")

    return fault_of


def test_four_lines_are_a_whole_configuration(load):
    config = load()
    assert config.source.url.get_secret_value() == "kafka://127.0.0.1:9092/readings?group=forecaster"
    assert (config.source.start, config.sink.format, config.store.prefix) == ("earliest", "json", "stream-engine")
    assert (config.model.name, config.model.device, config.horizon) == ("default", "auto", 12)
    assert (config.cadence, config.default_cadence.ns, config.max_future.s) == (None, 300 * 10**9, 3600.0)
    assert (config.commit_interval.s, config.checkpoint_interval.s) == (0.5, 5.0)


def test_the_tree_cannot_be_changed(load):
    with pytest.raises(ValueError, match="frozen"):
        load().horizon = 3


def test_long_forms(load):
    config = load(
        whole="""\
source: {url: 'kafka://h/t?group=g', start: latest}
sink: {url: 'kafka://h/o', format: packed}
store: {url: 'embedded://s', prefix: p}
model: {name: ./mine, device: 'cuda:1', slots: 7}
reading: {valid_where: quality == 'good', time_unit: ns, columns: [sensor, value]}
cadence: 1m
emit: {every: 10m}
max_future: null
kafka: {client: librdkafka, options: {linger.ms: 5}}
"""
    )
    assert (config.source.start, config.sink.format, config.model.slots) == ("latest", "packed", 7)
    assert config.reading.valid_where == Condition("quality == 'good'")
    assert (config.reading.columns, config.max_future) == (("sensor", "value"), None)
    assert (config.cadence, config.emit.every) == (Duration.parse("1m"), Duration.parse("10m"))
    assert config.kafka.client_options() == {"linger.ms": 5}


def test_flag_over_environment_over_file_over_default(load):
    text = "horizon: 2\nlate: dead_letter\nreading: {sensor: id, time: at}\n"
    environment = {
        "STREAM_ENGINE__HORIZON": "3",
        "STREAM_ENGINE__READING__SENSOR": "name",
        "STREAM_ENGINE__MODEL": "from-environment",
        "STREAM_ENGINE__KAFKA__OPTIONS": '{"sasl.password": "pw", "acks": "all"}',
        "STREAM_ENGINE__READING__COLUMNS": "[name, value]",
        "STREAM_ENGINE__MAX_FUTURE": "null",
        "OTHER": "x",
    }
    config = load(text, {"horizon": 4, "model.device": "cpu"}, environment)
    assert (config.horizon, config.late, config.reading.sensor, config.reading.time) == (4, "dead_letter", "name", "at")
    assert (config.model.name, config.model.device) == ("from-environment", "cpu")
    assert config.kafka.client_options() == {"sasl.password": "pw", "acks": "all"}
    assert (config.reading.columns, config.max_future) == (("name", "value"), None)
    assert load(text, None, {"STREAM_ENGINE__HORIZON": "3"}).horizon == 3


def test_a_configuration_needs_no_file():
    overrides = {"source": "embedded://a", "sink": "embedded://b", "store": "embedded://c"}
    assert load_config(None, overrides, {}).source.url.get_secret_value() == "embedded://a"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("modle: x", "engine.yaml: unknown key 'modle'; did you mean 'model'?"),
        ("reading: {sensr: x}", "engine.yaml: unknown key 'reading.sensr'; did you mean 'sensor'?"),
        ("api: {zzz: 1}", "engine.yaml: unknown key 'api.zzz'; known: host, port, token_file"),
        ("5: x", "engine.yaml: unknown key '5'"),
        ("horizon: abc", "engine.yaml: horizon is 'abc', but must be a whole number; leave it out for 12"),
        ("horizon: true", "whole number, not true or false"),
        ("horizon: 0", "engine.yaml: horizon is 0, but must be at least 1; leave it out for 12"),
        ("horizon: 1.5", "must be a whole number"),
        ("late: mrege", "did you mean 'merge'?"),
        ("cadence: 5", "engine.yaml: cadence is 5, but must be a length of time with its unit"),
        ("cadence: 0s", "must be longer than 0s"),
        ("calendar: {timezone: Mars/Base}", "must be the IANA name of a time zone"),
        ("reading: {valid_where: f(x)}", "which is no comparison"),
        ("reading: {sensor: id, group: id}", "reads the field 'id' as both sensor and group"),
        ("reading: {columns: [a, b]}", "has no column 'value'"),
        ("reading: {columns: [value, value]}", "names a column twice"),
        ("kafka: {options: 3}", "kafka.options must be a mapping"),
        ("kafka: {options: {a: [1]}}", "'a' is a list or mapping"),
        ("kafka: 3", "kafka is 3, but must be a mapping of its keys"),
        ("emit: {on_silence: maybe}", "must be true or false"),
        ("horizon: 3\nhorizon: 4", "engine.yaml, line 6: is not YAML (the key 'horizon' stands twice)"),
        ("a: [", "engine.yaml, line 5: is not YAML"),
        ("\x00", "is not YAML"),
        # what cannot be honoured yet is refused, not ignored
        ("emit: {at: tick}", "engine.yaml: emit.at: tick is not supported yet"),
        ("emit: {on_silence: true}", "engine.yaml: emit.on_silence: true is not supported yet"),
        ("calendar: {country: Denmrk}", "'Denmrk', but names no country that is known; did you mean 'DK'?"),
        ("calendar: {country: DE-BAY}", "names no part of DE that is known; did you mean 'DE-BY'?"),
        ("calendar: {country: NO}", "YAML reads a bare NO as false; write 'NO' for Norway"),
        ("api: {port: 9000}", "engine.yaml: api is not served yet"),
        ("reading: {format: protobuf}", "must be 'json', 'csv', 'packed', 'avro' or 'json_schema'"),
        ("reading: {format: avro}", "engine.yaml: reading.format: avro needs a schema registry; add one"),
        ("registry: nowhere", "registry.url must be an address"),
        ("rebuild_from: latest", "rebuild_from is 'latest', but must be earliest, an RFC 3339 time with its offset"),
        ("rebuild_from: 7", "rebuild_from is 7, but must be earliest, an RFC 3339 time with its offset"),
        ("rebuild_from: 0s", "must be longer than 0s; leave it out for earliest"),
        ("rebuild_from: 2026-11-01T00:00:00", "such as 2026-11-01T00:00:00Z, or a length of time before the newest"),
    ],
)
def test_every_fault_is_one_sentence(fault, text, wanted):
    assert wanted in fault(text)


def test_faults_name_where_they_come_from(fault):
    environment = {"STREAM_ENGINE__HORIZN": "3"}
    assert (
        fault(environment=environment)
        == "environment STREAM_ENGINE__HORIZN: unknown key 'horizn'; did you mean 'horizon'?"
    )
    assert fault(environment={"STREAM_ENGINE__HORIZON": "x"}).startswith("environment STREAM_ENGINE__HORIZON: horizon")
    assert fault(environment={"STREAM_ENGINE__KAFKA": "{a"}).startswith("STREAM_ENGINE__KAFKA: is no YAML")
    assert fault(overrides={"model.divice": "cpu"}).startswith("command line: unknown key 'model.divice'")
    assert fault(overrides={"late": "marge"}).startswith("command line: late")


def test_missing_keys_are_shown_how(fault):
    assert fault(whole="sink: kafka://h/t\n") == (
        "engine.yaml: the key 'source' is missing; add it, for example "
        "`source: kafka://127.0.0.1:9092/readings?group=forecaster`"
    )
    assert "'source' is missing" in fault(whole="")
    assert "must hold `key: value` lines" in fault(whole="- a\n")
    assert "source.url must be an address" in fault(whole="source: nope\nsink: a://b\nstore: a://b\n")


def test_files_that_cannot_be_read(tmp_path):
    for make, wanted in ((lambda path: None, "no such file"), (lambda path: path.mkdir(), "directory")):
        path = tmp_path / wanted.split()[0]
        make(path)
        with pytest.raises(ConfigError, match=wanted):
            load_config(path, {}, {})
    for name, content in (("binary", b"\xff\xfe"), ("huge", b"# \n" * 400_000)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=r"UTF-8|right file"):
            load_config(tmp_path / name, {}, {})


SECRET = "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"store: redis://u:{SECRET}@h/0\nhorizon: x",
        f"store: u:{SECRET}@h/0",
        f"store: {{url: 'redis://u:{SECRET}@h/0', prefix: 3}}",
        f"kafka: {{options: {{sasl.password: {SECRET}, b: [1]}}}}",
        f"kafka: {{options: {{sasl.password: [{SECRET}]}}}}",
        f"kafka: {{options: [{SECRET}]}}",
        f"kafka: {{options: {SECRET}}}",
        f"kafka: {{options: {{sasl.password: {SECRET}, b: [}}",
        f"kafka: {{optoins: {{sasl.password: {SECRET}}}}}",
    ],
)
def test_no_fault_shows_a_secret(load, text):
    with pytest.raises(ConfigError) as caught:
        load("", whole="source: a://b\nsink: a://b\n" + ("" if "store" in text else "store: a://b\n") + text)
    assert SECRET not in "".join(traceback.format_exception(caught.value)).replace(repr(text), "")


def test_what_is_printed_loads_again_and_holds_no_secret(load, tmp_path):
    file = tmp_path / "password"
    file.write_text(SECRET)
    text = f"""\
kafka:
  options: {{sasl.password: {SECRET}, sasl_plain_password: '${{file:{file}}}', security.protocol: SASL_SSL}}
reading: {{valid_where: "count > 0 and quality == 'good'"}}
cadence: 1h30m
emit: {{every: 10m}}
"""
    config = load(text, whole=WHOLE.replace("redis://", f"redis://u:{SECRET}@"))
    shown = print_config(config)
    assert SECRET not in shown
    assert SECRET not in repr(config)
    again = load(whole=shown)
    assert print_config(again) == shown
    assert yaml.safe_load(shown)["store"]["url"] == f"redis://u:{MASK}@127.0.0.1:6379/0"
    assert again.kafka.client_options()["sasl_plain_password"] == SECRET
    assert again.model_copy(update={"store": config.store, "kafka": config.kafka}) == config


def test_defaults_are_printed_and_load_again(load):
    shown = print_config(load())
    assert print_config(load(whole=shown)) == shown
