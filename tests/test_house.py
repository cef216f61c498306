"""The house rules: imports run downward, nothing heavy is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import minran

ROOT = Path(minran.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

FLOORS = [
    ["errors"],
    ["hints"],
    ["files"],
    ["streams"],
    ["machine"],
    ["backend"],
    ["checks"],
    ["autograd"],
    ["ops"],
    ["nn"],
    ["models"],
    ["optim", "data", "inspect"],
    ["train"],
    ["live"],
    ["cli"],
]
"""From the cellar up: a part may use what lies on lower floors, and itself."""

HEIGHT = {part: height for height, parts in enumerate(FLOORS) for part in parts}
BELOW_NN = {part for part, height in HEIGHT.items() if height < HEIGHT["nn"]}
HELPERS = {"gradcheck": BELOW_NN, "distributed": BELOW_NN, "arguments": {"errors"}}
"""Beside the stairs; they may use only what lies below nn."""

TOOLS = {"interop", "workshop"}
"""May use anything but the command line. The `command.py` of a room of the workshop is a part of
the command line, which finds it by a table."""

DOORS = {"bench", "course", "ablate"}
"""Names people know, with what lies in the workshop behind them."""

EVERYONE = {"_version"}

LATE = {("autograd", "ops")}
"""Upward, but only when it runs: `a + b` looks up what an addition is. At the top of the file it
would be a circle, which `test_every_part_can_be_imported_first` finds."""


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to: `nn` for minran/nn/layers.py."""
    inside = path.relative_to(ROOT).parts
    if path.name == "command.py":
        return "command"
    return inside[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of a file, within functions too."""
    package = ("minran", *path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def names(file: Path) -> str:
    return str(file.relative_to(ROOT))


def allowed(part: str, other: str) -> bool:
    """Whether `part` of the package may import from the part `other`."""
    if other == part or other in EVERYONE or part in ("__init__", "__main__"):
        return True
    if part in HELPERS:
        return other in HELPERS[part]
    if part in DOORS:
        return other in ("workshop", "errors")
    if other == "workshop" or other in DOORS:
        return part == "command"
    if part in TOOLS:
        return other != "cli"
    if part in ("cli", "command"):
        return True
    if other in HELPERS:
        # The training loop sums gradients over machines.
        return (part, other) == ("train", "distributed")
    return other in HEIGHT and HEIGHT[other] < HEIGHT[part]


def test_the_parts_are_known() -> None:
    """A new part of the package needs a floor."""
    known = {*HEIGHT, *HELPERS, *TOOLS, *DOORS, *EVERYONE, "command", "__init__", "__main__"}
    assert {part_of(path) for path in FILES} <= known
    assert {"errors", "backend", "autograd", "ops", "nn", "models"} <= set(map(part_of, FILES))


@pytest.mark.parametrize("path", FILES, ids=names)
def test_imports_run_downward(path: Path) -> None:
    part = part_of(path)
    wrong = []
    for line, name in imports(path):
        package, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if package != "minran" or (part, other) in LATE:
            continue
        # `from minran import ops` names the part; `from minran import Tensor` hides where
        # it comes from, and may go in a circle.
        hidden = not (ROOT / other).is_dir() and not (ROOT / f"{other}.py").is_file()
        if (hidden and part in HEIGHT and part != "cli") or not (hidden or allowed(part, other)):
            wrong.append(f"line {line}: {name}")
    assert not wrong, f"{names(path)} may not import {wrong}"


def circles(late: set[tuple[str, str]]) -> list[list[str]]:
    """Files that import one another in a ring, but for imports between the parts in `late`."""
    modules = {
        ".".join(("minran", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in FILES
    }
    above: dict[str, set[str]] = {}
    for module, path in modules.items():
        found = {name if name in modules else name.rpartition(".")[0] for _, name in imports(path)}
        above[module] = {
            name
            for name in found & set(modules)
            if name != module and (part_of(path), part_of(modules[name])) not in late
        }
    # Files that import no other file that is left go, again and again: a ring never does.
    while free := [module for module, names_above in above.items() if not names_above & set(above)]:
        for module in free:
            del above[module]
    return [[module, *sorted(names_above & set(above))] for module, names_above in above.items()]


def test_no_circle_between_files() -> None:
    assert not circles(LATE)
    assert circles(set()), "Tensor and its operators are one"


def test_the_rule_itself_can_fail() -> None:
    assert allowed("ops", "autograd")
    assert allowed("train", "optim")
    assert allowed("cli", "gradcheck")
    assert allowed("interop", "train")
    for part, other in (
        ("autograd", "ops"),
        ("ops", "nn"),
        ("data", "models_of_my_own"),
        ("optim", "data"),
        ("gradcheck", "nn"),
        ("nn", "gradcheck"),
        ("models", "interop"),
        ("workshop", "cli"),
        ("train", "workshop"),
        ("cli", "workshop"),
        ("interop", "bench"),
        ("errors", "backend"),
    ):
        assert not allowed(part, other), (part, other)


def test_the_workshop_is_named_by_its_doors_and_in_one_table_only() -> None:
    """Imports by name, which the test above does not see, included."""
    named = {
        names(path)
        for path in FILES
        if part_of(path) not in ("workshop", "command", *DOORS)
        and "minran.workshop" in path.read_text(encoding="utf-8")
    }
    assert named == {"cli/__init__.py"}


def test_kernels_never_see_a_tensor() -> None:
    for path in FILES:
        if part_of(path) == "backend":
            used = {node.id for node in ast.walk(parse(path)) if isinstance(node, ast.Name)}
            assert not used & {"Tensor", "Op"}, names(path)
            assert not any("autograd" in name for _, name in imports(path)), names(path)


def imported(path: Path) -> set[str]:
    return {name.split(".")[0] for _, name in imports(path)}


def on_gpu(path: Path) -> bool:
    return path.relative_to(ROOT).as_posix().startswith("backend/gpu")


def test_only_the_gpu_backend_knows_cupy() -> None:
    for path in FILES:
        # The distributed trainer talks to NCCL through CuPy.
        if not on_gpu(path) and part_of(path) != "distributed":
            assert not imported(path) & {"cupy", "cupyx", "cuda", "numba"}, names(path)


def test_torch_is_for_comparisons_only() -> None:
    for path in FILES:
        if part_of(path) not in TOOLS:
            assert not imported(path) & {"torch", "torchvision"}, names(path)


def complaints(path: Path) -> Iterator[str]:
    """What a file does that the house forbids."""
    for node in ast.walk(parse(path)):
        where = f"{names(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Assert):
            yield f"{where} assert (python -O drops it; use errors.expect)"
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{where} import *"
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{where} bare except"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in ("exec", "eval"):
                yield f"{where} {node.func.id}"
            if node.func.id == "set" and part_of(path) in ("nn", "models", "optim"):
                yield f"{where} a set has no order; parameters need one"


def test_nothing_forbidden_is_written() -> None:
    assert not [complaint for path in FILES for complaint in complaints(path)]


def test_randomness_comes_from_generators_that_are_passed_in() -> None:
    allowed_names = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64"}
    wrong = [
        f"{names(path)}:{node.lineno} np.random.{node.attr}"
        for path in FILES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) in ("np.random", "numpy.random")
        and node.attr not in allowed_names
    ]
    assert not wrong
    assert not [names(path) for path in FILES if "random" in imported(path)]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT.parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_minran_is_light() -> None:
    """No cupy, torch or matplotlib, which cost seconds or may be missing."""
    heavy = ("cupy", "torch", "matplotlib", "PIL", "platformdirs", "tqdm", "safetensors", "scipy")
    code = f"import sys, minran; print([m for m in {heavy!r} if m in sys.modules])"
    assert run(code).strip() == "[]"


@pytest.mark.parametrize(
    "module", ["minran.optim", "minran.gradcheck", "minran.data", "minran.train", "minran.inspect"]
)
def test_parts_import_no_cupy_torch_or_matplotlib(module: str) -> None:
    heavy = ("cupy", "torch", "matplotlib")
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("module", ["errors", "backend", "autograd", "ops", "nn", "models"])
def test_every_part_can_be_imported_first(module: str) -> None:
    run(f"import minran.{module}")


def test_public_names_exist_and_are_in_order() -> None:
    for module in (minran, minran.nn, minran.ops):
        assert module.__all__ == sorted(module.__all__, key=lambda n: (not n.isupper(), *key(n)))
        for name in module.__all__:
            assert hasattr(module, name)


def key(name: str) -> tuple[bool, str]:
    """Classes before functions, as ruff sorts `__all__`."""
    return not name[0].isupper(), name


def test_the_package_is_typed() -> None:
    assert (ROOT / "py.typed").is_file()
