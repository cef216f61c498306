"""models, summary, graph, predict, export, gradcheck."""

from __future__ import annotations

import argparse

import minran
from minran import backend
from minran.arguments import Option, takes
from minran.cli import shared
from minran.errors import BackendError, RecipeError, ShapeError, expect
from minran.files import PICTURES, expect_writable
from minran.inspect.probe import expect_size

MODEL: Option = ("model", "a name from `minran models`", {})
commands = shared.Commands()
add_commands = commands.add
PREPARED = "leave the preprocessing out: the input is float32, the mean subtracted already"


@commands()
def models(args: argparse.Namespace) -> None:
    """List the networks.

    minran models
    """
    for name in minran.list_models():
        print(f"{name:24} {minran.create_model(name).num_parameters():>12,} parameters")


@commands(
    MODEL,
    ("--depth", "levels of the tree (default: the units)", {"type": int}),
    ("--num-classes", "another number of classes", {"type": int}),
    ("--size", "pixels a side (default: what the network was drawn for)", {"type": int}),
    ("--train", "print the memory of a training step instead; nothing is trained", False),
    ("--batch", "with --train: images a step (default: 64)", 64),
    ("--device", "with --train: whose memory (default: cpu)", shared.CPU_OR_GPU),
)
def summary(args: argparse.Namespace) -> None:
    """Print a network's modules, shapes, parameters and multiply-adds.

    minran summary attention56
    minran summary attention_small_cifar --depth 6
    minran summary attention56 --size 224 --batch 64 --train

    With --train: how much memory a step takes, by stage, without taking it. Images that are
    held in memory come on top: rows x columns x 3 bytes each.
    """
    if args.train:
        takes(args, "summary --train", "model num_classes size train batch device")
        shared.expect_least(args.batch, "--batch", 1)
    else:
        takes(args, "summary without --train", "model depth num_classes size")
        shared.expect_least(args.depth, "--depth", 0)
    model = minran.create_model(args.model, args.num_classes)
    shared.expect_least(args.size, "--size", 1)
    try:
        if args.train:
            print(minran.inspect.memory(model, args.batch, args.size, args.device))
        else:
            print(minran.inspect.summary(model, args.size).text(depth=args.depth))
    except ShapeError:
        if args.size is not None:
            expect_size(model, args.size)  # which says the sizes that do
        raise


@commands(
    MODEL,
    ("--depth", "levels that are opened (default: down to units)", {"type": int}),
    ("--out", "file (default: MODEL.svg)", {}),
)
def graph(args: argparse.Namespace) -> None:
    """Draw a network's modules as SVG.

    minran graph attention_nano
    minran graph attention56_cifar --depth 2 --out net.svg
    """
    shared.expect_least(args.depth, "--depth", 0)
    if args.out is not None:
        expect_writable(args.out, (".svg",), "graph --out")
    model = minran.create_model(args.model)
    out = f"{args.model}.svg" if args.out is None else args.out
    print(minran.inspect.module_graph(model, depth=args.depth).save(out))


@commands(
    shared.CHECKPOINT,
    ("files", "images (any format Pillow reads)", {"nargs": "+"}),
    ("--top", "classes to print (default: 3)", 3),
    ("--out", "also draw the images with their probabilities", {}),
    shared.DARK,
    shared.DEVICE,
)
def predict(args: argparse.Namespace) -> None:
    """Class probabilities of your own images.

    minran predict quickstart photo.png
    minran predict runs/cifar10-small *.jpg --top 5 --out answers.png

    Images may have any size: they are made as large and square as those of the training, by
    its data.size and data.fit (unless the recipe says otherwise, the central square is cut out).
    """
    backend.use(args.device)
    if args.out is None:
        takes(args, "predict without --out", "checkpoint files top device")
    else:
        expect_writable(args.out, PICTURES, "predict --out")
    shared.expect_least(args.top, "--top", 1)
    _, model, prepare, checkpoint = shared.load(args)
    names = checkpoint.class_names
    pictures = shared.read_pictures(args.files, prepare, checkpoint)
    shares = minran.inspect.class_probabilities(model, prepare(pictures))
    for file, row in zip(args.files, shares, strict=True):
        best = sorted(zip(row, names, strict=True), reverse=True)[: args.top]
        print(f"{file}: " + ", ".join(f"{name} {share:.1%}" for share, name in best))
    if args.out is not None:
        draw = minran.inspect.prediction_figure
        shared.save_figure(draw(pictures, shares, names, max(args.top, 3), args.dark), args.out)


@commands(
    shared.CHECKPOINT,
    ("--out", "file (default: model.onnx)", "model.onnx"),
    ("--prepared", PREPARED, False),
)
def export(args: argparse.Namespace) -> None:
    """Write a trained network as an ONNX file.

    minran export runs/cifar10-small --out model.onnx
    minran export quickstart --prepared      # input: numbers as for training

    The file takes uint8 images (N, H, W, 3) and gives logits (N, K).
    Needs the onnx package: pip install "minran[onnx]".
    """
    expect_writable(args.out, (".onnx",), "export --out")
    _, model, prepare, checkpoint = shared.load(args)
    rows, columns = prepare.mean.shape[:2]
    before, names = None if args.prepared else prepare, checkpoint.class_names
    print(minran.interop.export_onnx(model, args.out, (rows, columns), before, names))


@commands(
    ("op", "name of the operation", {"nargs": "?"}),
    ("--all", "check every operation, a line each", False),
    ("--seed", "seed of the inputs", 0),
    shared.DEVICE,
)
def gradcheck(args: argparse.Namespace) -> int:
    """Compare an operation's gradient with finite differences, and show where it differs.

    minran gradcheck conv2d
    minran gradcheck --all
    """
    from minran.gradcheck import OPS, check_op

    backend.use(args.device)
    shared.expect_least(args.seed, "gradcheck --seed", 0)
    message = f"name an operation or say --all; known: {', '.join(OPS)}"
    expect(args.all or args.op is not None, message, RecipeError)
    if not args.all:
        report = check_op(args.op, seed=args.seed)
        print(report)
        return 0 if report.passed else 1
    takes(args, "gradcheck --all", "all seed device")
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
