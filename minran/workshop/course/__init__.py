"""The course: what its notebooks use, and what makes copies of them and grades them.

Notebooks import from `minran.course`. Read `checking` and one file of `checks`, then `copies`;
then grading: `grade` and `process` on the grader's side, `wire` and `wall` between, `child`
on the student's. The other files are what single notebooks use.
"""
