"""models, summary, graph, masks, predict."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minran.cli.shared import add_command, add_device, use_device


def add_commands(commands: Any) -> None:
    """The commands about looking into networks."""
    add_command(commands, "models", models, "list the networks", "  minran models")

    parser = add_command(
        commands,
        "summary",
        summary,
        "print a network's modules, shapes, parameters and multiply-adds",
        "  minran summary attention56\n  minran summary attention_small_cifar --depth 6",
    )
    parser.add_argument("model", help="a name from `minran models`")
    parser.add_argument("--depth", type=int, help="levels of the tree (default: the units)")
    parser.add_argument("--num-classes", type=int, help="another number of classes")

    parser = add_command(
        commands,
        "graph",
        graph,
        "draw a network's modules as SVG",
        "  minran graph attention_nano\n  minran graph attention56_cifar --depth 2 --out net.svg",
    )
    parser.add_argument("model", help="a name from `minran models`")
    parser.add_argument("--depth", type=int, help="levels that are opened (default: down to units)")
    parser.add_argument("--out", help="file (default: MODEL.svg)")

    parser = add_command(
        commands,
        "predict",
        predict,
        "class probabilities of your own pictures",
        "  minran predict quickstart photo.png",
    )
    parser.add_argument("checkpoint", help="a checkpoint file, or a run")
    parser.add_argument("files", nargs="+", help="pictures (any format Pillow reads)")
    parser.add_argument("--out", help="also draw the pictures with their probabilities")
    add_device(parser)

    parser = add_command(
        commands,
        "masks",
        masks,
        "draw the attention masks over pictures",
        "  minran masks quickstart\n  minran masks runs/cifar10-small photo1.jpg photo2.jpg",
    )
    parser.add_argument("checkpoint", help="a checkpoint file, or a run")
    parser.add_argument("files", nargs="*", help="pictures (default: test pictures of its data)")
    parser.add_argument("--count", type=int, default=6, help="test pictures to draw (default: 6)")
    parser.add_argument("--out", default="masks.png", help="picture file (png, svg or pdf)")
    parser.add_argument("--dark", action="store_true", help="for dark pages")
    parser.add_argument("--data-dir", metavar="FOLDER", help="where CIFAR lies")
    add_device(parser)


def models(args: argparse.Namespace) -> int:
    """Print the names of the networks with their parameter counts."""
    from minran.models import create_model, list_models

    for name in list_models():
        print(f"{name:24} {create_model(name).num_parameters():>12,} parameters")
    return 0


def summary(args: argparse.Namespace) -> int:
    """Print the summary of a network."""
    from minran.inspect import summary as summarise
    from minran.models import create_model

    print(summarise(create_model(args.model, args.num_classes)).text(depth=args.depth))
    return 0


def graph(args: argparse.Namespace) -> int:
    """Save the drawing of a network."""
    from minran.inspect import module_graph
    from minran.models import create_model

    out = Path(args.out or f"{args.model}.svg")
    module_graph(create_model(args.model), depth=args.depth).save(out)
    print(out)
    return 0


def predict(args: argparse.Namespace) -> int:
    """Print class probabilities of picture files."""
    from minran import inspect
    from minran.cli.training import find_checkpoint
    from minran.data import read_pictures
    from minran.train import load_model

    use_device(args)
    model, preprocess, checkpoint = load_model(find_checkpoint(args.checkpoint))
    pictures = read_pictures(args.files, preprocess.mean.shape[0])
    probabilities = inspect.class_probabilities(model, preprocess(pictures))
    for file, row in zip(args.files, probabilities, strict=True):
        best = sorted(zip(row, checkpoint.class_names, strict=True), reverse=True)[:3]
        print(f"{file}: " + ", ".join(f"{name} {share:.1%}" for share, name in best))
    if args.out:
        figure = inspect.prediction_figure(pictures, probabilities, checkpoint.class_names)
        figure.savefig(args.out, dpi=150)
        print(args.out)
    return 0


def masks(args: argparse.Namespace) -> int:
    """Save a figure of masks laid over pictures."""
    from minran import inspect
    from minran.cli.training import find_checkpoint
    from minran.data import read_pictures
    from minran.train import load_data, load_model, parse

    use_device(args)
    model, preprocess, checkpoint = load_model(find_checkpoint(args.checkpoint))
    true_masks = None
    if args.files:
        pictures = read_pictures(args.files, preprocess.mean.shape[0])
    else:
        _, test = load_data(parse(checkpoint.recipe), args.data_dir)
        pictures = test.images[: args.count]
        true_masks = None if test.masks is None else test.masks[: args.count]
    attentions = inspect.attention_maps(model, preprocess(pictures))
    figure = inspect.mask_figure(pictures, attentions, true_masks=true_masks, dark=args.dark)
    figure.savefig(args.out, dpi=150, facecolor=figure.get_facecolor())
    print(args.out)
    return 0
