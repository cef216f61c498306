"""The version of the package and the address of its code, in one place."""

__version__ = "0.1.0"

REPOSITORY = ""
"""Where the code can be had: its address on GitHub; empty until that is settled.

Badges and lines that install from there are made from it, and left out while it is empty.
"""
