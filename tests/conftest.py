"""Makes the fixtures of `tests/support/fixtures.py` known to every test; tells what rules of attention kept."""

import pytest

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
from tests.support.promises import LIST, told

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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The promises of the rules of attention, rule by rule, where they were looked at."""
    names = {
        outcome: [report.nodeid for report in terminalreporter.getreports(outcome) if LIST in report.nodeid]
        for outcome in ("passed", "failed")
    }
    if any(names.values()):
        terminalreporter.section("promises of the rules of attention")
        for line in told(names["passed"], names["failed"]):
            terminalreporter.line(line)
