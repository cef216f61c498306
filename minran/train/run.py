"""A run and its folder: recipe, environment, history, checkpoints."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from minran import backend, distributed, machine
from minran.errors import CheckpointError, RecipeError, expect
from minran.files import explained, is_temporary, make_folder, read_bytes, write_atomically
from minran.hints import checked
from minran.train.checkpoint import (
    Checkpoint,
    Progress,
    load_checkpoint,
    load_progress,
    save_checkpoint,
)
from minran.train.recipe import LENGTH, Recipe, load_recipe, parse

try:
    import fcntl
except ImportError:  # Windows: runs work, two processes in one folder are not kept apart
    fcntl = None  # type: ignore[assignment]


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that mean devices on Windows, whatever stands after a dot."""


def run_folder(runs: str | Path, name: str) -> Path:
    """The folder of the run `name` ("mine", or "group/mine") below the folder of all runs.

    Raises RecipeError for a name that leads out of `runs` or that some system cannot have.
    """
    for part in name.split("/"):
        good = (
            0 < len(part.encode(errors="surrogatepass")) <= 200
            and part == part.strip().rstrip(".")
            and part.isprintable()
            and not set(part) & set('<>:"\\|?*')
            and not _RESERVED.fullmatch(part)
        )
        expect(
            good,
            f"{name!a:.99} is no name for a run: expected one that every system takes as the name "
            "of a folder, or several with / between them",
            RecipeError,
        )
    return Path(runs, name)


def environment() -> dict[str, Any]:
    """What this process runs on: versions, hardware, time and command line."""
    kernels = backend.current()
    facts = machine.facts() | {"backend": kernels.name, "processes": distributed.current().size}
    if backend.has("threads"):
        facts["threads"] = kernels.threads()
    if backend.has("describe"):
        facts["device"] = kernels.describe()
    return facts


@checked(CheckpointError)
class Run:
    """The files of one run, below one folder.

    recipe.toml          what was asked for
    environment.json     what it ran on: versions, hardware, commit, one entry per session
    history.jsonl        losses and accuracies (`minran.train.history`)
    last.safetensors     the newest checkpoint; best.safetensors the one with the best test
    epoch-*.safetensors  those that `training.keep_every` asked for
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.recipe_file = self.folder / "recipe.toml"
        self.environment_file = self.folder / "environment.json"
        self.history_file = self.folder / "history.jsonl"
        self.last_file = self.folder / "last.safetensors"
        self.best_file = self.folder / "best.safetensors"
        self._locked: tuple[int, int] | None = None

    def epoch_file(self, epoch: int) -> Path:
        """The checkpoint that is kept of an epoch."""
        return self.folder / f"epoch-{epoch:03d}.safetensors"

    def epoch_files(self) -> list[Path]:
        """The checkpoints that were kept, in the order of epochs."""
        files = self.folder.glob("epoch-*.safetensors")
        return sorted(files, key=lambda file: (len(file.name), file.name))

    def trained_file(self) -> Path:
        """The checkpoint to use: the best one, else the newest."""
        return self.best_file if self.best_file.exists() else self.last_file

    def exists(self) -> bool:
        """Whether a run is there already."""
        return self.recipe_file.exists()

    def expect_free(self, force: bool = False) -> None:
        """Raise CheckpointError unless a new run may start here: nothing is there, or with `force`
        a run. A folder that is not empty and holds no run is never touched.
        """
        if self.exists():
            advice = f"continue it with --resume {self.folder}, choose another --name, or"
            message = f"{self.folder} holds a run already; {advice} overwrite it with --force"
            expect(force, message, CheckpointError)
        elif self.folder.exists():
            empty = self.folder.is_dir() and all(map(is_temporary, self.folder.iterdir()))
            expect(empty, f"{self.folder} exists and is no run; choose another", CheckpointError)

    def create(self, recipe: Recipe, force: bool = False) -> None:
        """Start the folder for `recipe`; raises CheckpointError as `expect_free` does.

        Only a run's own files are removed, so figures and notes next to them stay. The recipe
        comes last: whoever is killed in the middle leaves a run without results.
        """
        self.expect_free(force)
        own = (self.last_file, self.best_file, self.history_file, self.environment_file)
        with explained(CheckpointError, f"could not clear {self.folder} (", ")"):
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in (*own, *self.epoch_files()):
                file.unlink(missing_ok=True)
        write_atomically(self.recipe_file, recipe.to_toml().encode())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Within the block, no other process trains in the folder, which is made if missing.

        The lock ends with the process. Raises CheckpointError if another process holds it.
        """
        make_folder(self.folder, CheckpointError)
        with _held(self.folder) as held:
            busy = f"another process is training in {self.folder}; let it end or stop it first"
            expect(held, busy, CheckpointError)
            self._locked = _place(self.folder)
            try:
                # What killed processes left; nobody else can be writing now.
                for file in filter(is_temporary, self.folder.iterdir()):
                    file.unlink(missing_ok=True)
                yield
            finally:
                self._locked = None

    def is_running(self) -> bool:
        """Whether a process trains in the folder at this moment."""
        with _held(self.folder) as held:
            return not held

    def expect_there(self) -> None:
        """Raise CheckpointError if the folder is no longer the one that `lock` has locked.

        A new folder must not be made in its place, nor another run's folder be written to.
        """
        expect(
            self._locked is None or _place(self.folder) == self._locked,
            f"{self.folder} was removed, moved or replaced while training; nothing more is "
            "written. A folder that was moved goes on from where it is now, with --resume",
            CheckpointError,
        )

    def save(self, path: Path, checkpoint: Checkpoint) -> None:
        """Write one of the run's checkpoints; of several processes, the first one does."""
        if distributed.leads():
            self.expect_there()
            save_checkpoint(path, checkpoint)

    def recipe(self) -> Recipe:
        """The recipe the run was started with. Raises CheckpointError if there is no run."""
        expect(self.exists(), f"there is no run in {self.folder}", CheckpointError)
        with explained(CheckpointError, f"{self.recipe_file}: ", kinds=RecipeError):
            return load_recipe(self.recipe_file)

    def checkpoint(self) -> Checkpoint:
        """The newest checkpoint. Raises CheckpointError if none was written yet."""
        return load_checkpoint(self.last_file)

    def progress(self) -> Progress:
        """Where the run stands, by its newest checkpoint; at the start if there is none."""
        return load_progress(self.last_file) if self.last_file.exists() else Progress()

    def started(self, checkpoint: Checkpoint | None) -> Recipe:
        """The recipe of the run whose newest checkpoint this is, None if it came to none."""
        # The checkpoint knows even where somebody has edited recipe.toml since.
        if checkpoint is None:
            return self.recipe()
        recipe = parse(checkpoint.recipe)
        if recipe.training.precise_norm is None:  # of an earlier version, which had none
            recipe.training.precise_norm = 0
        return recipe

    def filled(self, recipe: Recipe) -> Recipe:
        """`recipe` with the entries of the run here where it leaves them open.

        Raises CheckpointError if there is no run.
        """
        own = recipe.training
        left = [key for key, value in vars(own).items() if value is None]
        if not left:
            return recipe
        before = self.started(self.checkpoint() if self.last_file.exists() else None).training
        return replace(recipe, training=replace(own, **{key: vars(before)[key] for key in left}))

    def continued(self, recipe: Recipe, any_length: bool = False) -> Checkpoint | None:
        """The checkpoint to go on from with `recipe`, None if the run did not come to one.

        Raises CheckpointError if there is no run, or it was started with another recipe (except
        how long it trains, with `any_length`): its losses would be those of neither. What the
        recipe leaves open is as in the run.
        """
        expect(self.exists(), f"there is no run in {self.folder}", CheckpointError)
        checkpoint = self.checkpoint() if self.last_file.exists() else None
        free = ("name", "description", *(LENGTH if any_length else ()))
        before = self.started(checkpoint).entries()
        changed = ", ".join(
            f"{key} was {before[key]!r} and is {value!r} now"
            for key, value in recipe.entries().items()
            if value != before[key] and None not in (value, before[key]) and key not in free
        )
        other = f"the run in {self.folder} was started with another recipe: {changed}"
        expect(not changed, f"{other}; start a new run for it", CheckpointError)
        return checkpoint

    def change_length(self, recipe: Recipe, checkpoint: Checkpoint | None, steps: int) -> None:
        """Let the run end where `recipe` says, after `steps` steps, if that is new.

        Whoever goes on reads recipe.toml, which is written first and in one move. Raises
        CheckpointError if the run has taken those steps already.
        """
        if self.started(checkpoint).length() == recipe.length():
            return
        progress = checkpoint.progress if checkpoint else Progress()
        expect(
            steps > progress.step,
            f"the run in {self.folder} has taken {progress.step} steps ({progress.epoch} epochs) "
            f"already, and was asked to end after {steps}; ask for more",
            CheckpointError,
        )
        write_atomically(self.recipe_file, recipe.to_toml().encode())
        if checkpoint is not None:
            checkpoint.recipe, progress.total_steps = recipe.to_toml(), steps
            save_checkpoint(self.last_file, checkpoint)

    def note_session(self, **more: str) -> None:
        """Add what this session runs on, and `more` about it, to environment.json."""
        sessions = []
        if self.environment_file.exists():
            advice = "mend it, or move it away if what earlier sessions ran on need not be kept"
            damaged = CheckpointError, f"{self.environment_file} is damaged (", f"); {advice}"
            with explained(*damaged, (ValueError, TypeError, RecursionError)):
                sessions = list(json.loads(read_bytes(self.environment_file, 1 << 24)))
        sessions.append(environment() | more)
        write_atomically(self.environment_file, json.dumps(sessions, indent=2).encode())


def _place(folder: Path) -> tuple[int, int] | None:
    """What tells one folder from another of the same name."""
    with suppress(OSError):
        return (found := folder.stat()).st_dev, found.st_ino
    return None


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Within the block this process holds the folder's lock, unless another has it (False)."""
    if fcntl is None or not folder.is_dir():
        yield True
        return
    handle, held = os.open(folder, os.O_RDONLY), True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held = False
    except OSError:
        pass  # a file system without locks: no protection, but no obstacle either
    try:
        yield held
    finally:
        os.close(handle)
