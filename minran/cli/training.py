"""quickstart, train, evaluate, runs, plot."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minran
from minran import backend, distributed
from minran.arguments import takes
from minran.cli import shared
from minran.errors import CheckpointError, RecipeError, ShapeError, expect
from minran.files import PICTURES, expect_writable, explained
from minran.inspect.probe import expect_size
from minran.streams import text_table, visible

commands = shared.Commands()
add_commands = commands.add
MISTAKES = 8  # wrong answers that `evaluate --mistakes` draws
RUNS = "runs"
"""The folder of all runs, where nobody names another."""
MAY_DIFFER = ("run", "runs", "data_dir", "mirror", "quiet", "debug")
"""What may be another in each process of a training: places and words."""
SHORTER = {
    "data": "data.name",
    "model": "model.name",
    "epochs": "training.epochs",
    "precision": "precision",
    "init": "training.init",
    "name": "name",
}
"""Options of `train` that are a shorter way to write an entry of the recipe."""


@commands(
    ("--out", "folder for the run (new)", "quickstart"),
    ("--force", "overwrite an earlier quickstart", False),
    ("--set", "change a recipe entry", shared.SET),
    shared.DEVICE,
)
def quickstart(args: argparse.Namespace) -> int:
    """Train a small network on built-in images and show where it looks.

    minran quickstart                 # about a minute on two cores
    minran quickstart --out demo
    """
    backend.use(args.device)
    recipe = minran.train.load_recipe("quickstart", shared.read_changes(args))
    shapes = recipe.data.name == "shapes"
    what = "the built-in shapes images" if shapes else recipe.data.name
    print(f"training {recipe.model.name} on {what} (Ctrl-C stops cleanly)", flush=True)
    result = minran.train.train(recipe, args.out, force=args.force)
    tested = [row for row in result.history.epochs if "test_accuracy" in row]
    if not tested:
        print("stopped before the first test: nothing to draw yet")
        return 1
    print(f"test accuracy {tested[-1]['test_accuracy']:.2%} on images it has never seen")
    # The pictures it was trained for, every so many-th: a folder's are sorted by class.
    dataset, prepare = result.parts.test.dataset, result.parts.preprocess
    count = min(200, len(dataset))
    test = dataset.subset(np.arange(count) * len(dataset) // count)
    inspect = minran.inspect
    report = inspect.quickstart_report(result.model, result.history.rows, test, prepare)
    picture = inspect.style.save_figure(report, result.run.folder / "quickstart.png")
    print(f"figure       {picture}\ncheckpoint   {result.run.last_file}")
    return 0


@commands(
    [
        ("--recipe", "a shipped recipe (see --list) or a TOML file", {}),
        ("--resume", "folder of the run to continue", {"metavar": "RUN"}),
        ("--list", "list the shipped recipes", False),
    ],
    ("--name", "name of the run (default: the recipe's)", {}),
    ("--runs", "folder of all runs", {"default": RUNS, "metavar": "FOLDER"}),
    ("--data", "another data set: shapes, cifar10, cifar100, folder:PATH", {}),
    ("--model", "another network (see `minran models`)", {}),
    ("--init", "weights to start from: a shipped name, a run, a safetensors file", {}),
    ("--epochs", "train so many epochs in all", {"type": int}),
    ("--set", "change a recipe entry", shared.SET),
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
    *shared.CIFAR,
    shared.DEVICE,
)
def train(args: argparse.Namespace) -> int:
    """Train a network by a recipe, or continue a run.

    minran train --recipe cifar10-small --data-dir ~/data
    minran train --recipe cifar10-small --set optimizer.lr=0.05 --name slow
    minran train --recipe cifar10-small --data folder:my-images
    minran train --recipe cifar10-small --data folder:my-images --init attention_small_cifar
    minran train --resume runs/cifar10-small
    minran train --resume runs/cifar10-small --epochs 16    # train longer

    A run that goes on keeps its recipe except its length: with --resume only --epochs,
    --set training.epochs=N or training.iterations=N, --data-dir, --mirror, --device,
    --quiet and --no-capture are taken.
    """
    if args.list:
        takes(args, "train --list", "list")
        for name in minran.train.list_recipes():
            print(f"{name:24} {minran.train.load_recipe(name).description}")
        return 0
    resume = args.resume is not None
    if resume:
        takes(args, "train --resume", "resume epochs set data_dir mirror device quiet no_capture")
    message = "train --device cpu does not take --no-capture: it records no graph"
    expect(args.device == "gpu" or not args.no_capture, message, RecipeError)
    backend.use(args.device)
    distributed.start()
    asked = {f"--{key}": value for key, value in vars(args).items() if key not in MAY_DIFFER}
    distributed.expect_alike(asked)
    recipe, folder = distributed.from_leader(lambda: _continued(args) if resume else _new(args))
    shared.find_cifar(args, recipe.data.name)
    how = {name: getattr(args, name) for name in ("force", "data_dir", "quiet")}
    capture = not args.no_capture
    result = minran.train.train(recipe, folder, resume=resume, capture=capture, **how)
    for row in result.history.epochs[-1:]:
        if "test_accuracy" in row and distributed.leads():
            print(f"test accuracy {row['test_accuracy']:.2%}, {row['seconds'] / 60:.1f} minutes")
    return 0 if result.finished else 130


def _new(args: argparse.Namespace) -> tuple[Any, Path]:
    """The recipe that was asked for, and the folder of its run."""
    recipe = minran.train.load_recipe(args.recipe, shared.read_changes(args, **SHORTER))
    return recipe, minran.train.run.run_folder(args.runs, recipe.name)


def _continued(args: argparse.Namespace) -> tuple[Any, Path]:
    """The recipe of a run, with the length that was asked for, and its folder."""
    run = minran.train.Run(args.resume)
    changes = shared.read_changes(args, epochs="training.epochs")
    recipe = minran.train.parse(run.recipe().to_toml(), "the run's recipe", changes)
    length = minran.train.recipe.LENGTH
    for change in changes:
        key = change.partition("=")[0].strip()
        expect(
            key in length,
            f"train --resume does not take --set {key}: a run keeps its recipe, only "
            f"{' and '.join(length)} can change",
            RecipeError,
        )
    return recipe, run.folder


@commands(
    ("checkpoint", "a checkpoint file, or a run (its best checkpoint)", {}),
    ("--data", "another data set with the same classes", {}),
    (
        "--size",
        "pixels a side, if not those of the training (only with a mean per channel)",
        {"type": int},
    ),
    ("--out", "also draw which class is taken for which (png, svg or pdf)", {}),
    ("--mistakes", "also draw the surest wrong answers, of the true classes in turn", {}),
    shared.DARK,
    *shared.CIFAR,
    shared.DEVICE,
)
def evaluate(args: argparse.Namespace) -> None:
    """Test a trained network: its accuracy, that of each class, and what it is taken for.

    minran evaluate runs/cifar10-small --data-dir ~/data
    minran evaluate quickstart/last.safetensors --out confusion.png --mistakes wrong.png
    minran evaluate runs/large --size 320    # trained at 224, as the paper tests Attention-92

    Of more than 20 classes the 20 of the lowest accuracy are printed.
    """
    from minran.train.start import expect_same_pictures

    if args.out is None and args.mistakes is None:
        what = "evaluate without --out and --mistakes"
        takes(args, what, "checkpoint data size data_dir mirror device")
    for option, file in (("--out", args.out), ("--mistakes", args.mistakes)):
        if file is not None:
            expect_writable(file, PICTURES, f"evaluate {option}")
    backend.use(args.device)
    distributed.start()
    path, model, prepare, checkpoint = shared.load(args)
    recipe = minran.train.parse(checkpoint.recipe)
    minran.train.use_precision(recipe)
    if args.data:
        recipe.data.name = args.data
    if args.size is not None:
        shared.expect_least(args.size, "evaluate --size", 1)
        recipe.data.size, prepare = args.size, prepare.resized(args.size)
        with explained(RecipeError, f"{recipe.model.name}: ", kinds=ShapeError):
            expect_size(model, args.size)
    test = shared.test_set(args, recipe)
    expect(
        list(test.class_names) == checkpoint.class_names,
        f"{path} knows the classes {', '.join(checkpoint.class_names)}; the data has "
        f"{', '.join(test.class_names)}",
        CheckpointError,
    )
    expect_same_pictures(test=test)
    loader = minran.data.Loader(test, recipe.training.test_batch_size, prepare)
    counts = np.zeros((test.num_classes, test.num_classes), np.int64)
    loss, accuracy = minran.train.evaluate(model, loader, counts)
    if distributed.leads():
        print(f"{path}: accuracy {accuracy:.2%}, loss {loss:.4f} on {len(test)} {test.name} images")
        print(_by_class(counts, test.class_names))
        if args.out is not None:
            draw = minran.inspect.confusion_figure
            shared.save_figure(draw(counts, test.class_names, args.dark), args.out)
        if args.mistakes is not None:
            _draw_mistakes(args, model, test, loader)


def _draw_mistakes(args: argparse.Namespace, model: Any, test: Any, loader: Any) -> None:
    """The surest wrong answers, with the name of the true class above each image."""
    numbers, labels, shares = minran.inspect.surest_mistakes(model, loader.epoch(0), MISTAKES)
    if not len(numbers):
        print("no wrong answer: nothing is drawn for --mistakes")
        return
    chosen = minran.data.in_turns(labels)[:MISTAKES]
    rows = test.images[numbers[chosen]], shares[chosen], test.class_names
    draw = minran.inspect.prediction_figure
    figure = draw(*rows, 3, args.dark, labels=labels[chosen].tolist())
    shared.save_figure(figure, args.mistakes)


def _by_class(counts: np.ndarray, names: Sequence[str]) -> str:
    """A table of classes: images, accuracy, and the class it is taken for most often."""
    right, seen = counts.diagonal(), counts.sum(axis=1)
    wrong = counts - np.diag(right)
    shown = list(range(len(names)))
    if len(shown) > 20:  # a class without pictures comes last
        shown.sort(key=lambda k: right[k] / seen[k] if seen[k] else 2)
    lines = [("class", "pictures", "accuracy", "taken for most often")]
    for k in shown[:20]:
        most = int(wrong[k].argmax())
        taken = f"{visible(names[most])} ({wrong[k, most]:,})" if wrong[k, most] else "-"
        share = f"{right[k] / seen[k]:.2%}" if seen[k] else "-"
        lines.append((visible(names[k]), f"{seen[k]:,}", share, taken))
    return "\n".join(text_table(lines, right=range(1, 3)))


@commands(("folder", "folder of the runs", {"nargs": "?", "default": RUNS}))
def runs(args: argparse.Namespace) -> None:
    """List and compare runs.

    minran runs
    minran runs elsewhere/
    """
    folder = Path(args.folder)
    message = f"there is no folder {folder}; without an argument, the runs in {RUNS}/ are listed"
    expect(folder.is_dir() or args.folder == RUNS, message, CheckpointError)
    print(minran.train.compare(minran.train.list_runs(folder)))


@commands(
    ("runs", "run folders", {"nargs": "+"}),
    ("--out", "image file (png, svg or pdf)", "curves.png"),
)
def plot(args: argparse.Namespace) -> None:
    """Draw the curves of one or several runs.

    minran plot runs/cifar10-small
    minran plot runs/a runs/b --out compare.svg
    """
    expect_writable(args.out, PICTURES, "plot --out")
    runs = {Path(folder).resolve(): minran.train.Run(folder) for folder in args.runs}
    for run in runs.values():
        expect(run.history_file.exists(), f"there is no history in {run.folder}", CheckpointError)
    histories = [minran.train.read_history(run.history_file) for run in runs.values()]
    named = dict(zip(tell_apart(list(runs)), histories, strict=True))
    shared.save_figure(minran.inspect.curves_figure(named), args.out)


def tell_apart(folders: Sequence[Path]) -> list[str]:
    """A name for each of several folders: as much of the end of its path as no other has."""
    paths = [folder.parts for folder in folders]
    names = []
    for path in paths:
        others = [other for other in paths if other != path]
        lengths = range(1, len(path) + 1)
        alone = (n for n in lengths if all(other[-n:] != path[-n:] for other in others))
        names.append("/".join(path[-next(alone, 1) :]))
    return names
