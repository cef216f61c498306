"""quickstart, train, evaluate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from minran.arguments import takes
from minran.cli.history import RUNS
from minran.cli.shared import (
    add_command,
    add_data_dir,
    add_device,
    add_set,
    expect_data_dir_used,
    read_changes,
    use_device,
)
from minran.errors import CheckpointError, RecipeError, expect

MAY_DIFFER = ("run", "runs", "data_dir", "quiet", "debug")
"""What may be another in each process of a training: places and words."""


def add_commands(commands: Any) -> None:
    """The commands about training."""
    parser = add_command(
        commands,
        "quickstart",
        quickstart,
        "train a small network on built-in pictures and show where it looks",
        "  minran quickstart                 # about a minute on two cores\n"
        "  minran quickstart --out demo",
    )
    parser.add_argument("--out", default="quickstart", help="folder for the run (new)")
    parser.add_argument("--force", action="store_true", help="overwrite an earlier quickstart")
    add_set(parser)
    add_device(parser)

    parser = add_command(
        commands,
        "train",
        train,
        "train a network by a recipe, or continue a run",
        "  minran train --recipe cifar10-small --data-dir ~/data\n"
        "  minran train --recipe cifar10-small --set optimizer.lr=0.05 --name slow\n"
        "  minran train --recipe cifar10-small --data folder:my-pictures\n"
        "  minran train --resume runs/cifar10-small\n"
        "  minran train --resume runs/cifar10-small --epochs 16    # train longer\n\n"
        "A run that goes on keeps its recipe but for its length: beside --resume only --epochs,\n"
        "--set training.epochs=N or training.iterations=N, --data-dir, --device, --quiet and\n"
        "--no-capture are taken.",
    )
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--recipe", help="a shipped recipe (see --list) or a TOML file")
    group.add_argument("--resume", metavar="RUN", help="folder of the run to continue")
    group.add_argument("--list", action="store_true", help="list the shipped recipes")
    parser.add_argument("--name", help="name of the run (default: the recipe's)")
    parser.add_argument("--runs", default=RUNS, metavar="FOLDER", help="folder of all runs")
    parser.add_argument("--data", help="another data set: shapes, cifar10, cifar100, folder:PATH")
    parser.add_argument("--model", help="another network (see `minran models`)")
    parser.add_argument("--epochs", type=int, help="train so many epochs in all")
    add_set(parser)
    parser.add_argument("--force", action="store_true", help="overwrite a run of that name")
    parser.add_argument("--quiet", action="store_true", help="print nothing while training")
    parser.add_argument(
        "--precision",
        choices=["fp32", "tf32", "bf16"],
        help="how a GPU calculates (default: the recipe's, which is tf32 unless it says otherwise)",
    )
    parser.add_argument(
        "--no-capture",
        action="store_true",
        help="on a GPU, launch every kernel of a step by itself instead of one recorded graph",
    )
    add_data_dir(parser)
    add_device(parser)

    parser = add_command(
        commands,
        "evaluate",
        evaluate,
        "test a trained network",
        "  minran evaluate runs/cifar10-small --data-dir ~/data\n"
        "  minran evaluate quickstart/last.safetensors",
    )
    parser.add_argument("checkpoint", help="a checkpoint file, or a run (its best checkpoint)")
    parser.add_argument("--data", help="another data set with the same classes")
    add_data_dir(parser)
    add_device(parser)


def quickstart(args: argparse.Namespace) -> int:
    """Train on shapes, test, draw curves and masks."""
    from minran import inspect
    from minran.inspect.style import save_figure as save
    from minran.train import load_recipe
    from minran.train import train as run_training

    use_device(args)
    recipe = load_recipe("quickstart", read_changes(args))
    shapes = recipe.data.name == "shapes"
    what = "the built-in shapes pictures" if shapes else recipe.data.name
    print(
        f"training {recipe.model.name} on {what} (Ctrl-C stops cleanly)",
        flush=True,
    )
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
    """Train by a recipe or resume; under mpiexec on all its processes."""
    from minran import distributed
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
    expect(
        args.device == "gpu" or not args.no_capture,
        "train --device cpu does not take --no-capture: it records no graph",
        RecipeError,
    )
    use_device(args)
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


def evaluate(args: argparse.Namespace) -> int:
    """Print loss and accuracy of a checkpoint on its test pictures."""
    from minran import distributed
    from minran.data import Loader
    from minran.train import evaluate as measure
    from minran.train import load_data, load_model, parse, use_precision
    from minran.train.steps import expect_same_pictures

    use_device(args)
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
    return 0


def find_checkpoint(path: str) -> Path:
    """The checkpoint file itself, or the best (else the last) of a run folder."""
    from minran.train import Run

    given = Path(path)
    if given.is_dir():
        run = Run(given)
        given = run.best_file if run.best_file.exists() else run.last_file
    expect(given.is_file(), f"there is no checkpoint {given}", CheckpointError)
    return given
