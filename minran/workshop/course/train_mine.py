"""The project of notebook 09: a small network trained with a learner's own pieces.

The pieces are the answers in `my_minran.py`. Each takes the place of one kernel, operation or
module of the library. The same network is trained with the library's; both start from the same
weights and get the same batches, so that their losses may differ by rounding only.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from minran import autograd, backend, create_model, nn, ops
from minran.autograd import Tensor, no_grad, tensor
from minran.data import load_shapes
from minran.errors import DataError, did_you_mean, expect
from minran.hints import checked
from minran.models import Hourglass, PreActUnit
from minran.ops import arithmetic
from minran.optim import SGD
from minran.train import train_step
from minran.workshop.course.checking import judge
from minran.workshop.course.kept import FILE

TASKS = {
    "gated": "00.2",
    "linear_logits": "00b.1",
    "vjp_mul": "01.1",
    "vjp_sum": "01.2",
    "reverse": "01.3",
    "unbroadcast": "02.2",
    "col2im": "03.1",
    "conv2d_backward": "03.2",
    "batch_norm_backward": "04.1",
    "update_running": "04.2",
    "pool_size": "05.1",
    "max_pool_backward": "05.2",
    "upsample_backward": "05.3",
    "cross_entropy_gradient": "06.1",
    "nesterov_step": "06.2",
    "Unit": "07.2",
    "MyHourglass": "08.2",
    "gate_backward": "09.1",
}
"""The pieces that the network needs, and the tasks that ask for them."""

Pieces = Mapping[str, Callable[..., Any]]
STEPS, BATCHES, BATCH, SIDE = 16, 2, 8, 32
NETWORK: dict[str, Any] = {"stem_width": 4, "widths": (8, 16), "tail_width": 16}


@checked(DataError)
def train_mine(borrow: Sequence[str] = ()) -> None:
    """Train with the pieces of `my_minran.py`, and next to it with the library's; print both.

    borrow: names of pieces for which the library's are taken. Nothing is trained if a piece is
    missing or does not pass its check: a sentence says which. Raises DataError for an unknown
    name and for a file that cannot be run.
    """
    for name in borrow:
        what = f"train_mine: borrow: unknown piece {name!r}; {did_you_mean(name, TASKS)}"
        expect(name in TASKS, what, DataError)
    mine = {name: piece for name, piece in read_pieces(Path(FILE)).items() if name not in borrow}
    missing = [name for name in TASKS if name not in mine and name not in borrow]
    if missing:
        names = ", ".join(f"{name} (task {TASKS[name]})" for name in missing)
        print(
            f"{FILE} has no {names}.\nSolve the tasks, or take the library's in their place: "
            f"train_mine(borrow={[*borrow, *missing]})"
        )
        return
    outcomes = [(name, judge(TASKS[name], piece)) for name, piece in mine.items()]
    wrong = [f"{name} in {FILE}: {outcome}" for name, outcome in outcomes if not outcome.passed]
    if wrong:
        print(*wrong, sep="\n")
        return
    print(f"{len(mine)} pieces are yours. From the library: {', '.join(borrow) or 'none'}.")
    right, rough = train_with({}), train_with({}, "float32")
    got, tol = tried(mine), tolerance(right, rough)
    print(f"{'':14}{'minran':>14}{'yours':>14}{'difference':>13}{'allowed':>13}")
    rows = [*(f"loss, step {step + 1}" for step in range(STEPS)), "test loss"]
    for row, ours, yours, most in zip(rows, right, got, tol, strict=True):
        print(f"{row:14}{ours:14.10f}{yours:14.10f}{abs(yours - ours):13.0e}{most:13.0e}")
    if agree(got, right, tol):
        print("Your pieces match the library: no difference is larger than rounding can make it.")
        return
    alone = [name for name in mine if not agree(tried({name: mine[name]}), right, tol)]
    print(
        "Your pieces do not match the library, although each passes its check. With one of them at "
        f"a time, these differ: {', '.join(alone) or 'none'}."
    )


def read_pieces(file: Path) -> Pieces:
    """The pieces that a file defines, by name; none if there is no such file."""
    if not file.exists():
        return {}
    try:
        found = runpy.run_path(str(file), run_name=file.stem)
    except Exception as error:
        what = f"{file} cannot be run: {type(error).__name__}: {error}"
        raise DataError(what) from error
    return {name: found[name] for name in TASKS if name in found}


def train_with(pieces: Pieces, dtype: str = "float64") -> np.ndarray:
    """The losses of the steps, and at the end that of test images in evaluation."""
    shapes = [load_shapes(split, count=BATCHES * BATCH) for split in ("train", "test")]
    (train, labels), (test, answers) = (
        (np.asarray(one.images, np.float32) / 128 - 1, one.labels) for one in shapes
    )
    start = create_model("attention_nano", dtype="float64", **NETWORK).state_dict()
    model = create_model("attention_nano", dtype=dtype, **NETWORK)
    # Observed, each module computes by itself: nothing is fused past a piece.
    with in_place(pieces), nn.observe(lambda *call: None):
        if pieces:
            _put_modules(model, pieces)
        model.load_state_dict(start)
        optimizer = SGD(model.parameters(), 0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
        losses = []
        for step in range(STEPS):
            first = step % BATCHES * BATCH
            batch = slice(first, first + BATCH)
            losses.append(train_step(model, optimizer, (train[batch], labels[batch]))[0])
        with no_grad():
            logits = model.eval()(tensor(test, dtype=dtype))
            losses.append(ops.cross_entropy(logits, answers).item())
    return np.array(losses)


def tried(pieces: Pieces) -> np.ndarray:
    """The same, NaN if a piece fails on the network's shapes; what it says is printed."""
    try:
        return train_with(pieces)
    except Exception as error:
        print(f"With {', '.join(pieces)}: {type(error).__name__}: {error}")
        return np.full(STEPS + 1, np.nan)


def tolerance(right: np.ndarray, rough: np.ndarray) -> np.ndarray:
    """How far rounding may take each loss of float64 from the right one.

    The library in float32 (`rough`) shows how far rounding takes it there, up to each step; by
    luck it may be nothing, so at least the rounding of the loss itself is taken, 2^-24 of it. In
    float64 rounding is finer by 2^29. A sum of n terms in another order has an error of at most
    n times that of the best order; the longest sums run over all positions of a batch.
    """
    furthest = np.maximum.accumulate(np.maximum(np.abs(right - rough), np.abs(right) / 2**24))
    return furthest * (BATCH * SIDE**2 / 2**29)


def agree(got: np.ndarray, right: np.ndarray, tol: np.ndarray) -> bool:
    """Whether all losses are equal up to `tol`; a loss that is not a number is not."""
    return bool((np.abs(got - right) <= tol).all())


# --- where each piece goes


@contextmanager
def in_place(pieces: Pieces) -> Iterator[None]:
    """Within the block, kernels and operations of the library are the learner's."""
    with ExitStack() as stack:
        for name, piece in pieces.items():
            for target, attribute, function in _PLACES[name](piece) if name in _PLACES else ():
                stack.enter_context(mock.patch.object(target, attribute, function))
        yield


Places = list[tuple[Any, str, Callable[..., Any]]]


def _kernel(name: str, function: Callable[..., Any]) -> Places:
    return [(backend.load("numpy"), name, function)]


def _walk(reverse: Callable[..., Any]) -> Callable[..., None]:
    def walk(root: Tensor, gradient: Any) -> None:
        made, leaves, waiting = {}, {}, [root]
        while waiting:
            one = waiting.pop()
            if one.op is None:
                leaves[str(id(one))] = one
            elif one.op.order not in made:
                made[one.op.order] = one
                waiting += _inputs(one.op)
        tape = [
            (str(id(y)), tuple(str(id(x)) for x in _inputs(y.op)), _vjp(y.op))
            for _, y in sorted(made.items())
        ]
        gradients = reverse(tape, str(id(root)))
        for name, leaf in leaves.items():
            leaf.grad = gradients[name]

    return walk


def _inputs(op: Any) -> list[Tensor]:
    return [x for x, needed in zip(op.inputs, op.needs, strict=True) if needed]


def _vjp(op: Any) -> Callable[[Any], list[Any]]:
    return lambda gy: [gx for gx, needed in zip(op.backward(gy), op.needs, strict=True) if needed]


def _norm(piece: Callable[..., Any]) -> Places:
    def through_relu(gy: Any, y: Any) -> Any:
        return gy if y is None else gy * (y != 0)

    def sums(gy: Any, x: Any, y: Any, mean: Any, inv_std: Any) -> Any:
        return piece(through_relu(gy, y), x, np.ones_like(mean), mean, inv_std)[1:]

    def of_input(gy: Any, x: Any, y: Any, gamma: Any, mean: Any, inv_std: Any, *rest: Any) -> Any:
        return piece(through_relu(gy, y), x, gamma, mean, inv_std)[0]

    return [
        *_kernel("batch_norm_backward_sums", sums),
        *_kernel("batch_norm_backward_input", of_input),
    ]


def _running(piece: Callable[..., Any]) -> Places:
    moments, seen = backend.load("numpy").batch_moments, [np.empty(0)]

    def batch_moments(x: Any) -> Any:
        seen[:] = [x]
        return moments(x)

    def finish_norm(
        both: Any,
        gamma: Any,
        beta: Any,
        running_mean: Any,
        running_var: Any,
        momentum: float,
        eps: float,
        n: int,
    ) -> Any:
        new = piece(running_mean.copy(), running_var.copy(), seen[0], momentum)
        running_mean[...], running_var[...] = new
        mean, var = both
        return gamma, beta, mean, 1 / np.sqrt(var + eps)

    return [*_kernel("batch_moments", batch_moments), *_kernel("finish_norm", finish_norm)]


def _pool(pool_size: Callable[..., Any]) -> Callable[..., Any]:
    def max_pool2d(x: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> Any:
        sides = zip(x.shape[1:3], kernel, stride, padding, strict=True)
        counts = [int(pool_size(*side, ceil_mode)) for side in sides]
        y = np.empty((len(x), *counts, x.shape[3]), x.dtype)
        for i, j in np.ndindex(*counts):
            top, left = i * stride[0], j * stride[1]
            window = x[:, top : top + kernel[0], left : left + kernel[1]]
            y[:, i, j] = window.max(axis=(1, 2))
        return y

    return max_pool2d


def _pool_backward(piece: Callable[..., Any]) -> Callable[..., Any]:
    def max_pool2d_backward(gy: Any, x: Any, y: Any, kernel: Any, stride: Any, padding: Any) -> Any:
        gx = np.empty_like(x)
        for n, c in np.ndindex(len(x), x.shape[3]):
            gx[n, :, :, c] = piece(gy[n, :, :, c], x[n, :, :, c], kernel[0], stride[0])
        return gx

    return max_pool2d_backward


def _update(nesterov_step: Callable[..., Any]) -> Callable[..., None]:
    def sgd_update(
        p: Any, grad: Any, v: Any, lr: float, momentum: float, decay: float, _: bool
    ) -> None:
        p[...], v[...] = nesterov_step(p.copy(), grad, v.copy(), lr, momentum, decay)

    return sgd_update


_LEARNING = {True: "residual", False: "naive"}
_PLACES: dict[str, Callable[[Any], Places]] = {
    "gated": lambda f: _kernel("gate", lambda mask, trunk, residual: f(mask, trunk)),
    "linear_logits": lambda f: _kernel(
        "linear", lambda x, w: f(x[:, None, None], w, np.zeros(w.shape[1]))
    ),
    "vjp_mul": lambda f: [(arithmetic.Mul, "backward", lambda op, gy: f(gy, op.a, op.b))],
    "vjp_sum": lambda f: [(arithmetic.Sum, "backward", lambda op, gy: (f(gy, op.shape, op.axis),))],
    "reverse": lambda f: [(autograd, "walk", _walk(f))],
    "unbroadcast": lambda f: [(arithmetic, "_unbroadcast", f)],
    "conv2d_backward": lambda f: _kernel(
        "conv2d_backward", lambda gy, x, w, stride, padding, *rest: f(gy, x, w, stride, padding)
    ),
    "batch_norm_backward": _norm,
    "update_running": _running,
    "pool_size": lambda f: _kernel("max_pool2d", _pool(f)),
    "max_pool_backward": lambda f: _kernel("max_pool2d_backward", _pool_backward(f)),
    "upsample_backward": lambda f: _kernel("upsample_bilinear2d_backward", f),
    "cross_entropy_gradient": lambda f: _kernel(
        # log p in the place of the logits: softmax makes p of both
        "cross_entropy_backward",
        lambda gy, log_p, targets: gy * f(log_p, targets),
    ),
    "nesterov_step": lambda f: _kernel("sgd_update", _update(f)),
    "gate_backward": lambda f: _kernel(
        "gate_backward", lambda gy, m, t, residual: f(gy, m, t, _LEARNING[residual])
    ),
}
"""By piece, what it takes the place of. `conv2d_backward` calls `col2im`; modules: below."""


class _Mean(nn.Module):
    """The mean over positions as two sums and a product, for `vjp_sum` and `vjp_mul`."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum(1).sum(1)
        return total * tensor(np.full(total.shape, total.size / x.size, x.dtype))


def _put_modules(model: Any, pieces: Pieces) -> None:
    """Put the learner's units and hourglasses into the network, with weights of its dtype."""
    model.pool = _Mean()
    for _, parent in list(model.named_modules()):
        for name, child in list(parent.children()):
            if "Unit" in pieces and isinstance(child, PreActUnit):
                sizes = child.conv1.weight.shape[2], child.conv3.weight.shape[3]
                unit = pieces["Unit"](*sizes, child.conv2.stride[0])
                setattr(parent, name, _in_dtype(unit, child.conv1.weight.dtype))
            elif "MyHourglass" in pieces and isinstance(child, Hourglass):
                # The same parts, another forward.
                child.__class__ = pieces["MyHourglass"]  # type: ignore[assignment]


def _in_dtype(model: nn.Module, dtype: Any) -> nn.Module:
    for _, module in model.named_modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, nn.Parameter):
                setattr(module, name, nn.Parameter(value.data.astype(dtype)))
            elif name in module.buffer_names:
                setattr(module, name, value.astype(dtype))
    return model
