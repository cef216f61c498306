"""`python -m minran.bench.markdown FILE ...`: results as the tables of docs/speed.md."""

import sys

from minran.workshop.bench.markdown import main

if __name__ == "__main__":
    main(sys.argv[1:])
