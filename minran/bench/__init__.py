"""A door to `minran.workshop.bench`: `python -m minran.bench` measures, as `minran bench` does."""

from minran.workshop.bench.command import add_arguments, main, run

__all__ = ["add_arguments", "main", "run"]
