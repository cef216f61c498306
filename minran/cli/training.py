"""quickstart, train, evaluate, runs, plot."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend, distributed
from minran.arguments import add_command, add_options, takes
from minran.cli.shared import (
    DATA_DIR,
    DEVICE,
    SET,
    expect_data_dir_used,
    find_checkpoint,
    read_changes,
    save_figure,
)
from minran.errors import CheckpointError, RecipeError, expect
from minran.files import PICTURES, expect_writable

RUNS = "runs"
"""The folder of all runs, where nobody names another."""
MAY_DIFFER = ("run", "runs", "data_dir", "quiet", "debug")
"""What may be another in each process of a training: places and words."""


def add_commands(commands: Any) -> None:
    """The commands about training, and about what was trained."""
    add_command(
        commands,
        quickstart,
        ("--out", "folder for the run (new)", "quickstart"),
        ("--force", "overwrite an earlier quickstart", False),
        ("--set", "change a recipe entry", SET),
        DEVICE,
    )
    parser = add_command(commands, train)
    add_options(
        parser.add_mutually_exclusive_group(required=True),
        ("--recipe", "a shipped recipe (see --list) or a TOML file", {}),
        ("--resume", "folder of the run to continue", {"metavar": "RUN"}),
        ("--list", "list the shipped recipes", False),
    )
    add_options(
        parser,
        ("--name", "name of the run (default: the recipe's)", {}),
        ("--runs", "folder of all runs", {"default": RUNS, "metavar": "FOLDER"}),
        ("--data", "another data set: shapes, cifar10, cifar100, folder:PATH", {}),
        ("--model", "another network (see `minran models`)", {}),
        ("--epochs", "train so many epochs in all", {"type": int}),
        ("--set", "change a recipe entry", SET),
        ("--force", "overwrite a run of that name", False),
        ("--quiet", "print nothing while training", False),
        (
            "--precision",
            "how a GPU calculates (default: the recipe's, which is tf32 unless it says otherwise)",
            {"choices": ["fp32", "tf32", "bf16"]},
        ),
        (
            "--no-capture",
            "on a GPU, launch every kernel of a step by itself instead of one recorded graph",
            False,
        ),
        DATA_DIR,
        DEVICE,
    )
    add_command(
        commands,
        evaluate,
        ("checkpoint", "a checkpoint file, or a run (its best checkpoint)", {}),
        ("--data", "another data set with the same classes", {}),
        DATA_DIR,
        DEVICE,
    )
    add_command(commands, runs, ("folder", "folder of the runs", {"nargs": "?", "default": RUNS}))
    add_command(
        commands,
        plot,
        ("runs", "run folders", {"nargs": "+"}),
        ("--out", "picture file (png, svg or pdf)", "curves.png"),
    )


def quickstart(args: argparse.Namespace) -> int:
    """Train a small network on built-in pictures and show where it looks.

    minran quickstart                 # about a minute on two cores
    minran quickstart --out demo
    """
    from minran import inspect
    from minran.inspect.style import save_figure as save
    from minran.train import load_recipe
    from minran.train import train as run_training

    backend.use(args.device)
    recipe = load_recipe("quickstart", read_changes(args))
    shapes = recipe.data.name == "shapes"
    what = "the built-in shapes pictures" if shapes else recipe.data.name
    print(f"training {recipe.model.name} on {what} (Ctrl-C stops cleanly)", flush=True)
    result = run_training(recipe, args.out, force=args.force)
    tested = [row for row in result.history.epochs if "test_accuracy" in row]
    if not tested:
        print("stopped before the first test: nothing to draw yet")
        return 1
    print(f"test accuracy {tested[-1]['test_accuracy']:.2%} on pictures it has never seen")
    # The pictures it was trained for, every so many-th: a folder's are sorted by class.
    parts: Any = result.parts
    count = min(200, len(parts.test.dataset))
    test = parts.test.dataset.subset(np.arange(count) * len(parts.test.dataset) // count)
    report = inspect.quickstart_report(result.model, result.history.rows, test, parts.preprocess)
    picture = save(report, result.run.folder / "quickstart.png")
    print(f"picture      {picture}\ncheckpoint   {result.run.last_file}")
    return 0


def train(args: argparse.Namespace) -> int:
    """Train a network by a recipe, or continue a run.

    minran train --recipe cifar10-small --data-dir ~/data
    minran train --recipe cifar10-small --set optimizer.lr=0.05 --name slow
    minran train --recipe cifar10-small --data folder:my-pictures
    minran train --resume runs/cifar10-small
    minran train --resume runs/cifar10-small --epochs 16    # train longer

    A run that goes on keeps its recipe but for its length: beside --resume only --epochs,
    --set training.epochs=N or training.iterations=N, --data-dir, --device, --quiet and
    --no-capture are taken.
    """
    from minran.train import list_recipes, load_recipe
    from minran.train import train as run_training

    if args.list:
        takes(args, "train --list", "list")
        for name in list_recipes():
            print(f"{name:24} {load_recipe(name).description}")
        return 0
    resume = args.resume is not None
    if resume:
        takes(args, "train --resume", "resume epochs set data_dir device quiet no_capture")
    message = "train --device cpu does not take --no-capture: it records no graph"
    expect(args.device == "gpu" or not args.no_capture, message, RecipeError)
    backend.use(args.device)
    distributed.start()
    asked = {f"--{key}": value for key, value in vars(args).items() if key not in MAY_DIFFER}
    distributed.expect_alike(asked)
    recipe, folder = distributed.from_leader(lambda: _continued(args) if resume else _new(args))
    expect_data_dir_used(args, recipe.data.name)
    result = run_training(
        recipe,
        folder,
        resume=resume,
        force=args.force,
        data_dir=args.data_dir,
        quiet=args.quiet,
        capture=not args.no_capture,
    )
    for row in result.history.epochs[-1:]:
        if "test_accuracy" in row and distributed.leads():
            print(f"test accuracy {row['test_accuracy']:.2%}, {row['seconds'] / 60:.1f} minutes")
    return 0 if result.finished else 130


def _new(args: argparse.Namespace) -> tuple[Any, Path]:
    """The recipe that was asked for, and the folder of its run."""
    from minran.train import load_recipe
    from minran.train.run import run_folder

    changes = read_changes(
        args,
        data="data.name",
        model="model.name",
        epochs="training.epochs",
        precision="precision",
        name="name",
    )
    recipe = load_recipe(args.recipe, changes)
    return recipe, run_folder(args.runs, recipe.name)


def _continued(args: argparse.Namespace) -> tuple[Any, Path]:
    """The recipe of a run, with the length that was asked for, and its folder."""
    from minran.train import Run, parse
    from minran.train.recipe import LENGTH

    run = Run(args.resume)
    changes = read_changes(args, epochs="training.epochs")
    recipe = parse(run.recipe().to_toml(), "the run's recipe", changes)
    for change in changes:
        key = change.partition("=")[0].strip()
        expect(
            key in LENGTH,
            f"train --resume does not take --set {key}: a run keeps its recipe, only "
            f"{' and '.join(LENGTH)} can change",
            RecipeError,
        )
    return recipe, run.folder


def evaluate(args: argparse.Namespace) -> None:
    """Test a trained network.

    minran evaluate runs/cifar10-small --data-dir ~/data
    minran evaluate quickstart/last.safetensors
    """
    from minran.data import Loader
    from minran.train import evaluate as measure
    from minran.train import load_data, load_model, parse, use_precision
    from minran.train.start import expect_same_pictures

    backend.use(args.device)
    distributed.start()
    path = find_checkpoint(args.checkpoint)
    model, preprocess, checkpoint = load_model(path)
    recipe = parse(checkpoint.recipe)
    use_precision(recipe)
    if args.data:
        recipe.data.name = args.data
    expect_data_dir_used(args, recipe.data.name)
    _, test = load_data(recipe, args.data_dir)
    expect(
        list(test.class_names) == checkpoint.class_names,
        f"{path} knows the classes {', '.join(checkpoint.class_names)}; the data has "
        f"{', '.join(test.class_names)}",
        CheckpointError,
    )
    expect_same_pictures(test=test)
    loss, accuracy = measure(model, Loader(test, recipe.training.test_batch_size, preprocess))
    if distributed.leads():
        print(
            f"{path}: accuracy {accuracy:.2%}, loss {loss:.4f} on {len(test)} {test.name} pictures"
        )


def runs(args: argparse.Namespace) -> None:
    """List and compare runs.

    minran runs
    minran runs elsewhere/
    """
    from minran.train.report import compare, list_runs

    folder = Path(args.folder)
    message = f"there is no folder {folder}; without an argument, the runs in {RUNS}/ are listed"
    expect(folder.is_dir() or args.folder == RUNS, message, CheckpointError)
    print(compare(list_runs(folder)))


def plot(args: argparse.Namespace) -> None:
    """Draw the curves of one or several runs.

    minran plot runs/cifar10-small
    minran plot runs/a runs/b --out compare.svg
    """
    from minran import inspect
    from minran.train import Run, read_history

    expect_writable(args.out, PICTURES, "plot --out")
    runs = list({Path(folder).resolve(): Run(folder) for folder in args.runs}.values())
    for run in runs:
        expect(run.history_file.exists(), f"there is no history in {run.folder}", CheckpointError)
    names = tell_apart([run.folder for run in runs])
    histories = [read_history(run.history_file) for run in runs]
    save_figure(inspect.curves_figure(dict(zip(names, histories, strict=True))), args.out)


def tell_apart(folders: Sequence[Path]) -> list[str]:
    """A name for each of several folders: as much of the end of its path as no other has."""
    paths = [folder.resolve().parts for folder in folders]
    names = []
    for path in paths:
        others = [other for other in paths if other != path]
        lengths = range(1, len(path) + 1)
        alone = (n for n in lengths if all(other[-n:] != path[-n:] for other in others))
        names.append("/".join(path[-next(alone, 1) :]))
    return names
