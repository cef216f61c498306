"""`minran ablate`: the paper's tables in small."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from pathlib import Path
from typing import Any

from minran import backend
from minran.arguments import takes
from minran.cli.shared import CIFAR, DEVICE, SET, Commands, find_cifar, read_changes
from minran.workshop.ablate.tables import ABLATIONS, SCALES

commands = Commands()
add_commands = commands.add


@commands(
    ("names", "below", {"nargs": "+", "choices": [*ABLATIONS, "all"], "metavar": "NAME"}),
    (
        "--scale",
        "nano: shapes, minutes on a CPU; small: a part of CIFAR-10, hours on a CPU; paper: "
        "the paper's networks and recipe, on a GPU (default: nano)",
        {"choices": list(SCALES), "default": "nano"},
    ),
    ("--seeds", "seeds (default: 3)", {"type": int, "default": 3, "metavar": "K"}),
    ("--out", "folder of the runs", {"default": "runs/ablate", "metavar": "FOLDER"}),
    ("--set", "change all recipes", SET),
    ("--list", "list the runs and train nothing", False),
    ("--force", "train again what is there", False),
    ("--quiet", "print the tables only", False),
    *CIFAR,
    DEVICE,
)
def ablate(args: argparse.Namespace) -> int:
    """Train the variants of one of the paper's tables with several seeds, and compare.

      minran ablate table1                          # minutes on one core
      minran ablate table3 table5 --seeds 5 --out runs/ablate
      minran ablate all --scale small --data-dir ~/data
      minran ablate table4 --scale paper --device gpu --seeds 1
      minran ablate table3 --scale paper --list     # the runs, as minran train commands

      table1   mixed, channel and spatial attention
      table3   residual against naive attention learning, over depth
      table4   encoder-decoder masks against local convolutions
      table5   10 to 70% wrong labels, attention against ResNet
      figure4  how strong the features are from stage to stage
      cost     masks against a deeper trunk at equal parameters and multiply-adds

    Each variant and seed is a run of its own below OUT/SCALE. The same command goes on
    where it was stopped, and with more --seeds it adds those that are missing. The table
    is written there too: NAME.md, NAME.json, NAME.png.
    """
    from minran.workshop.ablate.report import text, write
    from minran.workshop.ablate.runs import make_cells, measure, train_cells

    if args.list:
        takes(args, "ablate --list", "names", "scale", "seeds", "out", "set", "list")
    backend.use(args.device)
    scale, changes = SCALES[args.scale], read_changes(args)
    tables = [
        (ABLATIONS[name], make_cells(ABLATIONS[name], scale, args.seeds, args.out, changes))
        for name in (ABLATIONS if "all" in args.names else dict.fromkeys(args.names))
    ]
    find_cifar(args, tables[0][1][0].recipe.data.name)
    trained: set[Path] = set()
    for ablation, cells in tables:
        # A variant that an earlier table has too is there already.
        fresh = [cell for cell in cells if cell.folder not in trained]
        trained.update(cell.folder for cell in fresh)
        if args.list:
            for cell in fresh:
                print(_as_command(cell, scale.recipe))
            continue
        say = partial(print, flush=True) if not args.quiet else lambda words: None
        done = train_cells(fresh, args.data_dir, args.force, args.quiet, say)
        results = measure(ablation, scale, cells, args.data_dir)
        paths = write(results, Path(args.out) / scale.name)
        print(f"\n{text(results)}\n\n{'  '.join(map(str, paths))}\n", flush=True)
        if not done:
            print("stopped; the same command goes on from here")
            return 130
    return 0


def _as_command(cell: Any, base: str) -> str:
    """The `minran train` command that makes the cell's run."""
    from minran.train.recipe import load_recipe, write_value

    before, folder = load_recipe(base).entries(), cell.folder
    words = ["minran", "train", "--recipe", base, "--runs", folder.parent, "--name", folder.name]
    for key, value in cell.recipe.entries().items():
        if key not in ("name", "description") and before[key] != value:
            words += ["--set", f"{key}={write_value(value, key)}"]
    return shlex.join(map(str, words))
