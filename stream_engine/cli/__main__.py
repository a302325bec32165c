"""`python -m stream_engine.cli` is `stream-engine`."""

import sys

from stream_engine.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
