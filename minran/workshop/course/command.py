"""course: list, build, grade."""

from __future__ import annotations

import argparse
import json
from typing import Any

from minran.cli.shared import add_command


def add_commands(commands: Any) -> None:
    """The commands for learners and teachers, under `minran course`."""
    parser = add_command(
        commands,
        "course",
        lambda args: 0,
        "list, build and grade the notebooks of the course",
        "  minran course list\n"
        "  minran course build --out course-copies\n"
        "  minran course grade 03_convolution.ipynb",
    )
    parts = parser.add_subparsers(title="parts", metavar="PART", required=True)

    parser = add_command(
        parts,
        "list",
        list_notebooks,
        "list the notebooks with their minutes and tasks",
        "  minran course list",
    )
    _add_folder(parser)

    parser = add_command(
        parts,
        "build",
        build,
        "make .ipynb files from the sources: pairs, and copies for students and teachers",
        "  minran course build --pair                 # NN_name.ipynb beside each source\n"
        "  minran course build --pair --check         # has any pair drifted from its source?\n"
        "  minran course build --out course-copies    # student/, solution/, teacher/",
    )
    parser.add_argument("--pair", action="store_true", help="write the .ipynb beside each source")
    parser.add_argument("--out", metavar="FOLDER", help="write student, solution, teacher copies")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit status 1 if a pair has drifted"
    )
    _add_folder(parser)

    parser = add_command(
        parts,
        "grade",
        grade,
        "run notebooks behind walls and say for every task: passed, or what differed and where",
        "  minran course grade 03_convolution.ipynb\n"
        "  minran course grade handed-in/*.ipynb --source notebooks --json > grades.json",
    )
    parser.add_argument("files", nargs="+", metavar="NOTEBOOK", help="notebooks to grade")
    parser.add_argument(
        "--timeout", type=float, default=600, metavar="SECONDS", help="for a notebook (600)"
    )
    parser.add_argument(
        "--cell-timeout", type=float, default=120, metavar="SECONDS", help="for one cell (120)"
    )
    parser.add_argument(
        "--memory", type=float, default=4, metavar="GB", help="for a notebook's processes (4)"
    )
    parser.add_argument(
        "--notebook", type=int, metavar="NN", help="which notebook it is, whatever the file says"
    )
    parser.add_argument(
        "--source", metavar="FOLDER", help="take the points from these source notebooks"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--notebooks", default="notebooks", metavar="FOLDER", help="the sources (notebooks)"
    )


def list_notebooks(args: argparse.Namespace) -> int:
    """Print a line for each notebook."""
    from minran.workshop.course.notebook import notebook_files, read_notebook

    found = [read_notebook(file) for file in notebook_files(args.notebooks)]
    width = max(len(one.title) for one in found)
    for one in found:
        tasks = f"{len(one.tasks)} {'task' if len(one.tasks) == 1 else 'tasks'}"
        print(
            f"{one.number:02}  {one.title:{width}}  {one.minutes:3.0f} min  {tasks:8} "
            f"runs in {one.seconds:.0f} s"
        )
    minutes, seconds = (sum(getattr(one, key) for one in found) for key in ("minutes", "seconds"))
    print(
        f"{len(found)} notebooks, {minutes / 60:.1f} hours, all run in {seconds / 60:.1f} minutes"
    )
    return 0


def build(args: argparse.Namespace) -> int:
    """Write copies, or with --check say which pairs have drifted."""
    from minran.errors import RecipeError, expect
    from minran.workshop.course.build import build_copies, build_pairs, drifted_pairs

    expect(
        args.pair or args.out is not None or args.check,
        "say what to build: --pair, --out FOLDER, or --check",
        RecipeError,
    )
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


def grade(args: argparse.Namespace) -> int:
    """Print how every task stands, as it comes; the exit status is 1 unless all are passed."""
    from minran.workshop.course.grade import printable

    points = worth = failures = 0
    if args.json:
        print("[", end="")
    try:
        for count, file in enumerate(args.files):
            row, text = _grade_one(args, file)
            points, worth = points + row.get("points", 0), worth + row.get("worth", 0)
            failures += "error" in row
            if args.json:
                print(f"{',' if count else ''}\n{json.dumps(row, indent=1)}", end="", flush=True)
            else:
                print(text or f"{printable(file)}\n  cannot be graded: {row['error']}", flush=True)
    finally:
        if args.json:
            print("\n]", flush=True)
    if not args.json and len(args.files) > 1:
        print(f"{len(args.files) - failures} notebooks: {points} of {worth} points")
    return 0 if points == worth and not failures else 1


def _grade_one(args: argparse.Namespace, file: str) -> tuple[dict[str, Any], str]:
    """The row and the text of one notebook; one that is odd must not lose those of a class."""
    from minran.errors import MinranError
    from minran.workshop.course.grade import grade as run_and_judge
    from minran.workshop.course.grade import printable

    try:
        one = run_and_judge(
            file, args.timeout, args.cell_timeout, args.source, args.memory, args.notebook
        )
        return one.as_dict(), str(one)
    except MinranError as error:
        return {"file": file, "error": printable(str(error))}, ""
    except Exception as error:
        return {"file": file, "error": printable(f"{type(error).__name__}: {error}")}, ""
