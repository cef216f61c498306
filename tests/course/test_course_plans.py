"""The teacher's plans fit the notebooks' minutes, and the exams what was taught before them."""

from __future__ import annotations

import re

import pytest
from course_helpers import FILES, ROOT

from minran.workshop.course.copies import Notebook, read_notebook
from minran.workshop.course.exam import QUESTIONS

TEACH = ROOT / "docs" / "teach"
MOST_A_WEEK = 240


@pytest.fixture(scope="module")
def notebooks() -> dict[str, Notebook]:
    return {one.number: one for one in map(read_notebook, FILES)}


def tables(page: str) -> dict[str, list[list[str]]]:
    """The rows of each table of a page, by the first word of its head."""
    found: dict[str, list[list[str]]] = {}
    text = (TEACH / page).read_text("utf-8")
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.M):
        head, _, *rows = [[cell.strip() for cell in line.strip("| ").split(" | ")]
                          for line in table.splitlines()]  # fmt: skip
        found[head[0]] = rows
    return found


def numbers(cell: str) -> list[str]:
    return re.findall(r"\b\d\d[a-z]?\b", cell)


def test_twelve_weeks(notebooks: dict[str, Notebook]) -> None:
    weeks = tables("plans.md")["week"]
    assert [row[0] for row in weeks] == [str(week) for week in range(1, 13)]
    assert [one for row in weeks for one in numbers(row[2])] == list(notebooks)
    for week, _, given, minutes, handed_in in weeks:
        total = sum(notebooks[one].minutes for one in numbers(given))
        assert int(minutes) == total, f"week {week}: its notebooks say {total:.0f} minutes"
        assert total <= MOST_A_WEEK
        assert set(numbers(handed_in)) <= set(numbers(given))
        assert all(notebooks[one].tasks for one in numbers(handed_in))


def test_two_days(notebooks: dict[str, Notebook]) -> None:
    rows = tables("plans.md")["day"]
    end = {"1": 0, "2": 0}
    for day, begins, minutes, given, _ in rows:
        hour, minute = map(int, begins.split(":"))
        begin = 60 * hour + minute
        assert begin >= end[day], f"{begins} of day {day}: the part before is not over"
        end[day] = begin + int(minutes)
        needed = sum(notebooks[one].minutes for one in numbers(given))
        assert given.startswith("part of") or int(minutes) >= needed, given
    for day in end:
        assert 300 <= sum(int(row[2]) for row in rows if row[0] == day) <= 390
    text = (TEACH / "plans.md").read_text("utf-8")
    left_out = re.search(r"Left out: (.*?)\.\s+Install", text, re.S).group(1)
    left_out = re.sub(r"\(.*?\)", "", left_out, flags=re.S)
    every = list(notebooks)
    missing = numbers(left_out)
    for first, last in re.findall(r"(\d\d) to (\d\d)", left_out):
        missing += every[every.index(first) : every.index(last) + 1]
    assert {*missing} == {*every} - {one for row in rows for one in numbers(row[3])}


def test_the_exams_ask_for_what_was_taught(notebooks: dict[str, Notebook]) -> None:
    needs = {row[0].strip("`"): numbers(row[2]) for row in tables("exam.md")["question"]}
    assert list(needs) == list(QUESTIONS)
    assert {one for given in needs.values() for one in given} <= set(notebooks)
    text = " ".join((TEACH / "exam.md").read_text("utf-8").split())
    (test, minutes, asked), (_, whole, last) = re.findall(
        r"\*\*The (written test|exam)\*\*.*?; (\d+) minutes: `minran.*?--questions (\S+)`", text
    )
    assert test == "written test"
    weeks = tables("plans.md")["week"]
    place = next(k for k, row in enumerate(weeks) if "**written test**" in row[1])
    before = {one for row in weeks[:place] for one in numbers(row[2])}
    for name in asked.split(","):
        assert set(needs[name]) <= before, f"{name} needs {needs[name]}"
    # ten minutes a question, as the page says; four more have reasons
    assert 10 * len(asked.split(",")) <= int(minutes) <= 90
    assert 10 * (len(last.split(",")) + 4) <= int(whole)
    assert {*asked.split(","), *last.split(",")} == set(QUESTIONS)


def test_every_objective_is_shown_by_tasks(notebooks: dict[str, Notebook]) -> None:
    rows = tables("objectives.md")["notebook"]
    assert [row[0].split()[0] for row in rows] == list(notebooks)
    for name, _, shown in rows:
        tasks = [task.name for task in notebooks[name.split()[0]].tasks]
        assert shown == f"{tasks[0]}-{tasks[-1]}"
