"""One program, `stream-engine`: commands, and every failure as one clear sentence.

Exit status 2: it can never work as written (usage, configuration, missing topic, foreign model);
1: a server is unavailable, at the start or later; 0: done, also after SIGTERM.
"""


def main() -> int:
    """Run the program; returns its exit status."""
    from stream_engine.cli.program import run_program

    return run_program()


__all__ = ["main"]
