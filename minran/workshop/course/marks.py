"""A class: several notebooks at once, each result on the disk as it comes, a file for each student.

Every notebook has a grader in a process of its own. If that ends, its row says so, and the others
go on; if all ends, a second start goes on with the notebooks that have no result yet.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import multiprocessing
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import minran
from minran.errors import DataError, MinranError, RecipeError, expect
from minran.files import append_line, explained, make_folder, write_atomically
from minran.machine import cores
from minran.workshop.course import grade as grading
from minran.workshop.course.grade import printable

Row = dict[str, Any]
"""A `Grade` as plain values, or "file" and "error"."""


def student_of(file: str | Path) -> str:
    """Whose notebook it is, from its name or else that of its folder.

    "ada@uni.org" of ada@uni.org/03_convolution.ipynb, of ada@uni.org_03_convolution.ipynb, of
    ada@uni.org.ipynb, and of nbgrader's ada@uni.org/03_convolution/03_convolution.ipynb;
    "Ada Lovelace_4711" of Moodle's Ada Lovelace_4711_assignsubmission_file/03_convolution.ipynb.
    """
    path = Path(os.path.abspath(file))
    match = re.fullmatch(r"(?:(.+?)_)?\d\d[a-z]?_.*", path.stem)
    folder = path.parents[1 if path.parent.name == path.stem else 0].name
    name = (match[1] or folder) if match else path.stem
    return re.sub(r"_assignsubmission_file_?$", "", name)


def addresses(worksheet: Path) -> dict[str, str]:
    """By the number in "Participant 4711": the e-mail address in Moodle's grading worksheet."""
    with explained(DataError, f"{worksheet} cannot be read: ", kinds=(OSError, UnicodeError)):
        rows = list(csv.reader(worksheet.read_text(encoding="utf-8-sig").splitlines()))
    found = {}
    for row in rows[1:]:
        number = re.search(r"\d+$", row[0]) if row else None
        address = next((one for one in row if "@" in one), "")
        if number and address:
            found[number[0]] = address
    what = "is no grading worksheet of Moodle: no row begins like Participant 4711 and has an "
    expect(bool(found), f"{worksheet} {what}e-mail address", DataError)
    return found


class Marks:
    """The rows of a class and where they are kept.

    out: a folder; grades.jsonl there gets a line for each notebook, feedback/STUDENT/ a text.
    table: a .csv for Moodle, written anew after each row. worksheet: whose e-mail addresses stand
    in its first column. settings: with others, or a changed notebook, a row counts no more.
    """

    def __init__(
        self,
        files: list[str],
        settings: dict[str, Any],
        out: str | None = None,
        table: str | None = None,
        worksheet: str | None = None,
    ) -> None:
        self.files, self.settings = files, settings
        self.out = None if out is None else Path(out)
        self.table = None if table is None else Path(table)
        self.rows: dict[str, Row] = {}
        self._lock = threading.Lock()
        known = addresses(Path(worksheet)) if worksheet is not None else None
        self.students = {file: self._student(file, known) for file in files}
        if self.out is not None or self.table is not None:
            self._expect_one_each()
        if self.out is not None:
            make_folder(self.out / "feedback")
            self._read()

    def grade(self, jobs: int) -> Iterator[Row]:
        """The rows in the order of the files; each is kept as soon as it is there."""
        package = grading.read_package()
        self._write_table()
        with ThreadPoolExecutor(jobs) as pool:
            futures = [
                pool.submit(self._one, file, package, max(1, len(cores()) // jobs))
                for file in self.files
            ]
            try:
                for future in futures:
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()

    def _one(self, file: str, package: frozenset[tuple[str, str]], threads: int) -> Row:
        if file not in self.rows:
            key = self._key(file)
            row = in_own_process(file, package, threads, self.settings)
            with self._lock:
                self._keep(file, row, key)
        return self.rows[file]

    def _keep(self, file: str, row: Row, key: str) -> None:
        self.rows[file] = row
        if self.out is not None:
            line = json.dumps({"student": self.students[file], "key": key, **row})
            append_line(self.out / "grades.jsonl", line, MinranError)
            place = self.out / "feedback" / re.sub(r"^\.+|[/\0]", "_", self.students[file])
            make_folder(place)
            write_atomically(place / f"{Path(file).stem}.txt", feedback(row), MinranError)
        self._write_table()

    def _read(self) -> None:
        """Take the rows that are already there; a line that a crash cut off is left out."""
        record = Path(self.out or "") / "grades.jsonl"
        if not record.exists():
            return
        with explained(DataError, f"{record} cannot be read: "):
            lines = record.read_bytes().split(b"\n")
        keys = {self._key(file): file for file in self.files}
        for line in lines[:-1]:
            with explained(DataError, f"{record} is no record of grades: ", kinds=ValueError):
                row = json.loads(line)
            key = row.pop("key", None)
            row.pop("student", None)
            if key in keys and "error" not in row:
                self.rows[keys[key]] = row
        if lines[-1]:
            write_atomically(record, b"\n".join([*lines[:-1], b""]), MinranError)

    def _key(self, file: str) -> str:
        """What a row depends on: the notebook's path and bytes, the settings, the version."""
        settings = json.dumps([file, self.settings, minran.__version__])
        try:
            content = Path(file).read_bytes() if Path(file).is_file() else b""
        except (OSError, ValueError):
            content = b""
        return hashlib.sha256(settings.encode() + content).hexdigest()

    def _student(self, file: str, known: dict[str, str] | None) -> str:
        name = printable(student_of(file), 100)
        if known is None:
            return name
        number = re.search(r"\d+$", name)
        what = f"--worksheet: it has no participant for {printable(file)}, whose name should hold "
        expect(
            number is not None and number[0] in known,
            f"{what}the number as in Ada_4711_assignsubmission_file",
            RecipeError,
        )
        return known[number[0]] if number else name

    def _expect_one_each(self) -> None:
        found: dict[tuple[str, str], str] = {}
        for file in self.files:
            try:
                number, _ = grading.read_cells(Path(file), self.settings["number"])
            except (MinranError, OSError, ValueError):
                number = Path(file).stem
            other = found.setdefault((self.students[file], number), file)
            twice = f"{self.students[file]} handed in notebook {printable(number)} twice: {other} "
            expect(other == file, f"{twice}and {file}; leave one out", RecipeError)

    def _write_table(self) -> None:
        """A row for each student: who, a column for each task, the sum, what to say."""
        if self.table is None:
            return
        rows = self.rows.values()
        tasks = sorted({task["task"] for row in rows for task in row.get("tasks", ())})
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["Student", *(f"Task {name}" for name in tasks), "Points", "Feedback"])
        for student in dict.fromkeys(self.students.values()):
            mine = [row for file, row in self.rows.items() if self.students[file] == student]
            got = {one["task"]: one["points"] for row in mine for one in row.get("tasks", ())}
            told = "\n".join(map(feedback, mine))
            points = sum(got.values()) if got else NO_GRADE
            marks = [got.get(name, NO_GRADE) for name in tasks]
            table.writerow([no_formula(student), *marks, points, no_formula(told)])
        write_atomically(self.table, text.getvalue(), MinranError)


NO_GRADE = "-"
"""Moodle's word for a mark that is not there."""


def no_formula(text: str) -> str:
    """A text that a spreadsheet would take for a formula gets a quotation mark before it."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def feedback(row: Row) -> str:
    """What a student reads about a notebook: each task, its verdict, where it differs, a hint."""
    if "error" in row:
        return f"This notebook cannot be graded: {row['error']}\n"
    lines = [f"Notebook {row['notebook']}: {row['points']} of {row['worth']} points"]
    for task in row["tasks"]:
        lines += ["", f"Task {task['task']}: {task['sentence']}"]
        lines.append(f"  {task['status']} ({task['points']} of {task['worth']})")
        if task["status"] != "passed":
            parts = ("", task["message"]), ("where: ", task["where"]), ("hint: ", task["hint"])
            lines += [f"  {label}{text}" for label, text in parts if text]
    return "\n".join(lines) + "\n"


def as_text(row: Row) -> str:
    """What the teacher reads."""
    if "error" in row:
        return f"{printable(row['file'])}\n  cannot be graded: {row['error']}"
    tasks = [grading.TaskGrade(**task) for task in row["tasks"]]
    return str(grading.Grade(**{**row, "tasks": tasks}))


# --- a grader of its own


def in_own_process(
    file: str, package: frozenset[tuple[str, str]], threads: int, settings: dict[str, Any]
) -> Row:
    """The row of one notebook from a grader that may end badly; it gets so many threads."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, context, _begin, (threads,)) as pool:
            return pool.submit(grade_row, file, package, settings).result()
    except (BrokenProcessPool, OSError):
        return error_row(file, "its grader ended without a word")


def _begin(threads: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for name in ("OPENBLAS_NUM_THREADS", "MINRAN_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))  # for the student's process


def _end_with_parent() -> None:
    """When the command is killed, its graders end, and with them what they started."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def grade_row(file: str, package: frozenset[tuple[str, str]], settings: dict[str, Any]) -> Row:
    """The row of one notebook; one that is odd must not lose those of a class."""
    try:
        return grading.grade(file, package=package, **settings).as_dict()
    except Exception as error:
        kind = "" if isinstance(error, MinranError) else f"{type(error).__name__}: "
        return error_row(file, f"{kind}{error}")


def error_row(file: str, words: str) -> Row:
    """The row of a notebook that cannot be graded."""
    return {"file": file, "error": printable(words)}
