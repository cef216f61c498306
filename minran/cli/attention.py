"""masks, gradcam: where a network looks, in the user's own images or in test images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import minran
from minran import backend
from minran.arguments import takes
from minran.cli import shared
from minran.errors import CheckpointError, DataError, RecipeError, ShapeError, expect
from minran.files import PICTURES, expect_writable

commands = shared.Commands()
add_commands = commands.add
STRETCH = ("--stretch", "let each map run from its own lowest to its own highest value", False)
CHANNEL_RULES = ("variance", "mean", "range", "spots")
# What each figure takes beside what all take.
TAKEN = {
    "masks": ("rule", "top", "channels", "stretch"),
    "before-after": ("channels",),
    "histograms": (),
    "epochs": ("also", "stretch"),
}
# Channels are ranked over so many test pictures, not over the few that are shown.
RANKED_OVER = 200
LOOKED_AT = (
    shared.CHECKPOINT,
    ("files", "images (default: test images of its data, each class in turn)", {"nargs": "*"}),
    ("--count", "images to draw (default: 6, or all files)", 6),
    shared.DARK,
    *shared.CIFAR,
    shared.DEVICE,
)


@dataclass
class Looked:
    """A trained network and the images to look at: the first `shown` of them.

    inputs: all images, prepared for the network.
    """

    model: Any
    class_names: list[str]
    pictures: np.ndarray
    inputs: np.ndarray
    shown: int
    labels: np.ndarray | None = None
    true_masks: np.ndarray | None = None


def look(args: argparse.Namespace, more: int = 0, turns: bool = True) -> Looked:
    """The network, and the user's images or test images of its data (`more` at least).

    turns: take one image of each class after the other, as a folder is sorted by class.
    """
    backend.use(args.device)
    shared.expect_least(args.count, "--count", 1)
    _, model, prepare, checkpoint = shared.load(args)
    names = checkpoint.class_names
    if args.files:
        files = args.files[: args.count] if "count" in args.given else args.files
        pictures = shared.read_pictures(files, prepare, checkpoint)
        return Looked(model, names, pictures, prepare(pictures), len(pictures))
    test = shared.test_set(args, minran.train.parse(checkpoint.recipe))
    order = minran.data.in_turns(test.labels) if turns else np.arange(len(test))
    part = test.subset(order[: max(args.count, more)])
    shown, pictures = min(args.count, len(part)), part.images[:]
    return Looked(model, names, pictures, prepare(pictures), shown, part.labels, part.masks)


def expect_taken(args: argparse.Namespace, command: str, *options: str) -> None:
    """Refuse what a figure has no use for: `options`, and what all figures take, are right."""
    pictures = "files" if args.files else "data_dir mirror"
    mode = f"{command} of image files" if args.files else command
    takes(args, mode, "checkpoint dark device out count", pictures, *options)
    expect_writable(args.out, PICTURES, f"{command} --out")


@commands(
    *LOOKED_AT,
    (
        "--figure",
        "masks over the images; features before and after the gate; histograms of the "
        "values; one mask over the epochs (default: masks)",
        {"choices": TAKEN, "default": "masks"},
    ),
    ("--stages", "stages to draw (default: all)", {"metavar": "1,2"}),
    (
        "--rule",
        "also draw the channels that rank first under this rule",
        {"choices": CHANNEL_RULES},
    ),
    ("--top", "channels per mask (default: 2)", 2),
    ("--channels", "also draw these channels", {"metavar": "0,5"}),
    (
        "--also",
        "another checkpoint for --figure epochs (instead of those the run kept)",
        {"action": "append", "default": [], "metavar": "CHECKPOINT"},
    ),
    STRETCH,
    ("--score", "print scores against true masks (shapes) and stop", False),
    ("--pictures", "test images to score on (default: 400)", 400),
    ("--out", "image file (png, svg or pdf)", "masks.png"),
)
def masks(args: argparse.Namespace) -> None:
    """Draw the attention masks over images, or score them.

    minran masks quickstart
    minran masks runs/cifar10-small photo1.jpg photo2.jpg
    minran masks quickstart --stages 2,3 --rule spots --top 3
    minran masks quickstart --channels 0,5,17 --out chosen.svg
    minran masks quickstart --figure before-after --stages 1
    minran masks quickstart --score                 # against true object masks
    minran masks runs/a --figure epochs             # needs training.keep_every=1

    Images may have any size and format; data.size and data.fit of the run's recipe apply.
    """
    if args.score:
        return _score(args)
    expect_taken(args, f"masks --figure {args.figure}", "figure", "stages", *TAKEN[args.figure])
    by_hand = args.channels is not None
    if by_hand or args.rule is None:
        # The channels are given, or only the mean over them is drawn: there is nothing to rank.
        mode = "masks --channels" if by_hand else "masks without --rule"
        takes(args, mode, *(name for name in args.given if name not in ("rule", "top")))
    channels = _read_numbers(args.channels, "--channels")
    looked = look(args, RANKED_OVER)
    shown = looked.pictures[: looked.shown]
    if args.figure == "epochs":
        columns = _epochs(args, shown)
        attentions = next(iter(columns.values()))
        draw = minran.inspect.mask_over_epochs_figure
        how = args.dark, args.stretch
        figures = [draw(shown, columns, index, *how) for index in range(len(attentions))]
        return _save(figures, attentions, args.out)
    attentions = _attentions(looked.model, looked.inputs, args.stages)
    if args.figure == "before-after":
        message = f"masks --figure before-after draws one channel; --channels names {args.channels}"
        expect(channels is None or len(channels) == 1, message, RecipeError)
        channel = channels[0] if channels else None
        draw = minran.inspect.before_after_figure
        figures = [draw(shown, attention, channel, args.dark) for attention in attentions]
    elif args.figure == "histograms":
        figures = [minran.inspect.histogram_figure(attentions, dark=args.dark)]
    else:
        named = looked.true_masks, looked.class_names, looked.labels
        chosen = args.rule, args.top, args.dark, channels, args.stretch
        figures = [minran.inspect.mask_figure(shown, attentions, *named, *chosen)]
    _save(figures, attentions, args.out)


def _score(args: argparse.Namespace) -> None:
    """Print how well the masks mark the objects."""
    takes(args, "masks --score", "checkpoint files score rule pictures data_dir mirror device")
    looked = look(args, args.pictures, turns=False)
    if looked.true_masks is None:
        raise DataError(
            "--score needs true object masks, which only the built-in shapes have: give a network "
            "trained on shapes, and no files"
        )
    # --pictures is also the most: --count only says how many are drawn.
    inputs, true_masks = looked.inputs[: args.pictures], looked.true_masks[: args.pictures]
    scores = minran.inspect.score_attention(looked.model, inputs, true_masks, args.rule)
    print(minran.inspect.score_table(scores))
    print(
        f"scored on {len(inputs) - len(inputs) // 2} test images; thresholds, and whether bright "
        "or dark marks the object, were chosen on as many others (the centre's threshold, in its "
        "favour, on these)"
    )


def _epochs(args: argparse.Namespace, shown: np.ndarray) -> dict[str, list[Any]]:
    """How the masks came about: a column for each checkpoint."""
    files = [Path(file) for file in args.also] or minran.train.Run(args.checkpoint).epoch_files()
    expect(
        bool(files),
        f"{args.checkpoint} kept no checkpoints of its epochs: train with --set "
        "training.keep_every=1, or name checkpoints with --also",
        CheckpointError,
    )
    columns: dict[str, list[Any]] = {}
    for file in files:
        model, prepare, checkpoint = minran.train.load_model(file)
        name = f"epoch {checkpoint.progress.epoch}"
        name = name if name not in columns else f"{file.parent.name}, {name}"
        columns[name] = _attentions(model, prepare(shown), args.stages)
    return columns


def _read_numbers(text: str | None, option: str) -> list[int] | None:
    """Read "0,5,17" as [0, 5, 17]; None if the option was not given. Raises RecipeError."""
    try:
        return None if text is None else [int(part) for part in text.split(",")]
    except ValueError as error:
        raise RecipeError(f"{option} wants whole numbers such as 1,3; got {text!r}") from error


def _attentions(model: Any, inputs: np.ndarray, wanted: str | None) -> list[Any]:
    """The attention modules of the stages that --stages names: what they do to the images."""
    attentions = minran.inspect.attention_maps(model, inputs)
    numbers = _read_numbers(wanted, "--stages")
    if numbers is None:
        return attentions
    stage_of = [int(a.name.split(".")[1]) + 1 for a in attentions]
    known = ", ".join(map(str, sorted(set(stage_of))))
    message = f"--stages: the network has masks in stages {known}; got {wanted}"
    expect(set(numbers) <= set(stage_of), message, RecipeError)
    return [a for a, stage in zip(attentions, stage_of, strict=True) if stage in numbers]


def _save(figures: Sequence[Any], attentions: Sequence[Any], out: str) -> None:
    """One file, or one for each attention module: masks-stage-1.png."""
    path = Path(out)
    for figure, attention in zip(figures, attentions):
        words = attention.title.replace(",", "").replace(" ", "-")
        one = path if len(figures) == 1 else path.with_name(f"{path.stem}-{words}{path.suffix}")
        shared.save_figure(figure, one)


@commands(
    *LOOKED_AT,
    ("--class", "a class (default: the network's answer)", {"dest": "wanted"}),
    ("--layer", "a module's name (default: the last attention module)", {}),
    STRETCH,
    ("--out", "image file (png, svg or pdf)", "gradcam.png"),
)
def gradcam(args: argparse.Namespace) -> None:
    """Draw where a class is seen (Grad-CAM), next to the masks.

    minran gradcam quickstart
    minran gradcam runs/cifar10-small photo.jpg --class cat
    minran gradcam quickstart --layer tail.0 --out gradcam.svg

    Images may have any size and format; data.size and data.fit of the run's recipe apply.
    """
    expect_taken(args, "gradcam", "wanted", "layer", "stretch")
    looked = look(args)
    model, inputs, names = looked.model, looked.inputs, looked.class_names
    message = f"--class: there is no class {args.wanted!r}; known: {', '.join(names)}"
    expect(args.wanted is None or args.wanted in names, message, RecipeError)
    shares = minran.inspect.class_probabilities(model, inputs)
    classes = shares.argmax(axis=1)
    if args.wanted is not None:
        classes = np.full(len(shares), names.index(args.wanted))
    maps = minran.inspect.gradcam(model, inputs, classes, args.layer)
    try:
        attentions = minran.inspect.attention_maps(model, inputs)
    except ShapeError:
        attentions = []  # a network without masks: Grad-CAM alone
    answers = [f"{names[k]}\n{row[k]:.0%}" for k, row in zip(classes, shares, strict=True)]
    draw = minran.inspect.gradcam_figure
    how = looked.true_masks, args.dark, args.stretch
    figure = draw(looked.pictures, maps, answers, attentions, *how)
    shared.save_figure(figure, args.out)
