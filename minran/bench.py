"""A door to `minran.workshop.bench`: `python -m minran.bench` measures, as `minran bench` does."""

from __future__ import annotations

import sys

from minran.workshop.bench import add_arguments, run
from minran.workshop.bench.command import main

__all__ = ["add_arguments", "main", "run"]

if __name__ == "__main__":
    sys.exit(main())
