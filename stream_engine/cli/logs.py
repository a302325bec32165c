"""Where log lines go and how they look; only commands choose that."""

import logging
import sys
import time

OWN = ("stream_engine", "connectors", "recurrent_core")


def log_to_stderr(level: int) -> None:
    """One line an event, with UTC time, on standard error; the clients' own chatter only from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in OWN:
        logging.getLogger(name).setLevel(level)
