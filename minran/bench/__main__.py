"""`python -m minran.bench`: the same as `minran bench`."""

import sys

from minran.workshop.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
