"""The course: what its notebooks use, and what makes copies, slides and exams, and grades.

Notebooks import from `minran.course`. Read `checking` and one file of `checks`, then `copies`;
then grading: `marks`, `grade` and `process` on the grader's side, `wire` and `wall` between,
`child` on the student's. `exam` and `slides` are a lecturer's. The other files are what single
notebooks use.
"""
