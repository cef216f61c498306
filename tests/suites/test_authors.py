"""The authors' own four network files and minran's four networks compute the same, to ten digits.

Both get the same random weights, in the order of the file. Logits, the gradient of every weight,
gamma, beta and bias and of the picture, and the running statistics agree in float64.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from parity import compare
from suites import authors

import minran
from minran.interop import from_torch_state_dict
from minran.models.attention import Hourglass
from minran.nn import Module

TOLERANCE = 1e-10


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Weights:
    """Random arrays in the order in which the layers of a file ask for them."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.arrays: list[tuple[str, torch.Tensor]] = []

    def draw(self, kind: str, shape: tuple[int, ...]) -> torch.Tensor:
        """A new array: weights as He et al., the rest away from its usual 1 and 0."""
        array = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        if kind == "weight":
            array *= (2 / array[0].numel()) ** 0.5
        elif kind == "gamma":
            array = 1 + 0.5 * array.tanh()
        elif kind == "running_var":
            # Large, so that an evaluation, whose statistics are not those of its own
            # activations, shrinks what passes through hundreds of layers and blows nothing up.
            array = 10 + 5 * array.tanh()
        else:
            array *= 0.3
        self.arrays.append((kind, array.requires_grad_(not kind.startswith("running"))))
        return array

    def again(self) -> Any:
        """The same arrays once more, in the same order."""
        waiting = iter(self.arrays)
        return lambda kind, shape: next(waiting)[1]


def names_in_file_order(module: Module, prefix: str = "") -> Iterator[str]:
    """The names of all arrays of a network, in the order of the files.

    That is the order in which minran declares them, but for one thing: a file writes the skip of
    a mask's level behind the levels below it, where it is added.
    """
    arrays = [
        name for name, value in vars(module).items() if isinstance(value, minran.nn.Parameter)
    ]
    yield from (prefix + name for name in (*arrays, *module.buffer_names))
    children = dict(module.children())
    if isinstance(module, Hourglass) and "skip" in children:
        children = {name: children[name] for name in ("down", "inner", "skip", "up")}
    for name, child in children.items():
        yield from names_in_file_order(child, f"{prefix}{name}.")


def named(model: Module, weights: Weights) -> dict[str, torch.Tensor]:
    """The file's arrays under minran's names, in PyTorch's layout. Each is used exactly once."""
    names = list(names_in_file_order(model))
    assert len(names) == len(set(names))
    assert set(names) == set(model.state_dict()), "a skipped or invented name"
    kinds = [name.rpartition(".")[2] for name in names]
    assert kinds == [kind for kind, _ in weights.arrays], "the file has other layers than minran"
    return dict(zip(names, (array for _, array in weights.arrays), strict=True))


def to_minran(arrays: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """From PyTorch's layout to minran's; the names are minran's already."""
    theirs = {"gamma": "weight", "beta": "bias"}
    renamed = {}
    for name, array in arrays.items():
        head, dot, kind = name.rpartition(".")
        renamed[head + dot + theirs.get(kind, kind)] = array
    return from_torch_state_dict(renamed)


def check(name: str, layers: list[authors.Layer], size: int, batch: int, **options: Any) -> None:
    """Run the file and minran's network on the same weights and picture, and compare all."""
    # A picture for which rounding grows little (errors of 2e-12, for others up to 1e-10): what it
    # meets on the way are maps of 2 x 2, whose variance may be small.
    rng = np.random.default_rng(4)
    x = rng.normal(size=(batch, size, size, 3))
    picture = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).requires_grad_()
    weights = Weights()
    # The first run draws the weights. As it also moves the running statistics, keep those.
    with torch.no_grad():
        authors.run(layers, picture, weights.draw, training=False)
    model = minran.create_model(name, dtype="float64", **options)
    arrays = named(model, weights)
    model.load_state_dict(to_minran(arrays))

    logits = authors.run(layers, picture, weights.again())
    mine = minran.tensor(x, requires_grad=True)
    my_logits = model(mine)
    compare("", {"logits": my_logits.numpy()}, {"logits": logits.detach().numpy()}, TOLERANCE)
    cotangent = rng.normal(size=my_logits.shape)
    logits.backward(torch.from_numpy(cotangent))
    my_logits.backward(cotangent)
    gradients = {name: array.grad for name, array in arrays.items() if array.requires_grad}
    my_gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    compare("gradient of ", my_gradients, to_minran(gradients), TOLERANCE)
    x_grad = picture.grad.numpy().transpose(0, 2, 3, 1)
    compare("gradient of ", {"the picture": mine.grad}, {"the picture": x_grad}, TOLERANCE)
    compare("after the pass ", model.state_dict(), to_minran(arrays), TOLERANCE)
    model.eval()
    with torch.no_grad(), minran.no_grad():
        logits = authors.run(layers, picture, weights.again(), training=False)
        my_logits = model(mine)
    compare("in evaluation ", {"": my_logits.numpy()}, {"": logits.numpy()}, TOLERANCE)


def narrow(layers: list[authors.Layer]) -> list[authors.Layer]:
    """The same network with an eighth of every layer's channels and groups."""
    layers = copy.deepcopy(layers)
    for kind, _, options in layers:
        if kind == "Convolution":
            options[0] //= 8
            options[4] = max(1, options[4] // 8)
        elif kind == "InnerProduct":
            options[0] //= 8
    return layers


NARROW: dict[str, Any] = {
    "stem_width": 8,
    "widths": (32, 64, 128),
    "tail_width": 256,
    "groups": 4,
    "num_classes": 125,
}


@pytest.mark.parametrize("name", authors.FILES)
def test_agrees_with_the_authors_file_at_an_eighth_of_its_width(name: str) -> None:
    check(name, narrow(authors.FILES[name]), size=64, batch=6, **NARROW)


@pytest.mark.parametrize("name", authors.FILES)
def test_every_array_has_the_shape_that_the_file_gives_it(name: str) -> None:
    """At full width and size; the meta device computes shapes without numbers."""
    shapes: list[tuple[str, torch.Tensor]] = []

    def weight(kind: str, shape: tuple[int, ...]) -> torch.Tensor:
        shapes.append((kind, torch.empty(shape, device="meta")))
        return shapes[-1][1]

    logits = authors.run(authors.FILES[name], torch.empty(1, 3, 224, 224, device="meta"), weight)
    assert tuple(logits.shape) == (1, 1000)
    model = minran.create_model(name)
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for own, (kind, array) in zip(names_in_file_order(model), shapes, strict=True):
        shape = tuple(array.shape)
        if kind == "weight":
            shape = shape[2:] + shape[1::-1]
        assert (own.rpartition(".")[2], tuple(state[own].shape)) == (kind, shape), own


@pytest.mark.slow
@pytest.mark.parametrize("name", authors.FILES)
def test_agrees_with_the_authors_file_as_it_is(name: str) -> None:
    """At full width, for pictures of 224 x 224."""
    check(name, authors.FILES[name], size=224, batch=2)


ALTERED: dict[str, tuple[int, Any]] = {
    "a stride in the stem": (0, ["Convolution", [-1], [8, 7, 1, 3, 1]]),
    "a ReLU left out": (2, ["Sigmoid", [1], []]),
    "a pool of 2x2": (3, ["Pooling", [2], ["MAX", 2, 2, 0]]),
    "a shortcut from the unit before": (44, ["Eltwise", [43, 24], ["SUM"]]),
    "a mask that reads the trunk": (45, ["Pooling", [34], ["MAX", 3, 2, 0]]),
    "a skip from the level below": (98, ["Eltwise", [97, 88], ["SUM"]]),
    "a unit beside the interpolation": (100, ["BN", [88], []]),
    "a gate that adds the mask": (140, ["Eltwise", [44, 139], ["SUM"]]),
    "naive attention learning": (141, ["Eltwise", [44, 139], ["PROD"]]),
}
"""Changes of single layers of Attention-56: the number of the layer, and what it becomes."""


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_layer_is_noticed(what: str) -> None:
    layers = narrow(authors.FILES["attention56"])
    index, layer = ALTERED[what]
    assert layers[index] != layer
    layers[index] = layer
    with pytest.raises(AssertionError, match=r"differs by .* of its largest magnitude"):
        check("attention56", layers, size=32, batch=2, **NARROW)


def test_a_layer_more_or_less_is_noticed() -> None:
    layers = narrow(authors.FILES["attention56"])
    layers[4] = ["ReLU", [3], []]  # for a batch norm
    with pytest.raises(AssertionError, match="other layers than minran"):
        check("attention56", layers, size=32, batch=2, **NARROW)


def test_a_wrong_file_is_refused() -> None:
    for layers in ([], [["Dropout", [-1], []]]):
        with pytest.raises(ValueError, match=r"no layer of this kind|without a Softmax"):
            authors.run(layers, torch.zeros(1, 3, 8, 8), Weights().draw)
