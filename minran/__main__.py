"""`python -m minran` is the command `minran`."""

import sys

from minran.cli import main

sys.exit(main())
