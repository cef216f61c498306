"""live: a page in the browser where a trained network runs under the reader's hand."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any

from minran import backend, data
from minran.arguments import Option
from minran.cli import shared
from minran.errors import RecipeError, expect
from minran.inspect.probe import attention_modules
from minran.live import Server, load_network
from minran.live.server import COMPARED, first_pictures

commands = shared.Commands()
add_commands = commands.add

NETWORK: Option = (
    "checkpoint",
    "a run, a checkpoint file, or the name of shipped weights (without it: the quickstart's "
    "network, which knows the ten built-in shapes, and the same with naive learning, without "
    "masks, and with channel and spatial attention)",
    {"nargs": "?", "default": ""},
)


@commands(
    NETWORK,
    ("files", "your own images to begin with", {"nargs": "*"}),
    ("--port", "where to listen on 127.0.0.1 (default: the system chooses)", 0),
    ("--no-browser", "print the address and open nothing", False),
    shared.DEVICE,
)
def live(args: argparse.Namespace) -> None:
    """Watch the masks move: a page in your browser, computed by minran on this machine.

    minran live
    minran live runs/cifar10-small photo.png

    Paint on an image, drop your own, or paint a mask, and everything follows: class
    probabilities, the mask of each stage, every step of a module. The page is for the browser of
    this machine only, needs no network, and ends with Ctrl-C. A pass of a small network takes
    some hundredths of a second; memory is that of one image.
    """
    expect(0 <= args.port < 65536, f"--port must be 0 to 65535, got {args.port}", RecipeError)
    backend.use(args.device)
    found = Path(args.checkpoint)
    # A person's own folder comes before shipped weights of that name.
    given = str(found.absolute()) if args.checkpoint and found.exists() else args.checkpoint
    networks = {name: load_network(name) for name in ([given] if given else COMPARED)}
    trained, _, prepare, _, recipe = first = next(iter(networks.values()))
    if given:
        networks = {recipe.name: first}
    attention_modules(trained, "live", masked=False)  # or a sentence, before a page of nothing
    masks: Any = None
    if args.files:
        pictures = data.read_pictures(args.files, prepare.mean.shape[0], recipe.data.fit)
        labels = [Path(file).name for file in args.files]
    else:
        pictures, labels, masks = first_pictures(prepare.mean.shape[0])
    shown = pictures, labels, masks, recipe.name, recipe.data.fit
    with Server(networks, *shown, args.port) as server:
        print(f"{server.url}  (Ctrl-C ends it)", flush=True)
        if not args.no_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended")
