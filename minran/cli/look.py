"""models, summary, graph, predict, export, gradcheck."""

from __future__ import annotations

import argparse
from typing import Any

from minran import backend
from minran.arguments import Option, add_command, takes
from minran.cli.shared import (
    CHECKPOINT,
    DARK,
    DEVICE,
    expect_least,
    find_checkpoint,
    save_figure,
)
from minran.errors import BackendError, RecipeError, expect
from minran.files import PICTURES, expect_writable

MODEL: Option = ("model", "a name from `minran models`", {})


def add_commands(commands: Any) -> None:
    """The commands about looking into networks and operations."""
    add_command(commands, models)
    add_command(
        commands,
        summary,
        MODEL,
        ("--depth", "levels of the tree (default: the units)", {"type": int}),
        ("--num-classes", "another number of classes", {"type": int}),
    )
    add_command(
        commands,
        graph,
        MODEL,
        ("--depth", "levels that are opened (default: down to units)", {"type": int}),
        ("--out", "file (default: MODEL.svg)", {}),
    )
    add_command(
        commands,
        predict,
        CHECKPOINT,
        ("files", "pictures (any format Pillow reads)", {"nargs": "+"}),
        ("--top", "classes to print (default: 3)", 3),
        ("--out", "also draw the pictures with their probabilities", {}),
        DARK,
        DEVICE,
    )
    add_command(
        commands,
        export,
        CHECKPOINT,
        ("--out", "file (default: model.onnx)", "model.onnx"),
        (
            "--prepared",
            "leave the preprocessing out: the input is float32, the mean subtracted already",
            False,
        ),
    )
    add_command(
        commands,
        gradcheck,
        ("op", "name of the operation", {"nargs": "?"}),
        ("--all", "check every operation, a line each", False),
        ("--seed", "seed of the inputs", 0),
        DEVICE,
    )


def models(args: argparse.Namespace) -> None:
    """List the networks.

    minran models
    """
    from minran.models import create_model, list_models

    for name in list_models():
        print(f"{name:24} {create_model(name).num_parameters():>12,} parameters")


def summary(args: argparse.Namespace) -> None:
    """Print a network's modules, shapes, parameters and multiply-adds.

    minran summary attention56
    minran summary attention_small_cifar --depth 6
    """
    from minran.inspect import summary as summarise
    from minran.models import create_model

    expect_least(args.depth, "--depth", 0)
    print(summarise(create_model(args.model, args.num_classes)).text(depth=args.depth))


def graph(args: argparse.Namespace) -> None:
    """Draw a network's modules as SVG.

    minran graph attention_nano
    minran graph attention56_cifar --depth 2 --out net.svg
    """
    from minran.inspect import module_graph
    from minran.models import create_model

    expect_least(args.depth, "--depth", 0)
    if args.out is not None:
        expect_writable(args.out, (".svg",), "graph --out")
    model = create_model(args.model)
    out = f"{args.model}.svg" if args.out is None else args.out
    print(module_graph(model, depth=args.depth).save(out))


def predict(args: argparse.Namespace) -> None:
    """Class probabilities of your own pictures.

    minran predict quickstart photo.png
    minran predict runs/cifar10-small *.jpg --top 5 --out answers.png

    Pictures may have any size: the central square is cut out and resized.
    """
    from minran import inspect
    from minran.data import read_pictures
    from minran.train import load_model

    backend.use(args.device)
    if args.out is None:
        takes(args, "predict without --out", "checkpoint", "files", "top", "device")
    else:
        expect_writable(args.out, PICTURES, "predict --out")
    expect_least(args.top, "--top", 1)
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


def export(args: argparse.Namespace) -> None:
    """Write a trained network as an ONNX file.

    minran export runs/cifar10-small --out model.onnx
    minran export quickstart --prepared      # input: numbers as for training

    The file takes uint8 pictures (N, H, W, 3) and gives logits (N, K).
    Needs the onnx package: pip install "minran[onnx]".
    """
    from minran.interop import export_onnx
    from minran.train import load_model

    expect_writable(args.out, (".onnx",), "export --out")
    model, preprocess, checkpoint = load_model(find_checkpoint(args.checkpoint))
    rows, columns = preprocess.mean.shape[:2]
    before = None if args.prepared else preprocess
    print(export_onnx(model, args.out, (rows, columns), before, checkpoint.class_names))


def gradcheck(args: argparse.Namespace) -> int:
    """Compare an operation's gradient with finite differences, and show where it differs.

    minran gradcheck conv2d
    minran gradcheck --all
    """
    from minran.gradcheck import OPS, check_op

    backend.use(args.device)
    expect_least(args.seed, "gradcheck --seed", 0)
    message = f"name an operation or say --all; known: {', '.join(OPS)}"
    expect(args.all or args.op is not None, message, RecipeError)
    if not args.all:
        report = check_op(args.op, seed=args.seed)
        print(report)
        return 0 if report.passed else 1
    takes(args, "gradcheck --all", "all", "seed", "device")
    good = True
    for name in OPS:
        try:
            report = check_op(name, seed=args.seed)
        except BackendError as error:  # a fused operation that this backend does without
            print(f"-     {name:24} {error}")
            continue
        verdict = "ok   " if report.passed else "WRONG"
        print(f"{verdict} {name:24} worst relative error {report.relative_error:.1e}")
        good = good and report.passed
    return 0 if good else 1
