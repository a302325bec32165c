"""What the parent of the programs under test has loaded before it forks: all that takes seconds, and no thread."""

import stream_engine.cli.program  # noqa: F401
from connectors.kafka import transactions  # noqa: F401
from connectors.librdkafka import transactions as more_transactions  # noqa: F401
from connectors.redis import store  # noqa: F401
from recurrent_core.weights import load_model
from stream_engine import worker  # noqa: F401

load_model("default")
