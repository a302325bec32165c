"""One frozen configuration tree from file, environment and flags, checked before anything opens.

I know nothing of what is done with it.
"""

from stream_engine.config.condition import Condition
from stream_engine.config.countries import NO_COUNTRY, check_country
from stream_engine.config.durations import Duration
from stream_engine.config.load import load_config
from stream_engine.config.secrets import SecretText, SecretUrl
from stream_engine.config.show import print_config
from stream_engine.config.since import EARLIEST, Since
from stream_engine.config.tree import (
    ApiConfig,
    CalendarConfig,
    Config,
    EmitConfig,
    KafkaConfig,
    ModelConfig,
    ReadingConfig,
    RegistryConfig,
    SinkConfig,
    SourceConfig,
    StoreConfig,
)

__all__ = [
    "EARLIEST",
    "NO_COUNTRY",
    "ApiConfig",
    "CalendarConfig",
    "Condition",
    "Config",
    "Duration",
    "EmitConfig",
    "KafkaConfig",
    "ModelConfig",
    "ReadingConfig",
    "RegistryConfig",
    "SecretText",
    "SecretUrl",
    "Since",
    "SinkConfig",
    "SourceConfig",
    "StoreConfig",
    "check_country",
    "load_config",
    "print_config",
]
