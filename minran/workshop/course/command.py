"""course: list, build, grade, exam, slides."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from minran.arguments import add_command
from minran.cli.shared import Commands
from minran.errors import RecipeError, expect
from minran.files import expect_writable, make_folder, write_atomically

NOTEBOOKS = "--notebooks", "the sources (notebooks)", {"default": "notebooks", "metavar": "FOLDER"}
SECONDS, NUMBER = {"type": float, "metavar": "SECONDS"}, {"metavar": "NN"}
MEMORY, FOLDER = {"type": float, "default": 4, "metavar": "GB"}, {"metavar": "FOLDER"}
parts = Commands()


def add_commands(commands: Any) -> None:
    """The commands for learners and teachers, under `minran course`."""
    parser = add_command(commands, course)
    parts.add(parser.add_subparsers(title="parts", metavar="PART", required=True))


def course(args: argparse.Namespace) -> None:
    """List, build and grade the notebooks of the course; write exams and slides.

    minran course list
    minran course build --out course-copies
    minran course grade 03_convolution.ipynb
    minran course exam --seed 3
    """


@parts(NOTEBOOKS, name="list")
def list_notebooks(args: argparse.Namespace) -> int:
    """List the notebooks with their minutes and tasks.

    minran course list
    """
    from minran.workshop.course.copies import notebook_files, read_notebook

    found = [read_notebook(file) for file in notebook_files(args.notebooks)]
    width = max(len(one.title) for one in found)
    for one in found:
        tasks = f"{len(one.tasks)} {'task' if len(one.tasks) == 1 else 'tasks'}"
        print(
            f"{one.number:3}  {one.title:{width}}  {one.minutes:3.0f} min  {tasks:8} "
            f"runs in {one.seconds:.0f} s"
        )
    hours, minutes = (
        sum(getattr(one, key) for one in found) / 60 for key in ("minutes", "seconds")
    )
    print(f"{len(found)} notebooks, {hours:.1f} hours, all run in {minutes:.1f} minutes")
    return 0


@parts(
    ("--pair", "write the .ipynb next to each source", False),
    ("--out", "write student, solution, teacher copies", FOLDER),
    ("--check", "write nothing; exit status 1 if a pair has drifted", False),
    NOTEBOOKS,
)
def build(args: argparse.Namespace) -> int:
    """Make .ipynb files from the sources: pairs, and copies for students and teachers.

    minran course build --pair                 # NN_name.ipynb next to each source
    minran course build --pair --check         # has any pair drifted from its source?
    minran course build --out course-copies    # student/, solution/, teacher/
    """
    from minran.workshop.course.copies import build_copies, build_pairs, drifted_pairs

    what = "say what to build: --pair, --out FOLDER, or --check"
    expect(args.pair or args.out is not None or args.check, what, RecipeError)
    expect(not (args.check and args.out), "--check writes nothing; leave out --out", RecipeError)
    if args.check:
        drifted = drifted_pairs(args.notebooks)
        for name in drifted:
            print(f"{name} differs from its source")
        print("run `minran course build --pair`" if drifted else "all pairs agree")
        return 1 if drifted else 0
    written = build_pairs(args.notebooks) if args.pair else []
    if args.out is not None:
        written += build_copies(args.notebooks, args.out)
    for file in written:
        print(file)
    if not written:
        print("all pairs were up to date")
    return 0


@parts(
    ("files", "notebooks to grade", {"nargs": "+", "metavar": "NOTEBOOK"}),
    ("--timeout", "for a notebook (600)", {**SECONDS, "default": 600}),
    ("--cell-timeout", "for one cell (120)", {**SECONDS, "default": 120}),
    ("--memory", "for a notebook's processes (4)", MEMORY),
    ("--notebook", "which notebook it is, whatever the file says", NUMBER),
    ("--source", "take the points from these source notebooks", FOLDER),
    ("--jobs", "so many notebooks at once (1)", 1),
    ("--out", "keep grades as they come and a feedback file each; go on there", FOLDER),
    ("--csv", "a table for Moodle, written anew after each notebook", {"metavar": "FILE"}),
    ("--worksheet", "Moodle's grading worksheet, for e-mail addresses", {"metavar": "FILE"}),
    ("--json", "print JSON", False),
)
def grade(args: argparse.Namespace) -> int:
    """Run notebooks within walls and say for every task: passed, or what differed and where.

    minran course grade 03_convolution.ipynb
    minran course grade handed-in/*.ipynb --source notebooks --json > grades.json
    minran course grade handed-in/*/*.ipynb --jobs 2 --out marks --csv marks.csv
    """
    from minran.workshop.course.marks import Marks, as_text

    number = args.notebook
    told = number is None or re.fullmatch(r"\d|\d\d[a-z]?", number) is not None
    named = f"--notebook: a notebook's number is like 03 or 00b, got {number!r:.99}"
    expect(told, named, RecipeError)
    jobs = f"--jobs: how many notebooks at once, 1 to 64, got {args.jobs}"
    expect(1 <= args.jobs <= 64, jobs, RecipeError)
    alone = "--worksheet says who stands in the table: give --csv or --out, too"
    expect(args.worksheet is None or args.csv or args.out, alone, RecipeError)
    if args.csv is not None:
        expect_writable(args.csv, (".csv",), "--csv")
    settings = {
        "timeout": args.timeout,
        "cell_timeout": args.cell_timeout,
        "source": args.source,
        "memory": args.memory,
        "number": number,
    }
    marks = Marks(args.files, settings, args.out, args.csv, args.worksheet)
    points = worth = failures = 0
    comma = ""
    if args.json:
        print("[", end="")
    try:
        for row in marks.grade(args.jobs):
            points, worth = points + row.get("points", 0), worth + row.get("worth", 0)
            failures += "error" in row
            text = f"{comma}\n{json.dumps(row, indent=1)}" if args.json else as_text(row)
            comma = ","
            print(text, end="" if args.json else "\n", flush=True)
    finally:
        if args.json:
            print("\n]", flush=True)
    if not args.json and len(args.files) > 1:
        print(f"{len(args.files) - failures} notebooks: {points} of {worth} points")
    return 0 if points == worth and not failures else 1


@parts(
    ("--seed", "which variant (0)", 0),
    ("--questions", "such as gate,norm,mask (all)", {"metavar": "NAMES"}),
    ("--out", "where to write it (exam)", {"default": "exam", "metavar": "FOLDER"}),
)
def exam(args: argparse.Namespace) -> int:
    """Write an exam with numbers of its own, and its solutions, as Markdown and as pages to print.

    minran course exam --seed 3
    minran course exam --seed 3 --questions sizes,unit,gate --out exam
    """
    from minran.workshop.course import exam as exams

    expect(args.seed >= 0, f"--seed must be at least 0, got {args.seed}", RecipeError)
    questions = None if args.questions is None else args.questions.split(",")
    asked, solved = exams.exam(args.seed, questions)
    out = Path(args.out)
    make_folder(out)
    for name, text in (("exam", asked), ("solutions", solved)):
        for ending, content in (("md", text), ("html", exams.as_html(text))):
            file = out / f"{name}-{args.seed}.{ending}"
            write_atomically(file, content, RecipeError)
            print(file)
    return 0


@parts(
    ("--week", "which of the twelve (all)", {"type": int, "metavar": "N"}),
    ("--pdf", "print them, too, with Chromium", False),
    ("--out", "where to write them (slides)", {"default": "slides", "metavar": "FOLDER"}),
    NOTEBOOKS,
)
def slides(args: argparse.Namespace) -> int:
    """Run the notebooks and make slides of their equations and figures, a set for each week.

    minran course slides --week 7
    minran course slides --pdf --out slides
    """
    from minran.workshop.course.slides import SETS, print_pdf, write_slides

    weeks = range(1, len(SETS) + 1)
    what = f"--week: there are weeks 1 to {len(SETS)}, got {args.week}"
    expect(args.week is None or args.week in weeks, what, RecipeError)
    for week in weeks if args.week is None else [args.week]:
        page = write_slides(week, args.notebooks, args.out)
        print(page, flush=True)
        if args.pdf:
            print(print_pdf(page), flush=True)
    return 0
