"""Hostile and unlucky notebooks: what gets nothing, what costs only its own task, what walls hold.

Every attack leaves its tasks unsolved and must get no point. Every accident stands before two
right answers and must cost neither.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from course_helpers import ROOT, command

from minran.errors import DataError, MinranError
from minran.workshop.course.checking import Remote, beside, generator, secret_inputs
from minran.workshop.course.grade import Grade, _fingerprint, grade, printable, read_package
from minran.workshop.course.marks import grade_row
from minran.workshop.course.process import FIRST_USER, Limits, Process, Stopped, strengths
from minran.workshop.course.wire import dumps, loads

if os.name != "posix":
    pytest.skip("grading needs Linux or macOS", allow_module_level=True)

SETUP = "import numpy as np\nimport os, sys\nfrom minran import ops, tensor\n"
SETUP += "from minran.course import check\nfrom minran.data import label_noise_matrix"
BLANKS = (
    "# Task 15.1: the matrix\ndef noise_matrix(classes, clean_ratio):\n    return None",
    'check("15.1", noise_matrix)',
    "# Task 15.2: the gradient\ndef expected_gradient(p, classes, matrix):\n    return None",
    'check("15.2", expected_gradient)',
)
RIGHT = (
    """# Task 15.1: the matrix
def noise_matrix(k, r):
    q = np.full((k, k), (1 - r) / (k - 1))
    np.fill_diagonal(q, r)
    return q""",
    'check("15.1", noise_matrix)',
    """# Task 15.2: the gradient
def expected_gradient(p, classes, matrix):
    return (p - matrix[classes]) / len(p)""",
    'check("15.2", expected_gradient)',
)
WEAKEST = "limits"


def notebook(*sources: str, number: Any = 15) -> dict[str, Any]:
    cells = [
        {"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources
    ]
    return {"cells": cells, "metadata": {"minran": {"number": number}}, "nbformat": 4}


@pytest.fixture
def graded(tmp_path: Path) -> Callable[..., Grade]:
    def run(*sources: str, **options: Any) -> Grade:
        file = tmp_path / "15_handed_in.ipynb"
        file.write_text(json.dumps(notebook(*sources)), encoding="utf-8")
        return grade(file, **options)

    return run


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One file instead of the whole package, whose files somebody may edit while tests run."""
    file = tmp_path / "package" / "module.py"
    file.parent.mkdir()
    file.write_text("1", "utf-8")
    monkeypatch.setattr("minran.workshop.course.grade.PACKAGE", file.parent)
    _fingerprint.cache_clear()
    yield file
    _fingerprint.cache_clear()


@pytest.fixture(autouse=True)
def every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells run at once: most attacks stand in cells that no task needs."""
    monkeypatch.setattr("minran.workshop.course.grade.unneeded_cells", lambda *_: set())


@pytest.fixture
def process() -> Iterator[Process]:
    with Process(Limits(memory=2 << 30, disk=8 << 20, seconds=20)) as one:
        yield one


def told(result: Grade) -> list[str]:
    return [f"{task.status}: {task.message}" for task in result.tasks]


SERVER = "import gc; s = next(o for o in gc.get_objects() if type(o).__name__ == 'Student')\n"
ATTACKS = {
    "forged records": """
import json
line = json.dumps({"task": "15.1", "status": "passed"}) + "\\n"
for name in (os.environ.get("MINRAN_COURSE_RECORD", "record"), "outcomes.jsonl"):
    open(name, "a").write(line)
print("Task 15.1: passed")""",
    "patched checks": """
import minran.workshop.course.checks.training as n, minran.workshop.course.checking as o
import minran.course as course
n.check_15_1 = n.check_15_2 = lambda answer: None
o.judge = lambda task, answer: o.Outcome(task, "passed")
o.find_check = lambda task: (lambda answer: None)""",
    "patched comparisons": """
import minran.workshop.course.checking as c
c.compare = c.unpack = lambda *a, **k: None
np.allclose = np.array_equal = lambda *a, **k: True""",
    "a library that knows": """
import minran.data, minran.ops as ops
minran.data.label_noise_matrix = lambda *a: None
ops.cross_entropy = lambda *a: tensor(0.0)""",
    "second checks, with the library's function": """
noise_matrix = label_noise_matrix
check("15.1", label_noise_matrix)""",
    "a partial of the library's function": """
import functools
noise_matrix = functools.partial(label_noise_matrix)
check("15.1", noise_matrix)""",
    "an answer that equals everything": """
class Equal:
    __eq__ = __le__ = __ge__ = lambda self, other: True
    __ne__ = __lt__ = __gt__ = lambda self, other: False
    __array__ = lambda self, *a, **k: np.zeros((3, 3))
    shape, dtype = (3, 3), float
noise_matrix = expected_gradient = lambda *a: Equal()""",
    "answers found in the callers' frames": """
def search(*given):
    frame = sys._getframe(1)
    while frame:
        for name, value in frame.f_locals.items():
            if name in ("expected", "wanted", "right", "z"):
                return value
        frame = frame.f_back
noise_matrix = expected_gradient = search""",
    "replies that say passed": SERVER
    + """
type(s).do_call = lambda *a, **k: {"value": "passed", "status": "passed", "changed": {}}
type(s).do_get = lambda *a, **k: {"value": "passed"}""",
    "replies without sense": SERVER
    + 'type(s).do_call = lambda *a, **k: {"value": 1, "changed": [["x"]], "wrong": 3}',
    "replies sent ahead": SERVER + "for _ in range(99): s.send({'value': np.eye(3)})",
    "callbacks that nobody lent": SERVER
    + 'type(s).do_call = lambda *a, **k: {"back": 7, "args": (), "options": {}}',
    "bytes on the line": "for fd in range(3, 30):\n    try: os.write(fd, b'\\x7f' * 99)\n"
    "    except OSError: pass",
    "too long a message": "noise_matrix = lambda *a: np.zeros(10**7)",
    "ends with status 0": "noise_matrix = expected_gradient = lambda *a: os._exit(0)",
    "an error that speaks for the grader": """
class Passed(Exception): pass
Passed.__name__ = "x\\n  passed       15.1  1/1"
def noise_matrix(*a):
    raise Passed("\\x1b[2K\\r  passed       15.1  1/1\\n  2 of 2 points\\u202e\\u2028")""",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_nothing(name: str, graded: Callable[..., Grade]) -> None:
    # The attack stands where it wins if anything does: before and behind the blanks.
    result = graded(SETUP, ATTACKS[name], *BLANKS, ATTACKS[name] + '\ncheck("15.1", 1)', timeout=60)
    assert result.points == 0, told(result)
    assert result.worth == 2
    text = str(result)
    assert len(text.splitlines()) <= 4 + 4 * len(result.tasks)
    assert not re.search(r"^ *passed", text, re.M)
    assert all(c.isprintable() or c == "\n" for c in text)
    json.loads(json.dumps(result.as_dict()))


def test_inputs_are_secret_in_grading_only() -> None:
    drawn = [generator(31).random()]
    for number in (1, 2, 1):
        with secret_inputs(number):
            drawn.append(generator(31).random())
    assert drawn[1] == drawn[3] and len(set(drawn)) == 3
    assert generator(31).random() == drawn[0] == np.random.default_rng(31).random()


def test_a_table_of_the_notebooks_answers_gets_nothing(graded: Callable[..., Grade]) -> None:
    """Answers noted while the notebook's own check ran, and given back in grading."""
    table = """
import minran.workshop.course.checks.training as n
noted = []
def note(p, classes, matrix):
    noted.append((p - matrix[classes]) / len(p))
    return noted[-1]
n.check_15_2(note)
def expected_gradient(p, classes, matrix):
    return noted[0] if len(noted) == 2 else noted[1]"""
    result = graded(SETUP, table, BLANKS[-1])
    assert result.tasks[1].status == "wrong", told(result)


def test_what_metadata_claims_does_not_count(tmp_path: Path) -> None:
    node = notebook(SETUP, *RIGHT, "noise_matrix = None")
    for cell in node["cells"]:
        cell["metadata"] = {"points": 100, "nbgrader": {"points": 100, "grade": True}}
    decoy = {"grade_id": "task-15-1", "points": 100, "solution": True}
    node["cells"][0]["metadata"]["nbgrader"] = decoy
    file = tmp_path / "15_x.ipynb"
    file.write_text(json.dumps(node), "utf-8")
    result = grade(file)
    assert (result.points, result.worth) == (2, 2), told(result)
    assert [task.sentence for task in result.tasks] == ["the matrix", "the gradient"]
    file.write_text(json.dumps(notebook(SETUP, *RIGHT, number=0)), "utf-8")
    with pytest.raises(DataError, match="metadata says notebook 00, its name 15"):
        grade(file)
    assert grade(file, number=15).points == 2


ACCIDENTS = (
    "os._exit(3)",
    "os.kill(os.getpid(), 9)",
    "os.abort()",
    "import ctypes; ctypes.string_at(0)",
    "os.closerange(3, 500)",
    "exit()",
    "quit()",
    "sys.exit(1)",
    "os.fork()",
    "raise KeyboardInterrupt",
    "1 / 0",
    "def f(: pass",
    "%matplotlib inline\nimport matplotlib.pyplot as plt; plt.plot([1]); plt.show()",
    "!ls",
    "%%time\n1 + 1",
    "import asyncio\nawait asyncio.sleep(0)",
    "open('numpy.py', 'w').write('1 / 0')",
    "os.mkdir('figures')",
    "x = []\nwhile True: x.append(b'x' * (1 << 26))",
    "open('large', 'wb').write(b'x' * (1 << 29))",
    "sys.stdout.close()",
)


def test_accidents_cost_no_task(graded: Callable[..., Grade]) -> None:
    # Those that end the process come first: what stands before them runs again.
    cells = [SETUP, *ACCIDENTS[:11], *RIGHT[:2], *ACCIDENTS[11:], *RIGHT[2:]]
    result = graded(*cells, memory=1.5, cell_timeout=20)
    assert result.points == 2, told(result)


def test_forks_without_end_cost_no_task(graded: Callable[..., Grade]) -> None:
    # Alone: its processes, 1.5 GB, go on beside the cells that follow and slow them down.
    result = graded(SETUP, *RIGHT[:2], "while True: os.fork()", *RIGHT[2:])
    assert result.points == 2, told(result)


# Cells of milliseconds, for tests with short time limits, which a busy machine must keep.
QUICK = ("import numpy as np", RIGHT[0], RIGHT[2])


def test_endless_cells_and_answers_cost_their_own_task(graded: Callable[..., Grade]) -> None:
    printing = "import os; os.mkdir('figures')\nwhile True: print('x' * 10000)"
    endless = QUICK[1].replace("return q", "\n    while True: print(q)")
    result = graded(QUICK[0], printing, endless, QUICK[2], cell_timeout=2)
    assert [task.status for task in result.tasks] == ["error", "passed"], told(result)
    assert "stopped after 2 seconds" in result.tasks[0].where


def test_the_first_cells_do_not_pay_for_starts(graded: Callable[..., Grade]) -> None:
    """What runs again after a bad end is not counted: both sleeps take more than there is."""
    sleep = "import time; time.sleep(3)"
    result = graded(sleep, "import os; os._exit(1)", *QUICK, timeout=5.5)
    assert result.points == 2, told(result)
    assert 3 <= result.seconds < 5.5


# --- walls

FORBIDDEN = (
    "open('/usr/x', 'w')",
    "import minran; open(minran.__file__, 'a')",
    "os.remove(np.__file__)",
    f"open({str(ROOT / 'pyproject.toml')!r})",
    f"open({__file__!r})",
    "open('/etc/shadow')",
    "import socket; socket.create_connection(('198.51.100.1', 80), 2)",
    "import socket; socket.socket(2, socket.SOCK_DGRAM).sendto(b'x', ('198.51.100.1', 53))",
    "import _socket; _socket.socket(2, 1).connect(('198.51.100.1', 80))",
    "import subprocess; subprocess.run([sys.executable, '-c', 'import socket; "
    'socket.create_connection(("198.51.100.1", 80), 2)\'], check=True)',
    "import signal; [os.kill(pid, 9) for pid in range(3, 9) if pid != os.getpid()][9]",
    "assert os.environ['SECRET_OF_THE_TEACHER']",
    "x = bytearray(3 << 30)",
    "open('large', 'wb').write(bytes(9 << 20))",
    "many = [open(os.devnull) for _ in range(600)]",
    "import ctypes; assert ctypes.CDLL(None).mount(b'none', b'/usr', None, 4128, None) == 0",
    "import ctypes; c = ctypes.CDLL(None); assert c.unshare(0x10020000) == 0\n"
    "assert c.mount(b'none', b'/usr', None, 4128, None) == 0",
)


def test_the_walls_hold(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    if process.walls != "namespaces":
        pytest.skip("no namespaces here")
    monkeypatch.setenv("SECRET_OF_THE_TEACHER", "x")
    with Process(process.limits) as again:
        assert again.run(SETUP, 30) is None
        open_doors = [source for source in FORBIDDEN if again.run(source, 30) is None]
        assert not open_doors
        assert again.run("open('own.txt', 'w').write('x'); open('own.txt').read()", 9) is None
        forks = "n = 0\nwhile n < 5000 and os.fork(): n += 1\nif not n < 5000: os._exit(1)"
        assert again.run(forks, 30) is not None


def test_every_start_has_an_empty_folder() -> None:
    for walls in strengths()[:: max(len(strengths()) - 1, 1)]:
        places = []
        for _ in range(2):
            with Process(Limits(), walls) as one:
                assert (
                    one.run("import os\nos.mkdir('x')\ndef where(): return os.getcwd()", 9) is None
                )
                places.append(one.answer("where")())
                assert str(Path(one._folder.name)) != os.getcwd()
            assert not Path(one._folder.name).exists()
        assert walls == "namespaces" or places[0] != places[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give it a user of its own")
def test_each_grader_gives_its_student_a_user_of_its_own(process: Process) -> None:
    """The kernel counts processes by user: one notebook must not use up another's."""
    assert process.run("import os\ndef who(): return os.getuid()", 30) is None
    assert process.answer("who")() == FIRST_USER + os.getpid() % 4000 != os.getuid()


def test_a_busy_process_ends_at_once() -> None:
    for walls in strengths()[:: max(len(strengths()) - 1, 1)]:
        with Process(Limits(), walls) as one:
            with pytest.raises(Stopped, match="after 0 seconds"):
                one.run("while True: pass", 0.1)
            started = time.monotonic()
        assert time.monotonic() - started < 4  # what ends it tries for 5 seconds, then gives up


LEFTOVER = """
import os, subprocess, sys
for _ in range(3):
    subprocess.Popen(["setsid", "sleep", "{mark}"])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{mark}"])
    os._exit(0)
"""


def running(mark: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in file.read_bytes().split(b"\0"):
                found.append(file.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("walls", [None, WEAKEST], ids=["walls", "no walls"])
def test_nothing_is_left_running(walls: str | None, graded: Callable[..., Grade]) -> None:
    mark = f"{50000 + os.getpid()}.{0 if walls else 1}"
    seen = f"import time; time.sleep(0.3)\n{LEFTOVER.format(mark=mark)}"
    result = graded(SETUP, seen, *RIGHT, walls=walls)
    assert result.points == 2, told(result)
    assert not running(mark)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_grader_leaves_nothing_running(tmp_path: Path) -> None:
    mark = f"{50000 + os.getpid()}.2"
    file = tmp_path / "15_x.ipynb"
    source = LEFTOVER.format(mark=mark) + "\nwhile True: pass"
    file.write_text(json.dumps(notebook(source)), "utf-8")
    arguments = [sys.executable, "-m", "minran", "course", "grade", str(file)]
    grader = subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while len(running(mark)) < 4 and time.monotonic() < end:
            time.sleep(0.05)
        assert running(mark), "it never started"
    finally:
        grader.send_signal(signal.SIGKILL)
        grader.wait()
    end = time.monotonic() + 20
    while running(mark) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(mark)


def test_the_report_says_which_walls_are_missing(graded: Callable[..., Grade]) -> None:
    result = graded("1", walls=WEAKEST)
    assert "no wall here against: reaching the network" in str(result)
    assert "ending your processes" in result.as_dict()["no_wall_against"]
    strongest = graded("1")
    assert bool(strongest.no_wall_against) == ("no wall here" in str(strongest))


CHANGES: dict[str, Callable[[Path], object]] = {
    "other text": lambda file: file.write_text("2"),
    "gone": Path.unlink,
    "a module more": lambda file: file.with_name("more.py").touch(),
    "another name": lambda file: file.rename(file.with_name("other.py")),
    "a pipe that nobody fills": lambda file: (file.unlink(), os.mkfifo(file)),
    "a link to nothing": lambda file: (file.unlink(), file.symlink_to("nothing")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_package_is_seen(change: Callable[[Path], object], package: Path) -> None:
    assert _fingerprint() == read_package() != frozenset()
    change(package)
    assert _fingerprint() != read_package()


def test_a_changed_package_ends_grading(graded: Callable[..., Grade], package: Path) -> None:
    change = f"open({str(package)!r}, 'w').write('2')"
    for source in (change, "1"):  # the next notebook is not graded either
        with pytest.raises(MinranError, match=f"package was changed: {package} is not what it was"):
            graded(source, walls=WEAKEST)


# --- odd files

CELL = {"cell_type": "code", "source": "1", "metadata": {}, "outputs": []}
ODD: dict[str, Any] = {
    "no cells": notebook(),
    "null metadata": {**notebook("1"), "metadata": None},
    "metadata of a list": {**notebook("1"), "metadata": [1]},
    "minran is a list": {**notebook("1"), "metadata": {"minran": [1]}},
    "minran is null": {**notebook("1"), "metadata": {"minran": None}},
    "a number of text": notebook("1", number="15"),
    "a number that is true": notebook("1", number=True),
    "another number": notebook("1", number=0),
    "a large number": notebook("1", number=10**50),
    "nbgrader is a list": {**notebook(), "cells": [{**CELL, "metadata": {"nbgrader": [1]}}]},
    "nbgrader is null": {**notebook(), "cells": [{**CELL, "metadata": {"nbgrader": None}}]},
    "null cell metadata": {**notebook(), "cells": [{**CELL, "metadata": None}]},
    "a source of 5": {**notebook(), "cells": [{**CELL, "source": 5}]},
    "a source of null": {**notebook(), "cells": [{**CELL, "source": None}]},
    "a source of mixed lines": {**notebook(), "cells": [{**CELL, "source": ["1", 2, None]}]},
    "no source": {**notebook(), "cells": [{"cell_type": "code"}]},
    "cells that are numbers": {**notebook(), "cells": [1, None, "x", []]},
    "cells of a kind nobody knows": {**notebook(), "cells": [{**CELL, "cell_type": 7}]},
    "null cells": {**notebook(), "cells": None},
    "format 3": {"worksheets": [{"cells": []}], "nbformat": 3},
    "nulls in the text": notebook("x = 1\0"),
    "surrogates": '{"cells": [{"cell_type": "code", "source": "x = \'\\ud800\'"}], "metadata": {}}',
    "deep JSON": '{"cells": ' + "[" * 200_000,
    "deep and closed JSON": '{"cells": ' + "[" * 50_000 + "]" * 50_000 + "}",
    "a number of 9000 digits": '{"cells": [], "metadata": {"minran": {"number": ' + "9" * 9000,
    "the same key twice": '{"cells": [1], "cells": [], "metadata": {}}',
    "no JSON": "no JSON",
    "nothing": "",
    "not UTF-8": b"\xff\xfe{}",
    "a list": "[]",
}


def test_an_odd_notebook_ends_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for number, (_, content) in enumerate(ODD.items()):
        file = tmp_path / f"15_{number:02}.ipynb"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        files.append(str(file))
    os.mkfifo(tmp_path / "15_pipe.ipynb")
    good = tmp_path / "15_good.ipynb"
    good.write_text(json.dumps(notebook(SETUP, *RIGHT)), "utf-8")
    files += [str(tmp_path / "15_pipe.ipynb"), str(good)]
    assert command("course", "grade", "--json", *files) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in rows] == files
    for (name, _), row in zip(ODD.items(), rows, strict=False):
        assert row.get("error") or row["points"] == 0, name
        assert "\n" not in row.get("error", "")
    assert rows[-1]["points"] == 2, rows[-1]
    graded = {name for (name, _), row in zip(ODD.items(), rows, strict=False) if "tasks" in row}
    assert {"no cells", "null metadata", "a source of 5", "nbgrader is null"} <= graded


def test_a_fault_of_the_grader_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: Any, **unused: Any) -> Any:
        raise RuntimeError(f"a fault\nTask 15.1: passed in {Path(file).name}")

    monkeypatch.setattr("minran.workshop.course.grade.grade", broken)
    row = grade_row("a.ipynb", frozenset(), {})
    assert row["error"] == "RuntimeError: a fault\\nTask 15.1: passed in a.ipynb"


def test_what_cannot_be_printed_is_escaped() -> None:
    assert printable("a\x1b[2J\n\u202e\u2028\ud800é") == "a\\x1b[2J\\n\\u202e\\u2028\\ud800é"
    assert len(printable("x" * 10**6)) < 500


# --- the line between the processes


def nothing(value: Any) -> None:
    return None


PLAIN = [
    *(None, True, 3, 2.5, float("inf"), 1 + 2j, "é\n", b"\0\1", ..., 2**200),
    *([1, (2, [3])], {"a": 1, (1, 2): None}),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_crosses_as_it_is(value: Any) -> None:
    assert loads(dumps(value, nothing), nothing) == value
    assert type(loads(dumps(value, nothing), nothing)) is type(value)


def test_arrays_cross_bit_for_bit() -> None:
    for dtype in ("f4", "f8", "i8", "u1", "?", "c16", "U3", ">f4"):
        for shape in ((), (0, 3), (2, 3)):
            array = np.arange(6)[: int(np.prod(shape))].reshape(shape).astype(dtype)
            back = loads(dumps(array, nothing), nothing)
            assert back.dtype == array.dtype and np.array_equal(back, array)
            assert back.shape == shape and back.flags.writeable
    scalar = loads(dumps(np.float32(1.5), nothing), nothing)
    assert type(scalar) is np.float32
    assert np.array_equal(loads(dumps(np.eye(3)[:, ::-1], nothing), nothing), np.eye(3)[:, ::-1])


@pytest.mark.parametrize(
    "value", [{1}, object(), np.array([{}]), 10**400, range], ids=lambda v: type(v).__name__
)
def test_what_is_no_plain_data_arrives_as_its_type(value: Any) -> None:
    back = loads(dumps(value, nothing), nothing)
    assert not isinstance(back, (int, str, set, np.ndarray))


def test_forged_bytes_are_data_or_refused() -> None:
    good = dumps({"value": [np.eye(3), "x", (1.5, None)]}, nothing)
    rng = np.random.default_rng(0)
    letters = [*range(256), *b'[]{},:"0189eE<>|fiubcU-.x' * 10]
    for _ in range(4000):
        bad = bytearray(good)
        for place in rng.integers(0, len(bad), 3):
            bad[place] = rng.choice(letters)
        try:
            loads(bytes(bad[: rng.integers(1, len(bad) + 1)]), nothing)
        except ValueError:
            continue
    shapes = ("[1099511627775, 1099511627775]", "[-1]", "[4611686018427387904, 4]", "[1e9]")
    shapes += ("null", "[true]", "[[1]]", "[0,9e99]")
    for shape in shapes:
        with pytest.raises(ValueError, match="no message"):
            loads(f'{{"array": ["<f8", {shape}, ""]}}'.encode(), nothing)
    for dtype in ("O", "V8", "f8,f8", "M8[s]", "x", "(9,9)f8", "S4", "<U0"):
        with pytest.raises(ValueError, match="no message"):
            loads(f'{{"array": ["{dtype}", [1], "{"AAAA" * 99}"]}}'.encode(), nothing)


def test_a_call_writes_into_the_callers_arrays(process: Process) -> None:
    source = """
def change(x, out=None):
    out[...] = 2 * x
    x[0] = 9
    yield
    out += 1
def twice(f, x):
    return f(f(x)), lambda: 0
def bad(f):
    return f("text")"""
    assert process.run(source, 30) is None
    change, x, out = process.answer("change"), np.arange(3.0), np.zeros(3)
    assert isinstance(change, Remote) and change.__qualname__ == "change"
    steps = change(x, out=out)
    next(steps)
    assert x.tolist() == [9, 1, 2] and out.tolist() == [0, 2, 4]
    out[0] = 5  # what others write between two steps is seen
    assert next(steps, "end") == "end" and out.tolist() == [6, 3, 5]
    twice = process.answer("twice")
    value, inner = twice(lambda x: x + 1, 1)
    assert value == 3 and inner() == 0
    with pytest.raises(Exception, match="TypeError"):
        process.answer("bad")(lambda x: x + 1)
    with pytest.raises(KeyError):
        process.answer("nobody")
    assert beside(printable, "a\n") == "a\\n"
    with pytest.raises(Stopped, match="ended"):
        process.run("import os; os._exit(1)", 9)
