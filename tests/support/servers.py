"""Real servers for tests and for a look by hand: one Apache Kafka broker and one Redis on loopback.

    python -m tests.support.servers up --help

I know nothing of the engine but its example configuration.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from tests.support.kafka_server import KAFKA_VERSION, KafkaServer
from tests.support.processes import ServerStartError
from tests.support.redis_server import RedisServer
from tests.support.topics import create_topic
from tests.support.waiting import poll_for

__all__ = ["KafkaServer", "RedisServer", "ServerStartError", "main", "poll_for"]

_DESCRIPTION = f"""Start a real Apache Kafka {KAFKA_VERSION} and a real Redis on this machine until Ctrl-C.

Kafka is fetched once by its Maven coordinates into .servers/ (needs java 17+ and mvn); redis-server is taken from
the PATH, or installed by apt-get where this runs as root. Both listen on 127.0.0.1 only, keep their data in a
temporary folder and leave nothing behind."""

_EXAMPLES = """examples:
  python -m tests.support.servers up
      on the usual ports, with the topic `readings` in 4 partitions; then, in another terminal:
      stream-engine run -c engine.yaml
  python -m tests.support.servers up --kafka-port 0 --redis-port 0
      on free ports; the addresses are printed
  python -m tests.support.servers up --topic readings:8 --topic other:1
"""


def _example(kafka: KafkaServer, redis: RedisServer) -> str:
    return f"""Kafka  {kafka.servers}
Redis  {redis.url}

engine.yaml:

source: kafka://{kafka.servers}/readings?group=forecaster
sink: kafka://{kafka.servers}/forecasts
store: {redis.url}
model: default

Ctrl-C ends both servers and removes their data."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.support.servers", description="Real servers, on loopback.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser(
        "up",
        help="start Kafka and Redis and run until Ctrl-C",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    up.add_argument("--kafka-port", type=int, default=9092, metavar="N", help="0 takes a free one (default: 9092)")
    up.add_argument("--redis-port", type=int, default=6379, metavar="N", help="0 takes a free one (default: 6379)")
    up.add_argument(
        "--topic",
        action="append",
        metavar="NAME[:PARTITIONS]",
        help="create this topic; may be given again (default: readings:4)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 after Ctrl-C or SIGTERM, 1 if a server does not start."""
    asked = _parser().parse_args(arguments)
    topics = [_topic(text) for text in asked.topic or ["readings:4"]]
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    kafka, redis = KafkaServer(asked.kafka_port or None), RedisServer(asked.redis_port or None)
    try:
        redis.start()
        kafka.start()
        for name, num_partitions in topics:
            create_topic(kafka.servers, name, num_partitions)
        print(_example(kafka, redis), flush=True)
        while not ended.wait(1.0) and kafka.is_running and redis.is_running:
            pass
    except (ServerStartError, AssertionError) as error:
        print(f"servers: {error}", file=sys.stderr)
        return 1
    finally:
        kafka.close()
        redis.close()
    return 0 if ended.is_set() else 1


def _topic(text: str) -> tuple[str, int]:
    name, _, count = text.partition(":")
    return name, int(count or 1)


if __name__ == "__main__":
    sys.exit(main())
