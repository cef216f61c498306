"""`python -m minran.bench`: the same as `minran bench`, with nothing of the command line loaded.

Needs NumPy alone, and for `--device gpu` CuPy.
"""

from __future__ import annotations

import sys

from minran.arguments import Parser
from minran.errors import MinranError
from minran.workshop.bench import add_arguments, run


def main() -> int:
    """Read the command line and measure."""
    parser = Parser(prog="python -m minran.bench", description=__doc__)
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except MinranError as error:
        print(f"minran.bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minran.bench: interrupted", file=sys.stderr)
        return 130
