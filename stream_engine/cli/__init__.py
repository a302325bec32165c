"""One program, `stream-engine`: commands, and every failure as one clear sentence.

Exit status 2: it can never work as written (usage, configuration, missing topic, foreign model);
1: a server is unavailable, at the start or later; 0: done, also after SIGTERM.
"""

import signal
import sys


def main() -> int:
    """Run the program; returns its exit status."""
    if sys.argv[1:2] == ["run"]:  # a stop asked for while the libraries load (seconds) is a clean stop too
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    from stream_engine.cli.program import run_program

    return run_program()


__all__ = ["main"]
