"""One program, `stream-engine`: commands, and every failure as one clear sentence.

Exit status 2: it can never work as written (usage, configuration, missing topic, foreign model);
1: a server is unavailable, at the start or later; 0: done, also after SIGTERM.
"""

import sys
from contextlib import nullcontext

from stream_engine.stopping import ending_at_once


def main() -> int:
    """Run the program; returns its exit status."""
    with ending_at_once() if sys.argv[1:2] == ["run"] else nullcontext():
        from stream_engine.cli.program import run_program  # takes seconds

        return run_program()


__all__ = ["main"]
