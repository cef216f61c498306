"""A run and its folder: recipe, environment, history, checkpoints."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend
from minran._version import __version__
from minran.errors import CheckpointError, RecipeError, expect
from minran.train.checkpoint import Checkpoint, load_checkpoint, write_atomically
from minran.train.recipe import Recipe, parse


class Run:
    """The files of one run, below one folder.

    recipe.toml          what was asked for
    environment.json     what it ran on: versions, hardware, commit, one entry per session
    history.jsonl        losses and accuracies (`minran.train.history`)
    last.safetensors     the newest checkpoint; best.safetensors the one with the best test
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.recipe_file = self.folder / "recipe.toml"
        self.environment_file = self.folder / "environment.json"
        self.history_file = self.folder / "history.jsonl"
        self.last_file = self.folder / "last.safetensors"
        self.best_file = self.folder / "best.safetensors"

    def exists(self) -> bool:
        """Whether something is there already."""
        return self.recipe_file.exists()

    def create(self, recipe: Recipe, force: bool = False) -> None:
        """Start the folder for `recipe`.

        Raises CheckpointError if a run is there already, unless `force` clears it; a folder
        that is not empty and holds no run is never cleared.
        """
        if self.exists():
            expect(
                force,
                f"{self.folder} holds a run already; continue it with --resume {self.folder}, "
                "choose another --name, or overwrite it with --force",
                CheckpointError,
            )
            shutil.rmtree(self.folder)
        elif self.folder.exists():
            expect(
                self.folder.is_dir() and not any(self.folder.iterdir()),
                f"{self.folder} exists and is no run; choose another --name",
                CheckpointError,
            )
        write_atomically(self.recipe_file, recipe.to_toml().encode())

    def recipe(self) -> Recipe:
        """The recipe the run was started with. Raises CheckpointError if there is no run."""
        expect(self.exists(), f"there is no run in {self.folder}", CheckpointError)
        try:
            return parse(self.recipe_file.read_text(encoding="utf-8"), str(self.recipe_file))
        except RecipeError as error:
            raise CheckpointError(f"{self.recipe_file}: {error}") from error

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint. Raises CheckpointError if none was written yet."""
        return load_checkpoint(self.last_file)

    def note_session(self) -> None:
        """Add what this session runs on to environment.json."""
        sessions = []
        if self.environment_file.exists():
            sessions = json.loads(self.environment_file.read_text(encoding="utf-8"))
        sessions.append(environment())
        write_atomically(self.environment_file, json.dumps(sessions, indent=2).encode())


def environment() -> dict[str, Any]:
    """Versions, hardware and time: what must stand beside any figure."""
    kernels = backend.current()
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "minran": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "backend": kernels.name,
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "command": " ".join(sys.argv),
    }
    if hasattr(kernels, "threads"):
        facts["threads"] = kernels.threads()
    if hasattr(kernels, "describe"):
        facts["device"] = kernels.describe()
    return facts


def _commit() -> str | None:
    """The commit of the source tree minran is imported from, if it is one."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
