"""PyTorch's own samples of layers (ModuleInfo) and of SGD (OptimizerInfo) through minran.

As with the operations: each agrees, or its option is refused and stands in a table of decisions.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("expecttest", reason="PyTorch's samples need expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db
    from torch.testing._internal.common_optimizers import (
        optim_error_inputs_func_sgd,
        optim_inputs_func_sgd,
    )

from op_cases import compare
from suites.opinfo_ops import decision, nchw, nhwc, one_or_two, only

from minran import nn, tensor
from minran.errors import MinranError
from minran.interop import from_torch_state_dict
from minran.optim import SGD

INFOS = {info.module_cls.__name__: info for info in module_db}


def conv(cin, cout, kernel, stride=1, padding=0, dilation=1, groups=1, bias=True, **options):
    only(one_or_two(dilation) == 1, "dilation")
    only(not isinstance(padding, str), "padding by name")
    only(options.pop("padding_mode", "zeros") == "zeros", "padding other than with zeros")
    assert not options
    sizes = map(one_or_two, (kernel, stride, padding))
    return nn.Conv2d(cin, cout, *sizes, groups=groups, bias=bias, dtype="float64")


def norm(channels, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, bias=True):
    only(affine and bias, "batch norm without gamma and beta")
    only(track_running_stats, "batch norm without running statistics")
    only(momentum is not None, "momentum None")
    return nn.BatchNorm2d(channels, momentum, eps, dtype="float64")


def max_pool(kernel, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
    only(not return_indices, "return_indices")
    only(one_or_two(dilation) == 1, "dilation")
    return nn.MaxPool2d(*map(one_or_two, (kernel, stride, padding)), ceil_mode)


def adaptive(size):
    only(one_or_two(size) in (1, (1, 1)), "adaptive pooling to more than one pixel")
    return nn.GlobalAvgPool()


MODULES: dict[str, Callable[..., nn.Module]] = {
    "Conv2d": conv,
    "BatchNorm2d": norm,
    "BatchNorm1d": norm,
    "MaxPool2d": max_pool,
    "AdaptiveAvgPool2d": adaptive,
    "Linear": lambda inputs, outputs, bias=True: nn.Linear(inputs, outputs, bias, dtype="float64"),
    "ReLU": lambda: nn.ReLU(),
    "Sigmoid": lambda: nn.Sigmoid(),
}


def samples(name: str, training: bool) -> list[Any]:
    options = {"device": "cpu", "dtype": torch.float64, "requires_grad": True}
    return list(INFOS[name].module_inputs_func(INFOS[name], training=training, **options))


def mistakes(name: str) -> list[Any]:
    function = INFOS[name].module_error_inputs_func
    options = {"device": "cpu", "dtype": torch.float64, "requires_grad": True, "training": True}
    return list(function(INFOS[name], **options)) if function else []


def check_module(name: str, sample: Any, training: bool) -> None:
    """Same weights, same input: output, gradients and running statistics are the same."""
    built = sample.constructor_input
    only(bool(sample.forward_input.args), "a layer without an input")
    mine = MODULES[name](*built.args, **built.kwargs).train(training)
    theirs = INFOS[name].module_cls(*built.args, **built.kwargs).double().train(training)
    mine.load_state_dict(from_torch_state_dict(theirs.state_dict()))
    x = sample.forward_input.args[0].detach().clone().requires_grad_()
    my_x = tensor(x.detach().numpy().copy(), requires_grad=True)
    expected = theirs(x)
    y = mine(nhwc(my_x))
    y = nchw(y) if y.ndim == 4 else y.reshape(tuple(expected.shape))
    gy = np.random.default_rng(0).standard_normal(tuple(expected.shape))
    y.backward(gy)
    expected.backward(torch.from_numpy(gy))
    compare(name, y.numpy(), expected.detach().numpy(), 1e-10)
    compare("gradient of x", my_x.grad, x.grad.numpy(), 1e-10)
    gradients = from_torch_state_dict({n: p.grad for n, p in theirs.named_parameters()})
    for own, parameter in mine.named_parameters():
        compare(f"gradient of {own}", parameter.grad, gradients[own], 1e-10)
    state = from_torch_state_dict(theirs.state_dict())
    for own, array in mine.state_dict().items():
        compare(own, array, state[own], 1e-10)


DECISIONS = {
    "padding by name": "padding is a number of pixels",
    "must be (N, H, W, C)": "pictures come in batches",
    "linear: expected x (N, D)": "linear takes rows of features",
    "adaptive pooling": "global_avg_pool is the one case that networks need",
    "without gamma and beta": "networks scale and shift after every norm",
    "without running statistics": "evaluation needs them",
    "momentum None": "running statistics move by a fixed share",
    "return_indices": "the positions of the maxima stay inside",
    "without an input": "a sample of PyTorch that only builds the layer",
    "maximize": "losses are made small",
    "dampening": "the paper's momentum has none",
}
"""What minran refuses (words of its sentence) where PyTorch calculates, and why that is so."""

RESULTS: dict[str, dict[str, int]] = {
    "Conv2d": {"agrees": 1, "padding by name": 2, "must be (N, H, W, C)": 1},
    "BatchNorm2d": {
        "agrees": 2,
        "momentum None": 1,
        "without gamma and beta": 3,
        "without running statistics": 1,
    },
    "BatchNorm1d": {
        "agrees": 1,
        "must be (N, H, W, C)": 1,
        "momentum None": 1,
        "without gamma and beta": 4,
        "without running statistics": 1,
    },
    "MaxPool2d": {"agrees": 1, "must be (N, H, W, C)": 1, "return_indices": 1},
    "AdaptiveAvgPool2d": {"agrees": 1, "adaptive pooling": 4},
    "Linear": {"agrees": 1, "without an input": 1, "linear: expected x (N, D)": 1},
    "ReLU": {"agrees": 4},
    "Sigmoid": {"agrees": 4},
}
"""How many samples agree, and how many are refused by which decision (PyTorch 2.13.0)."""


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODULES)
def test_pytorchs_samples_of_layers(name: str, training: bool) -> None:
    results: Counter[str] = Counter()
    for sample in samples(name, training):
        try:
            check_module(name, sample, training)
            results["agrees"] += 1
        except MinranError as error:
            results[decision(error, DECISIONS)] += 1
    assert results == RESULTS[name]


@pytest.mark.parametrize("name", [name for name in MODULES if mistakes(name)])
def test_what_pytorchs_layers_refuse(name: str) -> None:
    for mistake in mistakes(name):
        built, given = mistake.module_error_input.constructor_input, mistake.module_error_input
        x = tensor(given.forward_input.args[0].detach().numpy())
        with pytest.raises(MinranError):
            MODULES[name](*built.args, **built.kwargs)(nhwc(x))


def sgd(params: Any, lr: Any = 1e-3, **options: Any) -> SGD:
    only(not options.pop("maximize", False), "maximize")
    only(not options.pop("dampening", 0), "dampening")
    lr = tensor(lr.numpy()).item() if isinstance(lr, torch.Tensor) else lr
    return SGD(params, lr, **options)


def leaves(values: Any) -> Any:
    """PyTorch's parameters as minran's, in lists and groups; one twice stays one twice."""
    made: dict[int, nn.Parameter] = {}

    def leaf(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return made.setdefault(id(value), nn.Parameter(value.detach().numpy().copy()))
        if isinstance(value, dict):
            return {name: leaf(one) for name, one in value.items()}
        return type(value)(map(leaf, value)) if isinstance(value, (list, tuple)) else value

    return leaf(values)


def check_sgd(options: dict[str, Any]) -> None:
    """Five steps with the same gradients lead to the same parameters."""
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape) for shape in ((3, 4), (5,), ())]
    mine = [nn.Parameter(array.copy()) for array in start]
    theirs = [torch.nn.Parameter(torch.tensor(array)) for array in start]
    optimizer = sgd(mine, **options)
    twin = torch.optim.SGD(theirs, **options)
    for _ in range(5):
        for own, their in zip(mine, theirs, strict=True):
            gradient = np.asarray(rng.standard_normal(own.shape))
            own.grad, their.grad = gradient, torch.tensor(gradient)
        optimizer.step()
        twin.step()
        for own, their in zip(mine, theirs, strict=True):
            compare("parameter", own.data, their.detach().numpy(), 1e-14)


def test_pytorchs_samples_of_sgd() -> None:
    results: Counter[str] = Counter()
    for sample in optim_inputs_func_sgd("cpu", torch.float64):
        try:
            check_sgd(sample.kwargs)
            results["agrees"] += 1
        except MinranError as error:
            results[decision(error, DECISIONS)] += 1
    assert results == {"agrees": 7, "maximize": 1, "dampening": 1}


def test_what_pytorchs_sgd_refuses() -> None:
    """Groups and names among them: minran takes one list of parameters."""
    mistakes = list(optim_error_inputs_func_sgd("cpu", torch.float64))
    assert len(mistakes) >= 7
    for mistake in mistakes:
        sample = mistake.optimizer_error_input
        params = [nn.Parameter(np.ones(2))] if sample.params is None else leaves(sample.params)
        with pytest.raises(MinranError):
            sgd(params, **{"lr": 0.1, **sample.kwargs})


def test_every_decision_is_needed() -> None:
    used = {words for counts in RESULTS.values() for words in counts}
    assert used | {"maximize", "dampening"} == {"agrees", *DECISIONS}
