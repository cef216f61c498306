"""What a run begins with: weights from a file, and layers that stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import resources
from pathlib import Path

from minran.errors import CheckpointError, RecipeError, did_you_mean, expect, nearest, some
from minran.nn import Module
from minran.streams import visible
from minran.train.checkpoint import Checkpoint, load_weights
from minran.train.run import Run

_SHIPPED = resources.files("minran") / "weights"
_CLASSIFIER = "fc."  # what the names of its weights begin with, in every network


def list_pretrained() -> list[str]:
    """The names `load_pretrained` knows."""
    return sorted(f.name[:-12] for f in _SHIPPED.iterdir() if f.name[-12:] == ".safetensors")


def shipped_file(name: str) -> AbstractContextManager[Path]:
    """The file of shipped weights, within a block."""
    return resources.as_file(_SHIPPED / f"{name}.safetensors")


def begin_with(
    model: Module, weights: str, class_names: Sequence[str], least: float
) -> tuple[str, Checkpoint | None]:
    """Load the weights and running statistics whose names and shapes fit, and leave the others.

    weights: a shipped name, a run's folder (its best checkpoint, else the last), a checkpoint, or
    any safetensors file with minran's names. A classifier for other classes is left as well.
    Returns a sentence about what was loaded and what was not, and the checkpoint if it is one.

    Raises CheckpointError if there are no such weights, or if those that fit are less than the
    share `least` of all numbers of the model; nothing is loaded then.
    """
    own = model.state_dict()
    with weights_file(weights) as path:
        found, others, checkpoint = load_weights(path, own)
    other = checkpoint is not None and checkpoint.class_names != list(class_names)
    classifier = [name for name in found if other and name.startswith(_CLASSIFIER)]
    shaped = [name for name in found if found[name].shape == own[name].shape]
    fitting = {name: found[name] for name in shaped if name not in classifier}
    left = {
        "not in there": [name for name in own if name not in found],
        "for other classes there": classifier,
        "of another shape there": [n for n in found if n not in (*shaped, *classifier)],
    }
    share = sum(own[name].size for name in fitting) / sum(array.size for array in own.values())
    said = f"{len(fitting)} of {len(own)} arrays fit, {share:.1%} of the network's numbers"
    for why, names in left.items():
        said += (
            f"; left fresh, as {why}: {some([visible(name)[:60] for name in names])}"
            if names
            else ""
        )
    said += f"; not used: {some([visible(name)[:60] for name in others])}" if others else ""
    few = f"{weights} fits too little of the network ({said}); expected at least {least:.0%}: "
    expect(share >= least, f"{few}set training.init_least if less is meant", CheckpointError)
    model.load_state_dict(own | fitting)
    return f"weights of {weights}: {said}", checkpoint


def weights_file(weights: str) -> AbstractContextManager[Path]:
    """The file that is meant, within a block. A shipped name comes before a folder of that name."""
    path, shipped = Path(weights), list_pretrained()
    if weights in shipped:
        return shipped_file(weights)
    none = f"there is no run, file or shipped weights {weights!r:.300}; "
    expect(path.exists(), none + did_you_mean(weights, shipped), CheckpointError)
    return nullcontext(Run(path).trained_file() if path.is_dir() else path)


def freeze(model: Module, layers: Sequence[str]) -> None:
    """Let the weights of these layers, and of all parts of them, require no gradient.

    layers: dotted names such as "stem" or "stages.0.1.mask". Raises RecipeError for a name under
    which there are no weights, and if none would be left to train.
    """
    parameters = dict(model.named_parameters())
    paths = [name.split(".") for name in parameters]
    known = dict.fromkeys(".".join(path[:n]) for n in range(1, 99) for path in paths)
    for layer in layers:
        near = nearest(layer, known) or " or ".join(dict.fromkeys(path[0] for path in paths))
        none = f"training.freeze: there are no weights in {layer!r:.99}; did you mean {near}?"
        expect(layer in known, none, RecipeError)
        for name, parameter in parameters.items():
            if f"{name}.".startswith(f"{layer}."):
                parameter.requires_grad = False
    some_left = any(parameter.requires_grad for parameter in parameters.values())
    expect(some_left, "training.freeze: no weights are left to train", RecipeError)
