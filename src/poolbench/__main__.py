"""`python -m poolbench` is the command `poolbench`."""

import sys

from poolbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
