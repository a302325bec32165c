"""Makes the fixtures of `tests/support/fixtures.py` known to every test."""

from tests.support.fixtures import (
    _killable_kafka,
    kafka_servers,
    new_name,
    new_topic,
    no_leaks,
    own_kafka,
    own_redis,
    redis_url,
    secure,
)

__all__ = [
    "_killable_kafka",
    "kafka_servers",
    "new_name",
    "new_topic",
    "no_leaks",
    "own_kafka",
    "own_redis",
    "redis_url",
    "secure",
]
