"""What notebook 13 measures: masks looked at, scored, and replaced.

    python -m minran.workshop.course.mask_scores docs/results/quickstart/masks.json FILE...

measures the network that ships, which was trained with seed 0, and those of the checkpoints
(seeds 1, 2, ...), and writes the file and `logs/masks.json` next to this one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from minran import create_model
from minran.autograd import Tensor, no_grad, tensor
from minran.data import load_shapes
from minran.errors import DataError
from minran.files import write_atomically
from minran.inspect import attention_maps, channel_mean, class_probabilities, gradcam, score
from minran.inspect.masks import Scores, added, centre_map, resize_maps, score_halves
from minran.inspect.probe import attention_modules, exchanged_masks
from minran.nn import Module
from minran.train import environment, load_model, load_pretrained

LOG = Path(__file__).with_name("logs") / "masks.json"
PARTS = ("channel", "image x channel", "fixed position", "position in the image")
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Of the pixels of an image, deleted or inserted."""

Change = Callable[[np.ndarray], np.ndarray]

REPLACEMENTS: Mapping[str, Change] = {
    "its mean over positions": lambda m: np.broadcast_to(m.mean((1, 2), keepdims=True), m.shape),
    "one number a channel": lambda m: np.broadcast_to(m.mean((0, 1, 2), keepdims=True), m.shape),
    "another image's mask": lambda m: np.roll(m, 1, axis=0),
}
"""What may stand in the place of M (N, h, w, C)."""


def mask_scores() -> dict[str, Any]:
    """The shipped log: what was measured, by network; see `measure`."""
    return json.loads(LOG.read_text(encoding="utf-8"))


# --- looking


def variance_parts(mask: np.ndarray) -> list[float]:
    """Shares of the variance of M (N, h, w, C) in four parts, which add up to 1.

    Of the mean of each channel; of what the image adds to it; of what the position adds in
    every image alike; and of the rest, the position in this image.
    """
    mask = mask.astype(np.float64)
    channel = mask.mean(axis=(0, 1, 2))
    image = mask.mean(axis=(1, 2), keepdims=True) - channel
    position = mask.mean(axis=0) - channel
    rest = mask - channel - image - position
    return [float(part.var() / mask.var()) for part in (channel, image, position, rest)]


def inside_outside(mask: np.ndarray, outlines: np.ndarray) -> tuple[float, float]:
    """Mean of M on the object minus outside it: the mean over images, and its standard error."""
    _, rows, columns = outlines.shape
    maps = resize_maps(channel_mean(mask), (rows, columns))
    found = [m[inside].mean() - m[~inside].mean() for m, inside in zip(maps, outlines)]
    return float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(len(found)))


# --- scoring


def border_colour(images: np.ndarray) -> np.ndarray:
    """How far each pixel's colour is from the median of the border's, without a network."""
    return np.linalg.norm(images - _median_of_border(images), axis=3)


def _median_of_border(images: np.ndarray) -> np.ndarray:
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return np.median(np.concatenate(edges, axis=1), axis=1)[:, None, None]


def random_network(inputs: np.ndarray, seed: int) -> Module:
    """The quickstart network before any training; one pass sets the statistics of batch norm."""
    widths: dict[str, Any] = {"stem_width": 16, "widths": (16, 48, 96), "tail_width": 96}
    network = create_model("attention_small_cifar", seed=seed, **widths)
    with no_grad():
        network.train()(tensor(inputs))
    return network.eval()


def network_maps(network: Module, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Of each stage the mean M, the mean |M T| and the mean |T| over channels; and Grad-CAM."""
    found = {}
    for one in attention_maps(network, inputs):
        reduced = channel_mean(one.mask), added(one), np.abs(one.trunk).mean(axis=3)
        for name, maps in zip(("M", "|M T|", "|T|"), reduced):
            found[f"{name} {one.title}"] = maps
    return found | {"Grad-CAM": gradcam(network, inputs)}


def eight_channels(network: Module, inputs: np.ndarray, outlines: np.ndarray) -> Scores:
    """|M T| of stage 2: the eight best channels on the first half, scored on the second."""
    one, half = attention_maps(network, inputs)[1], len(inputs) // 2
    maps = np.abs(one.mask * one.trunk)
    ious = [score(maps[:half, ..., c], outlines[:half]).iou for c in range(maps.shape[3])]
    return score_halves(maps[..., np.argsort(ious)[::-1][:8]].mean(axis=3), outlines)


# --- intervening


def pixel_curves(
    network: Module,
    preprocess: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    maps: np.ndarray,
) -> dict[str, list[float]]:
    """The mean probability of the class while pixels go, or come, in the order of the maps.

    deletion: the SHARES of largest value get the median colour of the image's border; insertion:
    all others get it.
    """
    count, rows, columns, _ = images.shape
    order = np.argsort(-resize_maps(maps, (rows, columns)).reshape(count, -1), kind="stable")
    rank = np.argsort(order).reshape(count, rows, columns)
    plain = np.broadcast_to(_median_of_border(images), images.shape).astype(images.dtype)
    found: dict[str, list[float]] = {"deletion": [], "insertion": []}
    for share in SHARES:
        chosen = (rank < round(share * rows * columns))[..., None]
        for kind, erased in (("deletion", chosen), ("insertion", ~chosen)):
            p = class_probabilities(network, preprocess(np.where(erased, plain, images)))
            found[kind].append(float(p[np.arange(len(labels)), labels].mean()))
    return found


class Replaced(Module):
    """A mask branch whose values are changed before the gate reads them."""

    def __init__(self, mask: Module, change: Change) -> None:
        self.mask, self.change = mask, change

    def forward(self, u: Tensor) -> Tensor:
        """(N, H, W, C) -> (N, H, W, C)."""
        return tensor(self.change(self.mask(u).numpy()).astype(u.dtype))


def right_answers(
    network: Module,
    inputs: np.ndarray,
    labels: np.ndarray,
    change: Change | None = None,
    stages: Collection[int] = (0, 1, 2),
) -> float:
    """Accuracy with the masks of these stages changed, 250 images at a time; as before after."""
    modules = [module for _, module in attention_modules(network, "right_answers")]
    pairs: list[Any] = []
    if change is not None:
        pairs = [(modules[k], Replaced(cast(Module, modules[k].mask), change)) for k in stages]
    with exchanged_masks(pairs):
        answers = class_probabilities(network, inputs, 250).argmax(axis=1)
    return float(np.mean(answers == labels))


def replaced_masks(network: Module, inputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The accuracy that is left when masks are replaced, in all stages and in single ones."""
    answers = partial(right_answers, network, inputs, labels)
    found = {"intact": answers()}
    for words, change in REPLACEMENTS.items():
        found[words] = answers(change)
        for stage in range(3):
            found[f"in stage {stage + 1} only: {words}"] = answers(change, (stage,))
    return found


# --- three networks


def curve_maps(
    network: Module, images: np.ndarray, inputs: np.ndarray, outlines: np.ndarray
) -> dict[str, np.ndarray]:
    """The maps whose order of pixels is tried: of the network, and baselines without it."""
    rng, own = np.random.default_rng(0), network_maps(network, inputs)
    tried = {name: own[name] for name in own if name.startswith("|M T|") or name == "Grad-CAM"}
    return tried | {
        "the middle": np.broadcast_to(centre_map((32, 32)), outlines.shape),
        "border colour": border_colour(images),
        "true outline": outlines + 0.5 * rng.random(outlines.shape),
        "random order": rng.random(outlines.shape),
    }


def measure(files: Iterable[str]) -> dict[str, Any]:
    """Everything that notebook 13 tells of more than one network."""
    networks: dict[str, Any] = {"seed 0": load_pretrained("quickstart")}
    networks |= {f"seed {k}": load_model(file) for k, file in enumerate(files, 1)}
    some, many = load_shapes("test", count=400), load_shapes("test", count=1000)
    images, outlines, part = np.asarray(some.images), some.masks, slice(200, 300)
    if outlines is None:
        raise DataError("the shapes have no outlines")
    keys = "variance_parts", "inside_minus_outside", "iou", "eight_channels", "curves", "accuracy"
    found: dict[str, Any] = {key: {} for key in keys}
    for name, (network, preprocess, _) in networks.items():
        inputs = preprocess(images)
        attentions = attention_maps(network, inputs)
        for key, how in (
            ("variance_parts", variance_parts),
            ("inside_minus_outside", lambda mask: inside_outside(mask, outlines)),
        ):
            found[key][name] = {one.title: how(one.mask) for one in attentions}
        found["iou"][name] = _ious(network_maps(network, inputs), outlines)
        best = eight_channels(network, inputs, outlines)
        found["eight_channels"][name] = [best.iou, best.iou_error]
        tried = curve_maps(network, images[part], inputs[part], outlines[part])
        curves = partial(pixel_curves, network, preprocess, images[part], some.labels[part])
        found["curves"][name] = {each: curves(maps) for each, maps in tried.items()}
        accuracy = replaced_masks(network, preprocess(np.asarray(many.images)), many.labels)
        found["accuracy"][name] = accuracy
    inputs = networks["seed 0"].preprocess(images)
    for seed in range(3):
        fresh = network_maps(random_network(inputs[:200], seed), inputs)
        found["iou"][f"random {seed}"] = _ious(fresh, outlines)
    plain = score_halves(border_colour(images), outlines)
    found["without_network"] = {"the middle": plain.centre_iou, "border colour": plain.iou}
    return found


def _ious(maps: Mapping[str, np.ndarray], outlines: np.ndarray) -> dict[str, float]:
    return {name: score_halves(values, outlines).iou for name, values in maps.items()}


if __name__ == "__main__":
    written = json.dumps({"made": environment(), **measure(sys.argv[2:])}, indent=1) + "\n"
    for path in (Path(sys.argv[1]), LOG):
        write_atomically(path, written, DataError)
