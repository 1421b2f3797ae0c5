"""``python -m sseproxy`` is the same as ``sseproxy``."""

import sys

from sseproxy.cli import main

if __name__ == "__main__":
    sys.exit(main())
