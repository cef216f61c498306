"""Change the package in one place at a time and see whether its tests notice.

    python tests/mutation.py minran/ops --sample 40 --out mutation.json

Every change (a mutant) is small: `<` for `<=`, `-` for `+`, a number one larger, `and` for `or`, a
condition turned round, a statement left out, None returned. A mutant that makes a test fail, or run
four times as long as usual, is killed; one that all tests pass survives. Of each file `--sample`
mutants are drawn (0: all). The file of results grows after each, and a second call goes on where
the first was stopped; with `--again` it runs the tests again on what survived. The modules of a
mutant are imported anew in a forked process.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.machinery
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

TESTS = {
    "minran/autograd.py": [
        "tests/test_autograd.py",
        "tests/test_engine_guards.py",
        "tests/ops",
    ],
    "minran/checks.py": ["tests/nn", "tests/test_optim.py", "tests/ops", "tests/models"],
    "minran/ops": ["tests/ops", "tests/models/test_fused.py"],
    "minran/nn": ["tests/nn", "tests/models/test_models.py"],
    "minran/optim": ["tests/test_optim.py", "tests/train/test_average.py"],
    "minran/models": ["tests/models", "tests/suites/test_authors.py"],
    "minran/train": [
        "tests/train",
        "tests/faults/test_fuzz_checkpoint.py",
        "tests/inspect/test_inspect_figures.py",
        "tests/backend/test_gpu_training.py",
        "tests/backend/test_gpu_graph.py",
    ],
}
"""Which tests are to notice a change, by the part of the package; the quickest first."""

LATER = [
    "tests/wrong/test_api.py",
    "tests/test_autograd.py",
    "tests/test_engine_guards.py",
    "tests/nn",
]
"""Run where those of the part notice nothing: the wrong calls, and who builds on the part."""

SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node."""
    if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS:
        yield changed(node, op=SWAPS[type(node.op)]())
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        yield changed(node, ops=[SWAPS[type(node.ops[0])](), *node.ops[1:]])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield changed(node, test=ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.Return) and node.value is not None and not is_none(node.value):
        yield changed(node, value=ast.Constant(None))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, (ast.Constant, ast.Yield))
    ):
        yield ast.Pass()


def changed(node: ast.AST, **fields: Any) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """(parent, field, index, node) of all that is calculated: no annotations, no messages."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            yield node, field, index if isinstance(value, list) else None, child
            yield from places(child)


def mutants(source: str) -> Iterator[tuple[str, str]]:
    """(what is changed, the whole new source) of every mutant of a module."""
    tree = ast.parse(source)
    for parent, field, index, node in list(places(tree)):
        for new in variants(node):
            line = getattr(node, "lineno", 0)
            put(parent, field, index, new)
            shown = f"{line}: {first(node)} -> {first(new)}"
            yield shown, ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree)))
            put(parent, field, index, node)


def put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def first(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).splitlines()[0][:80]


def run(path: Path, source: str, tests: list[str], limit: float) -> tuple[str, float]:
    """("survived", "killed" or "killed: time", seconds) of the tests with this source at `path`.

    The seconds are the processor's, so that a busy machine kills nothing; what waits for ever is
    killed by the clock.
    """
    end = time.monotonic() + 20 * limit
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
            code = in_child(path, source, tests)
        finally:
            os._exit(code)
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            verdict = "killed: time" if os.WIFSIGNALED(status) else "killed"
            return verdict if status else "survived", used.ru_utime + used.ru_stime
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)


def in_child(path: Path, source: str, tests: list[str]) -> int:
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    get_code = importlib.machinery.SourceFileLoader.get_code

    def mutated(self: Any, name: str) -> Any:
        if Path(self.path) == path:
            return compile(source, str(path), "exec")
        return get_code(self, name)

    importlib.machinery.SourceFileLoader.get_code = mutated  # type: ignore[method-assign]
    import pytest

    return int(pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *tests]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, help="files or folders of the package")
    parser.add_argument("--sample", type=int, default=0, help="mutants of each file; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="run survivors again")
    parser.add_argument("--out", type=Path, default=Path("mutation.json"))
    options = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import torch

    torch.set_num_threads(1)
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    files = [f for path in options.paths for f in (sorted(path.rglob("*.py")) or [path])]
    usual: dict[str, float] = {}
    for file in files:
        part = next(part for part in TESTS if str(file).startswith(part))
        found = list(mutants(file.read_text(encoding="utf-8")))
        random.Random(f"{options.seed} {file}").shuffle(found)
        for what, source in found[: options.sample or None]:
            name = f"{file}:{what}"
            if name in results and not (options.again and results[name] == "survived"):
                continue
            for stage, tests in (part, TESTS[part]), ("later", LATER):
                if stage not in usual:
                    unchanged = file.read_text(encoding="utf-8")
                    verdict, usual[stage] = run(ROOT / file, unchanged, tests, 600)
                    assert verdict == "survived", f"{tests} fail without a change"
                verdict, seconds = run(ROOT / file, source, tests, 4 * usual[stage] + 5)
                if verdict != "survived":
                    break
            results[name] = verdict
            options.out.write_text(json.dumps(results, indent=1))
            print(f"{len(results):5} {seconds:5.1f} s {verdict:12} {name}", flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    killed = sum(verdict != "survived" for verdict in results.values())
    print(f"{killed} of {len(results)} killed at {commit.stdout.strip()}")


if __name__ == "__main__":
    main()
