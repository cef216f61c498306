"""live: a page in the browser where a trained network runs under the reader's hand."""

from __future__ import annotations

import argparse
import webbrowser
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import minran
from minran import backend
from minran.arguments import Option
from minran.cli import shared
from minran.errors import RecipeError, expect
from minran.inspect.probe import attention_modules
from minran.live import Server
from minran.live.server import first_pictures
from minran.train.weights import weights_file

commands = shared.Commands()
add_commands = commands.add

NETWORK: Option = (
    "checkpoint",
    "a run, a checkpoint file, or the name of shipped weights (default: quickstart, which knows "
    "the ten built-in shapes)",
    {"nargs": "?", "default": "quickstart"},
)


@commands(
    NETWORK,
    ("files", "your own pictures to begin with", {"nargs": "*"}),
    ("--port", "where to listen on 127.0.0.1 (default: the system chooses)", 0),
    ("--no-browser", "print the address and open nothing", False),
    shared.DEVICE,
)
def live(args: argparse.Namespace) -> None:
    """Watch the masks move: a page in your browser, computed by minran on this machine.

    minran live
    minran live runs/cifar10-small photo.png

    Paint on a picture, drop your own, or paint a mask, and everything follows: class
    probabilities, the mask of each stage, every step of a module. The page is for the browser of
    this machine only, needs no network, and ends with Ctrl-C. A pass of a small network takes
    some hundredths of a second; memory is that of one picture.
    """
    expect(0 <= args.port < 65536, f"--port must be 0 to 65535, got {args.port}", RecipeError)
    backend.use(args.device)
    found = Path(args.checkpoint)
    with nullcontext(found) if found.exists() else weights_file(args.checkpoint) as file:
        args.checkpoint = str(file)
        _, model, prepare, checkpoint = shared.load(args)
    attention_modules(model, "live")  # or a sentence, before a page that has nothing to show
    names = checkpoint.class_names
    recipe = minran.train.parse(checkpoint.recipe)
    random = minran.train.make_model(recipe, len(names)).eval()
    masks: Any = None
    if args.files:
        pictures = shared.read_pictures(args.files, prepare, checkpoint)
        labels = [Path(file).name for file in args.files]
    else:
        pictures, labels, masks = first_pictures(prepare.mean.shape[0])
    networks = {"trained": model, "random weights": random}
    shown = pictures, labels, masks, recipe.name, recipe.data.fit
    with Server(networks, prepare, names, *shown, args.port) as server:
        print(f"{server.url}  (Ctrl-C ends it)", flush=True)
        if not args.no_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended")
