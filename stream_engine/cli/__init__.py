"""One program, `stream-engine`: commands, and every failure as one clear sentence.

Exit status 2: it can never work as written (usage, configuration, missing topic, foreign model);
1: a server is unavailable, at the start or later; 0: done, also after SIGTERM.
"""

from stream_engine.cli.program import main

__all__ = ["main"]
