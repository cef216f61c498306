"""The pictures that `masks` and `gradcam` look at: the user's own, or test pictures."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

from minran.arguments import takes
from minran.cli.shared import add_data_dir, add_device, expect_data_dir_used, use_device
from minran.errors import RecipeError, expect
from minran.files import PICTURES, expect_writable


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """The options of both commands."""
    parser.add_argument("checkpoint", help="a checkpoint file, or a run")
    parser.add_argument("files", nargs="*", help="pictures (default: test pictures of its data)")
    parser.add_argument(
        "--count", type=int, default=6, help="pictures to draw (default: 6, or all files)"
    )
    parser.add_argument("--dark", action="store_true", help="for dark pages")
    add_data_dir(parser)
    add_device(parser)


@dataclass
class Looked:
    """A trained network and the pictures to look at: the first `shown` of them."""

    model: Any
    prepare: Any
    class_names: list[str]
    pictures: np.ndarray
    shown: int
    labels: np.ndarray | None
    true_masks: np.ndarray | None

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
    from minran.cli.training import find_checkpoint
    from minran.data import read_pictures
    from minran.train import load_data, load_model, parse

    use_device(args)
    expect(args.count >= 1, f"--count must be at least 1, got {args.count}", RecipeError)
    model, prepare, checkpoint = load_model(find_checkpoint(args.checkpoint))
    names = checkpoint.class_names
    if args.files:
        files = args.files[: args.count] if "count" in args.given else args.files
        pictures = read_pictures(files, prepare.mean.shape[0])
        return Looked(model, prepare, names, pictures, len(pictures), None, None)
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
