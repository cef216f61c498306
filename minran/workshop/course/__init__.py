"""The course: what its notebooks use, and what makes copies of them and grades them.

Notebooks import from `minran.course`. Read `checking`, `outcome`, then `notebook`, `build`, `run`;
then grading: `submission`, `grade`, `process` and `wire` on the grader's side, `start` and `wall`
between, `child` on the student's. The checks themselves are in `checks`.
"""
