"""masks, gradcam: where a network looks, in the user's own pictures or in test pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend
from minran.arguments import add_command, takes
from minran.cli.shared import (
    CHECKPOINT,
    DARK,
    DATA_DIR,
    DEVICE,
    expect_data_dir_used,
    expect_least,
    find_checkpoint,
    save_figure,
)
from minran.errors import CheckpointError, DataError, RecipeError, ShapeError, expect
from minran.files import PICTURES, expect_writable

CHANNEL_RULES = ("variance", "mean", "range", "spots")
# What each figure takes beside what all take.
TAKEN = {
    "masks": ("rule", "top", "channels"),
    "before-after": ("channels",),
    "histograms": (),
    "epochs": ("also",),
}
# Channels are ranked over so many test pictures, not over the few that are shown.
RANKED_OVER = 200
LOOKED_AT = (
    CHECKPOINT,
    ("files", "pictures (default: test pictures of its data)", {"nargs": "*"}),
    ("--count", "pictures to draw (default: 6, or all files)", 6),
    DARK,
    DATA_DIR,
    DEVICE,
)


def add_commands(commands: Any) -> None:
    """The commands about where a network looks."""
    add_command(
        commands,
        masks,
        *LOOKED_AT,
        (
            "--figure",
            "masks over the pictures; features before and after the gate; histograms of the "
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
        ("--score", "print scores against true masks (shapes) and stop", False),
        ("--pictures", "test pictures to score on (default: 400)", 400),
        ("--out", "picture file (png, svg or pdf)", "masks.png"),
    )
    add_command(
        commands,
        gradcam,
        *LOOKED_AT,
        ("--class", "a class (default: the network's answer)", {"dest": "wanted"}),
        ("--layer", "a module's name (default: the last attention module)", {}),
        ("--out", "picture file (png, svg or pdf)", "gradcam.png"),
    )


@dataclass
class Looked:
    """A trained network and the pictures to look at: the first `shown` of them."""

    model: Any
    prepare: Any
    class_names: list[str]
    pictures: np.ndarray
    shown: int
    labels: np.ndarray | None = None
    true_masks: np.ndarray | None = None

    @property
    def inputs(self) -> np.ndarray:
        """All pictures, prepared for the network."""
        return self.prepare(self.pictures)

    @property
    def true_shown(self) -> np.ndarray | None:
        """The true masks of the pictures that are shown."""
        return None if self.true_masks is None else self.true_masks[: self.shown]


def look(args: argparse.Namespace, more: int = 0) -> Looked:
    """The network, and the user's pictures or test pictures of its data (`more` at least)."""
    from minran.data import read_pictures
    from minran.train import load_data, load_model, parse

    backend.use(args.device)
    expect_least(args.count, "--count", 1)
    model, prepare, checkpoint = load_model(find_checkpoint(args.checkpoint))
    names = checkpoint.class_names
    if args.files:
        files = args.files[: args.count] if "count" in args.given else args.files
        pictures = read_pictures(files, prepare.mean.shape[0])
        return Looked(model, prepare, names, pictures, len(pictures))
    recipe = parse(checkpoint.recipe)
    expect_data_dir_used(args, recipe.data.name)
    _, test = load_data(recipe, args.data_dir)
    part = test.subset(slice(max(args.count, more)))
    shown = min(args.count, len(part))
    return Looked(model, prepare, names, part.images, shown, part.labels, part.masks)


def expect_taken(args: argparse.Namespace, command: str, *options: str) -> None:
    """Refuse what a figure has no use for: `options`, and what all figures take, are right."""
    pictures = "files" if args.files else "data_dir"
    mode = f"{command} of picture files" if args.files else command
    takes(args, mode, "checkpoint", "dark", "device", "out", "count", pictures, *options)
    expect_writable(args.out, PICTURES, f"{command} --out")


def masks(args: argparse.Namespace) -> None:
    """Draw the attention masks over pictures, or score them.

    minran masks quickstart
    minran masks runs/cifar10-small photo1.jpg photo2.jpg
    minran masks quickstart --stages 2,3 --rule spots --top 3
    minran masks quickstart --channels 0,5,17 --out chosen.svg
    minran masks quickstart --figure before-after --stages 1
    minran masks quickstart --score                 # against true object masks
    minran masks runs/a --figure epochs             # needs training.keep_every=1

    Pictures may have any size and format: the central square is cut out and resized.
    """
    from minran import inspect

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
    if args.figure == "epochs":
        return _draw_epochs(args, looked)
    shown = looked.pictures[: looked.shown]
    attentions = _stages(inspect.attention_maps(looked.model, looked.inputs), args.stages)
    if args.figure == "before-after":
        message = f"masks --figure before-after draws one channel; --channels names {args.channels}"
        expect(channels is None or len(channels) == 1, message, RecipeError)
        channel = channels[0] if channels else None
        figures = [inspect.before_after_figure(shown, a, channel, args.dark) for a in attentions]
        return _save(figures, attentions, args.out)
    if args.figure == "histograms":
        figure = inspect.histogram_figure(attentions, dark=args.dark)
    else:
        figure = inspect.mask_figure(
            shown,
            attentions,
            looked.true_shown,
            looked.class_names,
            None if looked.labels is None else looked.labels[: looked.shown],
            args.rule,
            args.top,
            args.dark,
            channels,
        )
    save_figure(figure, args.out)


def _score(args: argparse.Namespace) -> None:
    """Print how well the masks mark the objects."""
    from minran import inspect

    takes(args, "masks --score", "checkpoint files score rule pictures data_dir device")
    looked = look(args, args.pictures)
    if looked.true_masks is None:
        raise DataError(
            "--score needs true object masks, which only the built-in shapes have: give a network "
            "trained on shapes, and no files"
        )
    # --pictures is also the most: --count only says how many are drawn.
    part = slice(args.pictures)
    scores = inspect.score_attention(
        looked.model, looked.inputs[part], looked.true_masks[part], args.rule
    )
    print(inspect.score_table(scores))
    half = len(looked.pictures[part]) - len(looked.pictures[part]) // 2
    print(
        f"scored on {half} test pictures; thresholds, and whether bright or dark marks the object, "
        "were chosen on as many others (the centre's threshold, in its favour, on these)"
    )


def _draw_epochs(args: argparse.Namespace, looked: Looked) -> None:
    """How the masks came about: a column for each checkpoint."""
    from minran import inspect
    from minran.train import Run, load_model

    files = [Path(file) for file in args.also] or Run(args.checkpoint).epoch_files()
    expect(
        bool(files),
        f"{args.checkpoint} kept no checkpoints of its epochs: train with --set "
        "training.keep_every=1, or name checkpoints with --also",
        CheckpointError,
    )
    columns: dict[str, list[Any]] = {}
    shown = looked.pictures[: looked.shown]
    for file in files:
        model, prepare, checkpoint = load_model(file)
        name = f"epoch {checkpoint.progress.epoch}"
        name = name if name not in columns else f"{file.parent.name}, {name}"
        columns[name] = _stages(inspect.attention_maps(model, prepare(shown)), args.stages)
    first = next(iter(columns.values()))
    draw = inspect.mask_over_epochs_figure
    figures = [draw(shown, columns, index, args.dark) for index in range(len(first))]
    _save(figures, first, args.out)


def _read_numbers(text: str | None, option: str) -> list[int] | None:
    """Read "0,5,17" as [0, 5, 17]; None if the option was not given. Raises RecipeError."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise RecipeError(f"{option} wants whole numbers such as 1,3; got {text!r}") from error


def _stages(attentions: Sequence[Any], wanted: str | None) -> list[Any]:
    """The attention modules of the stages that --stages names."""
    numbers = _read_numbers(wanted, "--stages")
    if numbers is None:
        return list(attentions)
    stage_of = [int(a.name.split(".")[1]) + 1 for a in attentions]
    expect(
        set(numbers) <= set(stage_of),
        f"--stages: the network has masks in stages {', '.join(map(str, sorted(set(stage_of))))}; "
        f"got {wanted}",
        RecipeError,
    )
    return [a for a, stage in zip(attentions, stage_of, strict=True) if stage in numbers]


def _save(figures: Sequence[Any], attentions: Sequence[Any], out: str) -> None:
    """One file, or one for each attention module: masks-stage-1.png."""
    path = Path(out)
    for figure, attention in zip(figures, attentions, strict=True):
        words = attention.title.replace(",", "").replace(" ", "-")
        one = path if len(figures) == 1 else path.with_name(f"{path.stem}-{words}{path.suffix}")
        save_figure(figure, one)


def gradcam(args: argparse.Namespace) -> None:
    """Draw where a class is seen (Grad-CAM), beside the masks.

    minran gradcam quickstart
    minran gradcam runs/cifar10-small photo.jpg --class cat
    minran gradcam quickstart --layer tail.0 --out gradcam.svg

    Pictures may have any size and format: the central square is cut out and resized.
    """
    from minran import inspect

    expect_taken(args, "gradcam", "wanted", "layer")
    looked = look(args)
    names = looked.class_names
    message = f"--class: there is no class {args.wanted!r}; known: {', '.join(names)}"
    expect(args.wanted is None or args.wanted in names, message, RecipeError)
    shares = inspect.class_probabilities(looked.model, looked.inputs)
    classes = shares.argmax(axis=1)
    if args.wanted is not None:
        classes = np.full(len(shares), names.index(args.wanted))
    maps = inspect.gradcam(looked.model, looked.inputs, classes, args.layer)
    try:
        attentions = inspect.attention_maps(looked.model, looked.inputs)
    except ShapeError:
        attentions = []  # a network without masks: Grad-CAM alone
    answers = [f"{names[k]}\n{row[k]:.0%}" for k, row in zip(classes, shares, strict=True)]
    figure = inspect.gradcam_figure(
        looked.pictures, maps, answers, attentions, looked.true_shown, args.dark
    )
    save_figure(figure, args.out)
