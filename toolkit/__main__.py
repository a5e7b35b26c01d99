"""``python -m toolkit``: the same as the command ``asr``."""

import sys

from toolkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
