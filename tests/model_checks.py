"""Small networks and facts about them that more than one test file asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import minran
from minran import Tensor, nn, ops, tensor
from minran.backend import cpu
from minran.models import AttentionModule, MaskBranch

IMAGENET = [
    "attention56",
    "attention92",
    "attentionnext56",
    "attentionnext92",
    "attentioninception56",
]


def small(name: str, **options: Any) -> nn.Module:
    """The network with all its units and branches, at a small width."""
    if name == "resnet164_cifar":
        narrow: dict[str, Any] = {"stem_width": 8, "widths": (8, 16, 16)}
    elif name == "attention_nano":
        narrow = {}
    else:
        narrow = {"stem_width": 8, "widths": (16, 16, 32), "tail_width": 32, "groups": 4}
    return minran.create_model(name, 5, **{**narrow, **options})


def pictures(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Tensor:
    return tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def loss_of(model: nn.Module, x: Tensor, classes: int = 5) -> Tensor:
    labels = np.random.default_rng(1).integers(classes, size=x.shape[0])
    return ops.cross_entropy(model(x), labels)


def watch(model: nn.Module, x: Tensor) -> Iterator[tuple[str, nn.Module, Any, Tensor]]:
    """(name, module, inputs, output) of every call of a forward pass."""
    names = {id(module): name for name, module in model.named_modules()}
    seen = []
    with nn.observe(lambda module, inputs, output: seen.append((module, inputs, output))):
        model(x)
    for module, inputs, output in seen:
        yield names[id(module)], module, inputs, output


def outputs(model: nn.Module, x: Tensor, kind: type[nn.Module]) -> dict[str, np.ndarray]:
    """What every module of `kind` gives, by name."""
    return {
        name: np.array(output.numpy())
        for name, module, _, output in watch(model, x)
        if isinstance(module, kind)
    }


def check_mask_reads_no_trunk(seed: int = 0) -> None:
    """Other trunk weights: another module output, the same mask, to the bit."""
    model = minran.create_model("attention_nano", seed=seed)
    x = pictures(2, 16, 16, 3)
    first = next(m for _, m in model.named_modules() if isinstance(m, AttentionModule))
    masks, modules = outputs(first, x_for(first, model, x), MaskBranch), {}
    u = x_for(first, model, x)
    modules["before"] = first(u).numpy()
    for parameter in first.trunk.parameters():
        parameter.data *= 1.7
    again = outputs(first, u, MaskBranch)
    assert (first(u).numpy() != modules["before"]).any()
    assert list(masks) == ["mask"]
    np.testing.assert_array_equal(masks["mask"], again["mask"])


def x_for(module: nn.Module, model: nn.Module, x: Tensor) -> Tensor:
    """What comes into `module` when the model sees x."""
    return next(inputs[0] for _, m, inputs, _ in watch(model, x) if m is module).detach()


def training_step(model: nn.Module, x: Tensor) -> list[np.ndarray]:
    """Loss, every gradient and every running statistic of one step."""
    loss = loss_of(model, x)
    loss.backward()
    gradients = [np.array(parameter.grad) for parameter in model.parameters()]
    return [loss.numpy(), *gradients, *(np.array(array) for _, array in model.named_buffers())]


def with_threads(count: int, name: str, x: Tensor) -> list[np.ndarray]:
    before = cpu.threads()
    try:
        cpu.set_threads(count)
        return training_step(minran.create_model(name, 5, seed=4), x)
    finally:
        cpu.set_threads(before)
