"""Trained networks that come with minran."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from minran.data import Preprocess
from minran.errors import CheckpointError, did_you_mean
from minran.hints import checked
from minran.nn import Module
from minran.train.checkpoint import load_checkpoint, save_checkpoint
from minran.train.setup import load_model


class Pretrained(NamedTuple):
    """A trained network in evaluation mode, and what it takes to use it."""

    model: Module
    preprocess: Preprocess
    class_names: list[str]


def list_pretrained() -> list[str]:
    """The names `load_pretrained` knows."""
    folder = resources.files("minran") / "weights"
    return sorted(file.name[:-12] for file in folder.iterdir() if file.name[-12:] == ".safetensors")


@checked(CheckpointError)
def load_pretrained(name: str) -> Pretrained:
    """A network that was trained with the recipe in its file, on the current backend.

    `model(tensor(preprocess(images)))` gives logits for uint8 pictures (N, 32, 32, 3). What
    each was trained on, and its accuracy, stands in `docs/results`.

    Raises CheckpointError naming the known ones if there is none of that name.
    """
    known = list_pretrained()
    if name not in known:
        raise CheckpointError(f"there are no weights for {name!r}; {did_you_mean(name, known)}")
    with resources.as_file(resources.files("minran") / "weights" / f"{name}.safetensors") as file:
        model, preprocess, checkpoint = load_model(file)
    return Pretrained(model, preprocess, checkpoint.class_names)


@checked(CheckpointError)
def export_weights(checkpoint: str | Path, target: str | Path) -> None:
    """Write `checkpoint` to `target` without the optimiser's state: what is needed to predict."""
    full = load_checkpoint(checkpoint)
    save_checkpoint(Path(target), replace(full, optimizer={}, data={}, raw={}))
