"""The README: its commands and its example work. Commands of how-tos and `docs/teach` are some."""

from __future__ import annotations

import argparse
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import minran
from minran.bench import add_arguments
from minran.cli import main, make_parser
from minran.models import list_models
from minran.train import list_recipes

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs" / "gpu.md",
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
    ROOT / "docs" / "learn" / "index.md",
    ROOT / "docs" / "paper" / "faq.md",
    ROOT / "docs" / "paper" / "replications.md",
    *sorted((ROOT / "docs" / "teach").glob("*.md")),
]


def commands(page: Path) -> list[list[str]]:
    """Every command of a page, in blocks and in the text; a line may go on behind a backslash."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.M | re.S)
    lines = [line for kind, block in blocks if kind == "bash" for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    lines += re.findall(r"`((?:minran|python|pytest|pip|mpiexec|ruff|mypy) [^`]+)`", prose)
    parts = [part for line in lines for part in line.split("#")[0].split("&&")]
    return [shlex.split(part) for part in parts if part.strip()]


ALL = [(page, command) for page in PAGES for command in commands(page)]


def parse(arguments: list[str]) -> argparse.Namespace:
    try:
        return make_parser().parse_args(arguments)
    except SystemExit as stop:
        if stop.code:
            raise AssertionError(f"minran {' '.join(arguments)} is no command") from stop
        return argparse.Namespace()  # --version and --help end there


def check_minran(arguments: list[str]) -> None:
    if "COMMAND" in arguments:
        return
    args = parse(arguments)
    if getattr(args, "recipe", None) and not args.recipe.endswith(".toml"):
        assert args.recipe in list_recipes()
    if arguments[0] in ("summary", "graph"):
        assert args.model in list_models()


def check_python(arguments: list[str]) -> None:
    if arguments[:2] in (["-m", "venv"], ["-m", "build"]):
        return
    if arguments[0] != "-m":
        assert (ROOT / arguments[0]).exists(), arguments
        return
    assert arguments[:2] == ["-m", "minran.bench"], arguments
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.parse_args(arguments[2:])


def check_pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    for name in re.findall(r"\[(.*?)\]", " ".join(arguments)):
        assert set(name.split(",")) <= set(EXTRAS), name


def check_files(arguments: list[str]) -> None:
    for before, name in zip(["", *arguments], arguments, strict=False):
        if before == "-k":  # an expression of names
            continue
        known = (ROOT / name).exists() or name in ("lab", "html", "slow", "gpu", "minran")
        assert name.startswith("-") or known, name


def check_sphinx(arguments: list[str]) -> None:
    """The build itself is a step of .ci/run."""
    assert arguments[:3] == ["-W", "-b", "html"]
    assert (ROOT / arguments[3] / "conf.py").exists()


def check_mpiexec(arguments: list[str]) -> None:
    assert arguments[0] == "-n" and arguments[1].isdigit()
    CHECKS[arguments[2]](arguments[3:])


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "minran": check_minran,
    "python": check_python,
    "pip": check_pip,
    "pytest": check_files,
    "jupyter": check_files,
    "sphinx-build": check_sphinx,
    "mpiexec": check_mpiexec,
    "ruff": lambda arguments: None,
    "mypy": check_files,
    ".": lambda arguments: None,
}


@pytest.mark.parametrize(
    ("page", "command"), ALL, ids=[f"{page.stem}: {' '.join(command)}" for page, command in ALL]
)
def test_command_is_one(page: Path, command: list[str]) -> None:
    CHECKS[command[0]](command[1:])


def test_commands_are_found() -> None:
    assert ["pytest"] in commands(ROOT / "README.md")
    assert {page.name for page, _ in ALL} >= {"README.md", "resume.md", "processes.md", "gpu.md"}


def test_wrong_commands_are_seen() -> None:
    for wrong in (["train", "--recipie", "x"], ["trian"], ["summary"]):
        with pytest.raises(AssertionError):
            check_minran(wrong)
    with pytest.raises(AssertionError):
        check_pip(["install", ".[nothing]"])


def test_the_commands_about_training_in_small(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    """The block "Train on CIFAR-10", on the built-in pictures with a smaller network."""
    monkeypatch.chdir(tmp_path)
    block = re.search(r"^## Train on CIFAR-10\n\n```bash\n(.*?)```$", README, flags=re.M | re.S)
    assert block
    small = ["--data", "shapes", "--model", "attention_nano", "--epochs", "1", "--quiet"]
    small += ["--set", "data.train_count=64", "--set", "data.test_count=50"]
    small += ["--set", "training.batch_size=32"]
    ran = []
    for line in block.group(1).splitlines():
        command = shlex.split(line.split("#")[0])[1:]
        if "--data-dir" in command:
            at = command.index("--data-dir")
            del command[at : at + 2]
        if "--recipe" in command:
            command += small
        assert main(command) == 0, line
        ran.append(command[0])
    assert ran == ["train", "train", "evaluate", "masks"]
    assert (tmp_path / "masks.png").stat().st_size > 1000
    assert main(["train", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in list_recipes())


def test_the_example_runs(capsys: Any) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README, flags=re.M | re.S)
    assert len(blocks) == 1
    code = [line for line in blocks[0].splitlines() if line and not line.startswith("#")]
    assert len(code) <= 15
    names: dict[str, Any] = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    printed = re.findall(r"# (\(.*\))$", blocks[0], flags=re.M)
    assert capsys.readouterr().out.split("\n")[:-1] == printed
    assert names["loss"].item() > 0


def test_one_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {minran.__version__}\n" in citation
    newest = re.search(
        r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M
    )
    assert newest and newest.group(1) == minran.__version__
