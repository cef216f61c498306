"""models, summary, graph, predict, export."""

from __future__ import annotations

import argparse
from typing import Any

from minran.arguments import takes
from minran.cli.shared import add_command, add_device, save_figure, use_device
from minran.errors import RecipeError, expect
from minran.files import PICTURES, expect_writable


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
        "  minran predict quickstart photo.png\n"
        "  minran predict runs/cifar10-small *.jpg --top 5 --out answers.png\n\n"
        "Pictures may have any size: the central square is cut out and resized.",
    )
    parser.add_argument("checkpoint", help="a checkpoint file, or a run")
    parser.add_argument("files", nargs="+", help="pictures (any format Pillow reads)")
    parser.add_argument("--top", type=int, default=3, help="classes to print (default: 3)")
    parser.add_argument("--out", help="also draw the pictures with their probabilities")
    parser.add_argument("--dark", action="store_true", help="for dark pages")
    add_device(parser)

    parser = add_command(
        commands,
        "export",
        export,
        "write a trained network as an ONNX file",
        "  minran export runs/cifar10-small --out model.onnx\n"
        "  minran export quickstart --prepared      # input: numbers as for training\n\n"
        "The file takes uint8 pictures (N, H, W, 3) and gives logits (N, K).\n"
        'Needs the onnx package: pip install "minran[onnx]".',
    )
    parser.add_argument("checkpoint", help="a checkpoint file, or a run")
    parser.add_argument("--out", default="model.onnx", help="file (default: model.onnx)")
    parser.add_argument(
        "--prepared",
        action="store_true",
        help="leave the preprocessing out: the input is float32, the mean subtracted already",
    )


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

    _expect_depth(args)
    print(summarise(create_model(args.model, args.num_classes)).text(depth=args.depth))
    return 0


def _expect_depth(args: argparse.Namespace) -> None:
    expect(
        args.depth is None or args.depth >= 0,
        f"--depth must be at least 0, got {args.depth}",
        RecipeError,
    )


def graph(args: argparse.Namespace) -> int:
    """Save the drawing of a network."""
    from minran.inspect import module_graph
    from minran.models import create_model

    _expect_depth(args)
    if args.out is not None:
        expect_writable(args.out, (".svg",), "graph --out")
    model = create_model(args.model)
    out = f"{args.model}.svg" if args.out is None else args.out
    print(module_graph(model, depth=args.depth).save(out))
    return 0


def predict(args: argparse.Namespace) -> int:
    """Print class probabilities of picture files."""
    from minran import inspect
    from minran.cli.training import find_checkpoint
    from minran.data import read_pictures
    from minran.train import load_model

    use_device(args)
    if args.out is None:
        takes(args, "predict without --out", "checkpoint", "files", "top", "device")
    else:
        expect_writable(args.out, PICTURES, "predict --out")
    expect(args.top >= 1, f"--top must be at least 1, got {args.top}", RecipeError)
    model, preprocess, checkpoint = load_model(find_checkpoint(args.checkpoint))
    pictures = read_pictures(args.files, preprocess.mean.shape[0])
    probabilities = inspect.class_probabilities(model, preprocess(pictures))
    for file, row in zip(args.files, probabilities, strict=True):
        best = sorted(zip(row, checkpoint.class_names, strict=True), reverse=True)[: args.top]
        print(f"{file}: " + ", ".join(f"{name} {share:.1%}" for share, name in best))
    if args.out is not None:
        figure = inspect.prediction_figure(
            pictures, probabilities, checkpoint.class_names, max(args.top, 3), args.dark
        )
        save_figure(figure, args.out)
    return 0


def export(args: argparse.Namespace) -> int:
    """Save a network as ONNX."""
    from minran.cli.training import find_checkpoint
    from minran.interop import export_onnx
    from minran.train import load_model

    expect_writable(args.out, (".onnx",), "export --out")
    model, preprocess, checkpoint = load_model(find_checkpoint(args.checkpoint))
    rows, columns = preprocess.mean.shape[:2]
    path = export_onnx(
        model,
        args.out,
        (rows, columns),
        None if args.prepared else preprocess,
        checkpoint.class_names,
    )
    print(path)
    return 0
