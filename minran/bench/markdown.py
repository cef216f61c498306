"""`python -m minran.bench.markdown FILE ...`: results as the tables of docs/speed.md."""

import sys

from minran.workshop.bench.report import print_markdown

if __name__ == "__main__":
    print_markdown(sys.argv[1:])
