"""The course: what its notebooks use, and what makes copies of them and grades them.

A notebook imports `check`, `show_source`, `frames` and `explore` from here. Read `checking`,
`outcome`, then `notebook`, `build`, `run`; then grading: `submission`, `grade`, `process` and
`wire` on the grader's side, `start` and `wall` between, `child` on the student's. The checks
themselves are in `checks`.
"""

from minran.workshop.course.checking import (
    Wrong,
    compare,
    compare_gradients,
    expect_function,
    unpack,
)
from minran.workshop.course.outcome import check
from minran.workshop.course.show import explore, frames, show_source

__all__ = [
    "Wrong",
    "check",
    "compare",
    "compare_gradients",
    "expect_function",
    "explore",
    "frames",
    "show_source",
    "unpack",
]
