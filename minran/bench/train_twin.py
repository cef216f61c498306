"""`python -m minran.bench.train_twin`: train the PyTorch twin by one of minran's recipes."""

import sys

from minran.workshop.bench.train_twin import main

if __name__ == "__main__":
    sys.exit(main())
