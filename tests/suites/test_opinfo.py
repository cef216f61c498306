"""PyTorch's own samples of operations (OpInfo) through minran: values and every gradient.

Each sample agrees, or minran refuses it with a sentence that stands in a table with the decision.
The numbers of both are in a table, so that no sample is lost in silence.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("expecttest", reason="PyTorch's samples need expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # (Importing it warns of parts of PyTorch that are not installed.)
    from torch.testing._internal.common_methods_invocations import op_db

from suites.opinfo_ops import OPS, decision, only

from minran import Tensor, tensor
from minran.errors import MinranError

INFOS = {f"{op.name} {op.variant_test_name}".strip(): op for op in op_db}


def to_minran(value: Any) -> Any:
    """PyTorch's tensors as Tensors, also within lists and dicts."""
    if isinstance(value, torch.Tensor):
        return tensor(value.detach().numpy().copy(), requires_grad=value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value)(map(to_minran, value))
    if isinstance(value, dict):
        return {name: to_minran(one) for name, one in value.items()}
    return value


def to_leaves(value: Any) -> Any:
    """The same with PyTorch's tensors as leaves of their own."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, (list, tuple)):
        return type(value)(map(to_leaves, value))
    if isinstance(value, dict):
        return {name: to_leaves(one) for name, one in value.items()}
    return value


def flat(value: Any) -> list[Any]:
    """All tensors within, in order."""
    if isinstance(value, (Tensor, torch.Tensor)):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [x for one in value for x in flat(one)] if isinstance(value, (list, tuple)) else []


def difference(mine: Any, theirs: torch.Tensor) -> float:
    """The largest difference, relative to the largest value if that is above 1; NaN equals NaN."""
    mine, reference = np.asarray(mine), theirs.detach().numpy()
    assert mine.shape == reference.shape, f"shape {mine.shape}, PyTorch {reference.shape}"
    assert mine.dtype == reference.dtype, f"dtype {mine.dtype}, PyTorch {reference.dtype}"
    if mine.dtype.kind != "f":
        return float((mine != reference).any())
    other = ~((mine == reference) | (np.isnan(mine) & np.isnan(reference)))
    scale = max(1.0, np.abs(reference[np.isfinite(reference)]).max(initial=0))
    return float(np.abs(mine[other] - reference[other]).max(initial=0) / scale)


def call(name: str, sample: Any) -> tuple[Any, Any]:
    """The arguments of a sample as Tensors, and what minran makes of them."""
    only("out" not in sample.kwargs, "writing into a given tensor")
    ours = to_minran((sample.input, sample.args, sample.kwargs))
    only(isinstance(ours[0], (Tensor, list, tuple)), "an operation on numbers alone")
    return ours, OPS[name](ours[0], *ours[1], **ours[2])


def check(name: str, sample: Any, tolerance: float = 1e-10) -> None:
    """Values, gradients, and what became of the arguments, are PyTorch's."""
    theirs = to_leaves((sample.input, sample.args, sample.kwargs))
    with np.errstate(all="ignore"):
        ours, y = call(name, sample)
        expected = INFOS[name].op(theirs[0], *theirs[1], **theirs[2])
        expected = expected[0] if isinstance(expected, tuple) else expected  # beside it: indices
        pairs = [("result", y.data, expected)]
        if y.requires_grad:
            gy = np.random.default_rng(1).standard_normal(y.shape)
            y.backward(gy)
            expected.backward(torch.as_tensor(gy))
    for place, (mine, their) in enumerate(zip(flat(ours), flat(theirs), strict=True)):
        pairs.append((f"argument {place} afterwards", mine.data, their))
        if their.grad is not None:
            assert mine.grad is not None, f"no gradient reached argument {place}"
            pairs.append((f"gradient of argument {place}", mine.grad, their.grad))
    for what, mine, their in pairs:
        error = difference(mine, their)
        assert error <= tolerance, f"{what} differs by {error:.1e}"


def shown(sample: Any) -> str:
    """A sample's shapes and options."""

    def short(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return tuple(value.shape)
        if isinstance(value, (list, tuple)):
            return type(value)(map(short, value))
        return {k: short(v) for k, v in value.items()} if isinstance(value, dict) else value

    return str(short([sample.input, *sample.args, sample.kwargs]))


DECISIONS = {
    "dilation": "no network of the paper has it",
    "padding by name": "padding is a number of pixels",
    "must be (N, H, W, C)": "pictures come in batches",
    "ceil_mode of an average": "the last window would count fewer pixels; no network needs it",
    "divisor_override": "an average divides by the window's size",
    "adaptive pooling": "global_avg_pool is the one case that networks need",
    "antialias": "interpolation only enlarges in these networks",
    "a scale factor other": "sizes are given, so the ratio of sizes is what holds",
    "of pictures of 1 or 3": "batch norm is of pictures and of features",
    "weights of classes": "every picture counts alike",
    "reductions other": "the loss is the mean",
    "ignore_index": "every picture has a label",
    "gradients of the targets": "labels are data",
    "logits must be (N, K)": "one label for each picture",
    "linear: expected x (N, D)": "linear takes rows of features; reshape what has more axes",
    "norms other": "channel attention is the length over the channels",
    "softmax over other axes": "classes are the last axis",
    "numbers alone": "without a Tensor Python calculates, not minran",
    "exponents that are tensors": "x ** n is for a number n",
    "matmul: expected (M, K)": "products of matrices only, as linear layers need them",
    "does not fit a tensor of shape ()": "a number has no axes",
    "has no axis 1": "an empty row among pictures is a mistake (PyTorch calls it legacy)",
    "all axes but 0 must agree": "the same",
    "are no order of": "the axes of a transpose are counted from the front",
}
"""What minran refuses (words of its sentence) where PyTorch calculates, and why that is so."""

RESULTS: dict[str, dict[str, int]] = {
    "nn.functional.conv2d": {
        "agrees": 9,
        "must be (N, H, W, C)": 9,
        "dilation": 10,
        "padding by name": 2,
    },
    "nn.functional.max_pool2d": {"agrees": 576, "dilation": 720, "must be (N, H, W, C)": 144},
    "nn.functional.avg_pool2d": {"agrees": 1, "ceil_mode of an average": 5, "divisor_override": 1},
    "nn.functional.adaptive_avg_pool2d": {"adaptive pooling": 10},
    "nn.functional.interpolate bilinear": {"agrees": 22, "a scale factor other": 4, "antialias": 2},
    "nn.functional.upsample_bilinear": {"agrees": 6},
    "nn.functional.batch_norm": {"agrees": 7, "of pictures of 1 or 3": 5},
    "nn.functional.cross_entropy": {
        "agrees": 2,
        "gradients of the targets": 7,
        "logits must be (N, K)": 3,
        "reductions other": 2,
        "weights of classes": 6,
        "ignore_index": 1,
    },
    "nn.functional.linear": {"agrees": 8, "linear: expected x (N, D)": 10},
    "nn.functional.normalize": {"agrees": 3, "norms other": 5},
    "nn.functional.relu": {"agrees": 41},
    "sigmoid": {"agrees": 39},
    "softmax": {"agrees": 5, "softmax over other axes": 2},
    "log_softmax": {"agrees": 5, "softmax over other axes": 2},
    "add": {"agrees": 114, "numbers alone": 4},
    "sub": {"agrees": 114, "numbers alone": 4},
    "mul": {"agrees": 110, "numbers alone": 4},
    "div no_rounding_mode": {"agrees": 110, "numbers alone": 4},
    "__radd__": {"agrees": 110},
    "__rsub__": {"agrees": 110, "numbers alone": 2},
    "__rmul__": {"agrees": 110},
    "__rdiv__": {"agrees": 110},
    "neg": {"agrees": 35},
    "pow": {"agrees": 10, "exponents that are tensors": 100, "numbers alone": 2},
    "square": {"agrees": 39},
    "reciprocal": {"agrees": 39},
    "rsqrt": {"agrees": 39},
    "exp": {"agrees": 39},
    "log": {"agrees": 39},
    "sqrt": {"agrees": 35},
    "mm": {"agrees": 3},
    "matmul": {"agrees": 2, "matmul: expected (M, K)": 13},
    "__rmatmul__": {"agrees": 2, "matmul: expected (M, K)": 13},
    "sum": {"agrees": 18, "does not fit a tensor of shape ()": 2},
    "mean": {"agrees": 18, "does not fit a tensor of shape ()": 2},
    "amax": {"agrees": 18, "does not fit a tensor of shape ()": 2},
    "max reduction_no_dim": {"agrees": 2},
    "reshape": {"agrees": 39},
    "view": {"agrees": 39},
    "permute": {"agrees": 63, "are no order of": 1},
    "transpose": {"agrees": 8},
    "t": {"agrees": 3},
    "__getitem__": {"agrees": 16},
    "select": {"agrees": 6},
    "cat": {"agrees": 10, "has no axis 1": 1, "all axes but 0 must agree": 1},
}
"""How many samples agree, and how many are refused by which decision (PyTorch 2.13.0)."""


@pytest.mark.parametrize("name", OPS)
def test_pytorchs_samples(name: str) -> None:
    results: Counter[str] = Counter()
    wrong = []
    for sample in INFOS[name].reference_inputs("cpu", torch.float64, requires_grad=True):
        try:
            check(name, sample)
            results["agrees"] += 1
        except MinranError as error:
            results[decision(error, DECISIONS)] += 1
        except Exception as error:
            wrong.append(f"{shown(sample)}: {error!r}"[:300])
    assert not wrong, f"{len(wrong)} samples: " + "\n".join(wrong[:10])
    assert results == RESULTS[name]


def test_every_decision_is_needed() -> None:
    assert {words for counts in RESULTS.values() for words in counts} == {"agrees", *DECISIONS}
    assert set(RESULTS) == set(OPS)
    assert sum(counts.get("agrees", 0) for counts in RESULTS.values()) >= 2000


ACCEPTED = {
    "mean": {"Got: Long": "the mean of whole numbers is a float"},
    "t": {"expects a tensor with <= 2": "transpose() reverses all axes, however many"},
    "amax": {"up to 64 dims": "NumPy has no such arrays: none comes to minran"},
}
"""Where minran does not refuse what PyTorch refuses: words of PyTorch's message, and why."""


@pytest.mark.parametrize("name", [name for name in OPS if INFOS[name].error_inputs_func])
def test_what_pytorch_refuses(name: str) -> None:
    """minran refuses it too, by an error of its own, unless a decision says otherwise."""
    wrong, needed = [], set()
    for error in INFOS[name].error_inputs("cpu"):
        accepted = [words for words in ACCEPTED.get(name, ()) if words in error.error_regex]
        needed |= {*accepted}
        try:
            call(name, error.sample_input)
        except MinranError:
            what = None
        except Exception as raw:
            what = repr(raw)
        else:
            what = "accepted"
        if what and not accepted:
            wrong.append(f"{shown(error.sample_input)} ({error.error_regex}): {what}"[:300])
    assert not wrong, f"{len(wrong)} calls: " + "\n".join(wrong)
    assert needed == {*ACCEPTED.get(name, ())}
