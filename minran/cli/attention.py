"""masks, gradcam."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minran.arguments import takes
from minran.cli.pictures import Looked, add_pictures, expect_taken, look
from minran.cli.shared import (
    add_command,
    read_numbers,
    save_figure,
)
from minran.errors import CheckpointError, DataError, RecipeError, expect

CHANNEL_RULES = ("variance", "mean", "range", "spots")
# What each figure takes beside what all take.
TAKEN = {
    "masks": ("rule", "top", "channels"),
    "before-after": ("channels",),
    "histograms": (),
    "epochs": ("also",),
}
ANY_SIZE = "Pictures may have any size and format: the central square is cut out and resized."
# Channels are ranked over so many test pictures, not over the few that are shown.
RANKED_OVER = 200


def add_commands(commands: Any) -> None:
    """The commands about where a network looks."""
    parser = add_command(
        commands,
        "masks",
        masks,
        "draw the attention masks over pictures, or score them",
        "  minran masks quickstart\n"
        "  minran masks runs/cifar10-small photo1.jpg photo2.jpg\n"
        "  minran masks quickstart --stages 2,3 --rule spots --top 3\n"
        "  minran masks quickstart --channels 0,5,17 --out chosen.svg\n"
        "  minran masks quickstart --figure before-after --stages 1\n"
        "  minran masks quickstart --score                 # against true object masks\n"
        "  minran masks runs/a --figure epochs             # needs training.keep_every=1\n\n"
        f"{ANY_SIZE}",
    )
    add_pictures(parser)
    parser.add_argument(
        "--figure",
        choices=TAKEN,
        default="masks",
        help="masks over the pictures; features before and after the gate; histograms of the "
        "values; one mask over the epochs (default: masks)",
    )
    parser.add_argument("--stages", metavar="1,2", help="stages to draw (default: all)")
    parser.add_argument(
        "--rule",
        choices=CHANNEL_RULES,
        help="also draw the channels that rank first under this rule",
    )
    parser.add_argument("--top", type=int, default=2, help="channels per mask (default: 2)")
    parser.add_argument("--channels", metavar="0,5", help="also draw these channels")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="CHECKPOINT",
        help="another checkpoint for --figure epochs (instead of those the run kept)",
    )
    parser.add_argument(
        "--score", action="store_true", help="print scores against true masks (shapes) and stop"
    )
    parser.add_argument(
        "--pictures", type=int, default=400, help="test pictures to score on (default: 400)"
    )
    parser.add_argument("--out", default="masks.png", help="picture file (png, svg or pdf)")

    parser = add_command(
        commands,
        "gradcam",
        gradcam,
        "draw where a class is seen (Grad-CAM), beside the masks",
        "  minran gradcam quickstart\n"
        "  minran gradcam runs/cifar10-small photo.jpg --class cat\n"
        f"  minran gradcam quickstart --layer tail.0 --out gradcam.svg\n\n{ANY_SIZE}",
    )
    add_pictures(parser)
    parser.add_argument("--class", dest="wanted", help="a class (default: the network's answer)")
    parser.add_argument("--layer", help="a module's name (default: the last attention module)")
    parser.add_argument("--out", default="gradcam.png", help="picture file (png, svg or pdf)")


def masks(args: argparse.Namespace) -> int:
    """Save a figure of masks, or print scores."""
    from minran import inspect

    if args.score:
        return _score(args)
    expect_taken(args, f"masks --figure {args.figure}", "figure", "stages", *TAKEN[args.figure])
    by_hand = args.channels is not None
    if by_hand or args.rule is None:
        # The channels are given, or only the mean over them is drawn: there is nothing to rank.
        mode = "masks --channels" if by_hand else "masks without --rule"
        takes(args, mode, *(name for name in args.given if name not in ("rule", "top")))
    channels = read_numbers(args.channels, "--channels")
    looked = look(args, RANKED_OVER)
    shown = looked.pictures[: looked.shown]
    if args.figure == "epochs":
        return _draw_epochs(args, looked)
    attentions = _stages(inspect.attention_maps(looked.model, looked.inputs), args.stages)
    if args.figure == "before-after":
        expect(
            channels is None or len(channels) == 1,
            f"masks --figure before-after draws one channel; --channels names {args.channels}",
            RecipeError,
        )
        channel = channels[0] if channels else None
        figures = [inspect.before_after_figure(shown, a, channel, args.dark) for a in attentions]
        _save(figures, attentions, args.out)
    elif args.figure == "histograms":
        save_figure(inspect.histogram_figure(attentions, dark=args.dark), args.out)
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
    return 0


def _score(args: argparse.Namespace) -> int:
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
    return 0


def _draw_epochs(args: argparse.Namespace, looked: Looked) -> int:
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
    figures = [
        inspect.mask_over_epochs_figure(shown, columns, index, args.dark)
        for index in range(len(first))
    ]
    _save(figures, first, args.out)
    return 0


def _stages(attentions: Sequence[Any], wanted: str | None) -> list[Any]:
    """The attention modules of the stages that --stages names."""
    numbers = read_numbers(wanted, "--stages")
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
        save_figure(figure, str(one))


def gradcam(args: argparse.Namespace) -> int:
    """Save a figure of Grad-CAM beside the masks."""
    from minran import inspect
    from minran.errors import ShapeError

    expect_taken(args, "gradcam", "wanted", "layer")
    looked = look(args)
    names = looked.class_names
    expect(
        args.wanted is None or args.wanted in names,
        f"--class: there is no class {args.wanted!r}; known: {', '.join(names)}",
        RecipeError,
    )
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
    return 0
