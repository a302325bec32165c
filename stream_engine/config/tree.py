"""The configuration as one frozen tree: every key, its type, its default and its meaning.

I know nothing of files, environment or flags (`load` does), nor of who reads the values.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from stream_engine.config.condition import Condition
from stream_engine.config.countries import NO_COUNTRY, check_country
from stream_engine.config.durations import Duration
from stream_engine.config.secrets import SecretText, SecretUrl, is_secret_name
from stream_engine.config.since import EARLIEST, Since

SHORT_FORMS = {"source": "url", "sink": "url", "store": "url", "model": "name", "registry": "url"}
"""Sections that may be written as plain text, and the key which that text is."""

MAX_TEXT_BYTES = 900_000
"""Largest message of any format but packed by default: below the 1 MB that a broker takes by default."""
REGISTERED = ("avro", "json_schema")
"""Formats whose messages name a schema of the registry."""
MAX_PACKED_BYTES = 64 * 1024 * 1024
"""Largest packed message by default."""


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number, not true or false")
    return value


def _not_zero(value: Duration) -> Duration:
    if value.ns == 0:
        raise ValueError("must be longer than 0s")
    return value


Count: TypeAlias = Annotated[int, BeforeValidator(_not_bool), Field(ge=1)]
Positive: TypeAlias = Annotated[Duration, AfterValidator(_not_zero)]
Name: TypeAlias = Annotated[str, Field(min_length=1)]
Option: TypeAlias = SecretText | str | int | float | bool | None


class Section(BaseModel):
    """A frozen part of the tree; unknown keys are refused, and nothing it was given is shown in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, protected_namespaces=())


class SourceConfig(Section):
    """Where readings come from."""

    url: SecretUrl = Field(description="the topic and its consumer group, such as `kafka://host:9092/topic?group=name`")
    start: Literal["earliest", "latest"] = Field(
        default="earliest", description="where a group that has committed nothing, and has no stored state, begins"
    )
    max_poll: Count = Field(default=50_000, description="most records carried in one turn")


class SinkConfig(Section):
    """Where forecasts go."""

    url: SecretUrl = Field(description="the topic forecasts are written to, such as `kafka://host:9092/forecasts`")
    format: Literal["json", "packed", "avro", "json_schema"] = Field(
        default="json",
        description="`json`: one message a forecast; `avro`, `json_schema`: the same with a schema of the registry; "
        "`packed`: Arrow record batches of many",
    )


class StoreConfig(Section):
    """Where states are kept between runs."""

    url: SecretUrl = Field(description="the state store, such as `redis://host:6379/0`")
    prefix: Name = Field(default="stream-engine", description="what every key in the store begins with")
    timeout: Positive = Field(default=Duration.parse("30s"), description="how long start-up waits for the store")


class ModelConfig(Section):
    """What forecasts."""

    name: Name = Field(default="default", description="`default`, or the folder of a trained model")
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = Field(
        default="auto", description="`auto` (a GPU where there is one), `cpu`, `cuda` or `cuda:N`"
    )
    slots: Count = Field(default=100_000, description="most sensors whose state is on the device at a time")
    threads: Literal["auto"] | Count = Field(
        default="auto",
        description="CPU threads that share the model's work: `auto` (one a core, at most 4) or a number",
    )


class ReadingConfig(Section):
    """How a message is read."""

    format: Literal["json", "csv", "packed", "avro", "json_schema"] = Field(
        default="json",
        description="`json`: one object a message; `avro`, `json_schema`: the same with a schema of the registry; "
        "`csv`: lines; `packed`: an Arrow record batch",
    )
    sensor: Name = Field(default="sensor", description="field of the sensor's id; where absent, the record's key")
    time: Name = Field(default="ts", description="field of the event time; where absent, the record's timestamp")
    time_unit: Literal["s", "ms", "us", "ns", "rfc3339"] = Field(
        default="ms", description="unit of numbers in the time field since 1970-01-01 UTC, or `rfc3339` for text"
    )
    value: Name = Field(default="value", description="field of the value of a sensor with one channel")
    values: Name = Field(
        default="values", description="field of the values of a sensor with several channels (not CSV)"
    )
    group: Name = Field(
        default="group", description="field of the sensor's group, for attention across sensors (no model has it yet)"
    )
    channel: Name = Field(default="channel", description="column of the channel (packed and CSV)")
    columns: tuple[Name, ...] | None = Field(
        default=None, description="columns of a CSV line, in order; null: the sensor, time and value fields"
    )
    valid_where: Condition | None = Field(
        default=None, description="condition such as `quality == 'good'`; a reading that fails it counts as no reading"
    )
    max_bytes: Count | None = Field(
        default=None, description=f"largest message that is read; null: {MAX_TEXT_BYTES} (packed: {MAX_PACKED_BYTES})"
    )

    @property
    def most_bytes(self) -> int:
        """Largest message that is read, in bytes."""
        if self.max_bytes is not None:
            return self.max_bytes
        return MAX_PACKED_BYTES if self.format == "packed" else MAX_TEXT_BYTES

    @model_validator(mode="after")
    def _fields_differ(self) -> "ReadingConfig":
        roles = ("sensor", "time", "value", "values", "group", "channel")
        taken: dict[str, str] = {}
        for role in roles:
            field = getattr(self, role)
            if field in taken:
                raise ValueError(f"reads the field '{field}' as both {taken[field]} and {role}; give each its own name")
            taken[field] = role
        return self

    @model_validator(mode="after")
    def _columns_are_whole(self) -> "ReadingConfig":
        if self.columns is None:
            return self
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("names a column twice in 'columns'; name each once")
        if self.value not in self.columns:
            raise ValueError(
                f"has no column '{self.value}' in 'columns'; add it, or set 'value' to the one that holds it"
            )
        return self


class RegistryConfig(Section):
    """The schema registry that `avro` and `json_schema` need."""

    url: SecretUrl | None = Field(
        default=None, description="the schema registry, such as `https://user:password@host:8081`; null: none"
    )
    ca_file: Name | None = Field(default=None, description="authorities to trust, PEM; null: the system's")
    certificate_file: Name | None = Field(default=None, description="this client's own certificate, PEM; null: none")
    key_file: Name | None = Field(default=None, description="its key, PEM, without a password")
    timeout: Positive = Field(
        default=Duration.parse("30s"),
        description="how long a registry that is away is waited for before the engine stops with status 1",
    )


class CalendarConfig(Section):
    """What the local time of sensors is."""

    timezone: str | None = Field(
        default=None,
        description="IANA name of the sensors' time zone, such as `Europe/Berlin`; null: the model's, else UTC",
    )
    country: str | None = Field(
        default=None,
        description="country, or part of one, whose public holidays count as Sundays, such as `DK` or `DE-BY`; "
        "null: the model's, else none; `none`: none",
    )

    @field_validator("country", mode="before")
    @classmethod
    def _norway_is_quoted(cls, value: object) -> object:
        if value is False:
            raise ValueError(f"must be text: YAML reads a bare NO as false; write 'NO' for Norway, or {NO_COUNTRY}")
        return value

    @field_validator("country")
    @classmethod
    def _country_is_known(cls, value: str | None) -> str | None:
        return value if value in (None, NO_COUNTRY) else check_country(value)

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("must be the IANA name of a time zone, such as UTC or Europe/Berlin") from error
        return value


class EmitConfig(Section):
    """When a forecast is sent."""

    at: Literal["reading", "tick"] = Field(
        default="reading", description="`reading`: at each; `tick` is not supported yet"
    )
    every: Positive | None = Field(
        default=None, description="at most one forecast a sensor in this much event time; null: at every reading"
    )
    on_silence: bool = Field(default=False, description="forecast for silent sensors too (not supported yet)")


class KafkaConfig(Section):
    """What only Kafka needs."""

    client: Literal["auto", "python", "librdkafka"] = Field(
        default="auto", description="`python` (kafka-python), `librdkafka`, or `auto`: librdkafka where it is installed"
    )
    options: dict[str, Option] = Field(
        default_factory=dict,
        description="raw options of that client (SASL, TLS, …), under its own names",
    )

    @field_validator("options", mode="before")
    @classmethod
    def _hide_secrets(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            raise ValueError("must be a mapping of the client's own option names, such as security.protocol: SASL_SSL")
        return {name: _option(str(name), option) for name, option in value.items()}

    def client_options(self) -> dict[str, str | int | float | bool | None]:
        """The options with their secrets, for the client alone; never print them."""
        return {
            name: option.get_secret_value() if isinstance(option, SecretText) else option
            for name, option in self.options.items()
        }


def _option(name: str, value: object) -> object:
    if isinstance(value, str | int | float) and is_secret_name(name):
        return SecretText(str(value))
    if isinstance(value, str) and "${file:" in value:
        return SecretText(value)
    if isinstance(value, SecretText | str | int | float | bool | None):
        return value
    raise ValueError(f"must hold plain values, but '{name}' is a list or mapping")


class ApiConfig(Section):
    """The read-only HTTP view (not started yet: values other than these are refused)."""

    host: str = Field(default="127.0.0.1", description="address it is bound to (not supported yet)")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(default=8080, description="its port (not supported yet)")
    token_file: str | None = Field(default=None, description="file of the bearer token (not supported yet)")


class Config(Section):
    """The whole configuration; read once, before anything opens, and never changed."""

    source: SourceConfig
    sink: SinkConfig
    store: StoreConfig
    model: ModelConfig = Field(default_factory=ModelConfig)
    reading: ReadingConfig = Field(default_factory=ReadingConfig)
    cadence: Positive | None = Field(
        default=None, description="time between a sensor's readings; null: each sensor's own is learned from its gaps"
    )
    default_cadence: Positive = Field(
        default=Duration.parse("5m"), description="cadence of a sensor while nothing is known of its gaps"
    )
    horizon: Count = Field(default=12, description="how many leads each forecast has")
    late: Literal["drop", "dead_letter", "merge"] = Field(
        default="drop",
        description="what becomes of a reading before its sensor's last: it is counted and dropped (`drop`), put into "
        "the dead letter topic (`dead_letter`), or folded in its place as if it had come in order (`merge`)",
    )
    max_future: Duration | None = Field(
        default=Duration.parse("1h"), description="how far a reading may be ahead of its record's timestamp; null: any"
    )
    registry: RegistryConfig = Field(default_factory=RegistryConfig)
    calendar: CalendarConfig = Field(default_factory=CalendarConfig)
    emit: EmitConfig = Field(default_factory=EmitConfig)
    delivery: Literal["at_least_once", "exactly_once"] = Field(
        default="at_least_once",
        description="`at_least_once`, or `exactly_once`: forecasts and positions in one Kafka transaction",
    )
    commit_interval: Positive = Field(
        default=Duration.parse("500ms"), description="how often forecasts are flushed and the position is committed"
    )
    checkpoint_interval: Positive = Field(
        default=Duration.parse("5s"), description="how often changed states are stored"
    )
    rebuild_from: Since = Field(
        default=EARLIEST,
        description="where states that the store has lost are rebuilt from: `earliest` (the oldest retained record), a "
        "time such as `2026-11-01T00:00:00Z`, or a length of time before the partition's newest record, such as `7d`",
    )
    reset: Literal["earliest", "latest", "fail"] = Field(
        default="earliest",
        description="what becomes of a position that the topic does not hold (retention has overtaken it, or the topic "
        "was truncated or recreated): forecasts go on at the `earliest` or after the `latest` record, or the engine "
        "ends with status 2 (`fail`)",
    )
    broker_timeout: Positive = Field(
        default=Duration.parse("60s"),
        description="how long the broker may be away before the engine stops with status 1",
    )
    stop_timeout: Positive = Field(
        default=Duration.parse("30s"),
        description="how long a stop may take to flush, commit and store, and a revoke to store",
    )
    kafka: KafkaConfig = Field(default_factory=KafkaConfig)
    api: ApiConfig = Field(default_factory=ApiConfig)

    @model_validator(mode="before")
    @classmethod
    def _open_short_forms(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            name: {SHORT_FORMS[name]: part} if name in SHORT_FORMS and isinstance(part, str | SecretUrl) else part
            for name, part in value.items()
        }

    @model_validator(mode="after")
    def _registry_is_there(self) -> "Config":
        formats = {"reading.format": self.reading.format, "sink.format": self.sink.format}
        for key, name in formats.items():
            if name in REGISTERED and self.registry.url is None:
                raise ValueError(
                    f"{key}: {name} needs a schema registry; add one, for example `registry: http://127.0.0.1:8081`"
                )
        return self

    @model_validator(mode="after")
    def _only_what_works(self) -> "Config":
        refused = _not_supported(self)
        if refused is not None:
            raise ValueError(refused)
        return self


def _not_supported(config: Config) -> str | None:
    """The sentence for the first value that the engine cannot honour yet, or None."""
    refused = {
        "emit.at: tick is not supported yet; use reading": config.emit.at == "tick",
        "emit.on_silence: true is not supported yet; use false": config.emit.on_silence,
        "api is not served yet, so its keys would have no effect; remove the section": config.api != ApiConfig(),
    }
    return next((sentence for sentence, is_met in refused.items() if is_met), None)
