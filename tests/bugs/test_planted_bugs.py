"""A test that cannot fail is a defect: plant a bug, and see that a test of ours catches it.

Each line of BUGS holds a classic mistake, how to plant it in the running package, and the check
that must catch it: the very helper that the real tests call. The check passes without the bug
and fails with it.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import test_autograd
import torch
from model_checks import check_mask_reads_no_trunk, with_threads
from op_cases import BY_NAME, check_float32, check_parity, check_running_statistics
from parity import assert_network_parity, randomise_norms

import minran
from minran import Tensor, autograd, ops, tensor
from minran.backend import cpu
from minran.errors import MinranError
from minran.gradcheck import check_op
from minran.interop import create_twin
from minran.models import AttentionModule, Hourglass
from minran.models.fused import FusedPreActUnit
from minran.ops import arithmetic, loss, norm, shape
from minran.optim import SGD

Plant = pytest.MonkeyPatch
Check = Callable[[], None]


# --- the checks


def parity(name: str) -> Check:
    """Values and gradients of one operation against PyTorch's."""
    return lambda: check_parity(BY_NAME[name])


def gradients(name: str) -> Check:
    """Gradients of one operation against differences."""

    def check() -> None:
        report = check_op(name, seed=1)
        assert report.passed, report

    return check


def adjoint(name: str) -> Check:
    """<A x, r> = <x, A' r> for an operation that is linear in its first input."""

    def check() -> None:
        case = BY_NAME[name]
        x, *others = (tensor(array) for array in case.inputs())
        x = tensor(x, requires_grad=True)
        y = case.mine(x, *others)
        r = np.random.default_rng(0).standard_normal(y.shape)
        forward = np.vdot(y.data, r)
        y.backward(r)
        assert abs(forward - np.vdot(x.data, x.grad)) < 1e-10 * abs(forward)

    return check


def network() -> None:
    """A whole network against its twin in PyTorch."""
    model = minran.create_model("attention_nano", dtype="float64", seed=1)
    rng = np.random.default_rng(7)
    randomise_norms(model, rng)
    x = rng.standard_normal((3, 32, 32, 3))
    assert_network_parity(model, create_twin("attention_nano"), x, rng.integers(0, 10, 3))


def sgd() -> None:
    """Three steps of SGD with everything on against PyTorch's."""
    options = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.05}
    rng = np.random.default_rng(0)
    mine = tensor(rng.standard_normal(5), requires_grad=True)
    theirs = torch.tensor(mine.data.copy(), requires_grad=True)
    ours, reference = SGD([mine], **options), torch.optim.SGD([theirs], **options)
    for _ in range(3):
        mine.grad = rng.standard_normal(5)
        theirs.grad = torch.tensor(mine.grad)
        ours.step()
        reference.step()
        np.testing.assert_allclose(mine.data, theirs.detach().numpy(), rtol=1e-12)


def graph_goes() -> None:
    """Without the cycle collector, a graph goes with its result."""
    gc.collect()
    gc.disable()
    try:
        y = ops.sigmoid(tensor(np.ones(3), requires_grad=True))
        end = weakref.ref(y)
        del y
        assert end() is None
    finally:
        gc.enable()
        gc.collect()


def same_on_threads() -> None:
    x = tensor(np.random.default_rng(0).standard_normal((16, 32, 32, 3)).astype(np.float32))
    one, two = (with_threads(n, "attention_nano", x) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


# --- the bugs: each plants itself


def wrong_padding(plant: Plant) -> None:
    real = cpu.conv2d

    def conv2d(x: Any, w: Any, stride: Any, padding: Any, groups: int) -> Any:
        (p, q), none = padding, (0, 0)
        return real(np.pad(x, (none, (2 * p, 0), (2 * q, 0), none)), w, stride, none, groups)

    plant.setattr(cpu, "conv2d", conv2d)


def change_weight_gradient(change: Callable[[Any], Any]) -> Callable[[Plant], None]:
    def bug(plant: Plant) -> None:
        real = cpu.conv2d_backward

        def conv2d_backward(*args: Any) -> Any:
            gx, gw = real(*args)
            return gx, change(gw)

        plant.setattr(cpu, "conv2d_backward", conv2d_backward)

    return bug


def kernel_not_turned(plant: Plant) -> None:
    """The gradient of a convolution in x, with the kernel as it is in forward."""
    real = cpu.conv2d_backward

    def conv2d_backward(gy: Any, x: Any, w: Any, *rest: Any) -> Any:
        return real(gy, x, np.ascontiguousarray(w[::-1, ::-1]), *rest)[0], real(gy, x, w, *rest)[1]

    plant.setattr(cpu, "conv2d_backward", conv2d_backward)


def gradient_assigned_in_the_walk(plant: Plant) -> None:
    plant.setattr(autograd, "_sum", lambda a, a_owned, b, b_owned: (b, b_owned))


def gradient_assigned_at_the_leaf(plant: Plant) -> None:
    def add_to_leaf(leaf: Tensor, grad: Any, owned: bool) -> None:
        leaf.grad = grad.copy()

    plant.setattr(autograd, "_add_to_leaf", add_to_leaf)


def gradient_array_shared(plant: Plant) -> None:
    def add_to_leaf(leaf: Tensor, grad: Any, owned: bool) -> None:
        leaf.grad = grad if leaf.grad is None else np.add(leaf.grad, grad, out=leaf.grad)

    plant.setattr(autograd, "_add_to_leaf", add_to_leaf)


def walk_in_order_of_arrival(plant: Plant) -> None:
    """First come, first served: an op may run before all of its gradient is there."""

    class Queue:
        heappush = staticmethod(lambda heap, item: heap.append(item))
        heappop = staticmethod(lambda heap: heap.pop(0))

    plant.setattr(autograd, "heapq", Queue)


def op_keeps_its_output(plant: Plant) -> None:
    real = autograd.Op.__call__

    def call(self: Any, *tensors: Any) -> Tensor:
        self.output = real(self, *tensors)
        return self.output

    plant.setattr(autograd.Op, "__call__", call)


def biased_running_variance(plant: Plant) -> None:
    real = cpu.finish_norm

    def finish_norm(moments: Any, *rest: Any) -> Any:
        (mean, var), (*_, eps, count) = moments, rest
        norm = real((mean, var * (count - 1) / count), *rest)
        return *norm[:3], 1 / np.sqrt(var + eps)

    plant.setattr(cpu, "finish_norm", finish_norm)


def norm_backward(**wrong: Any) -> Callable[[Plant], None]:
    """The gradient of batch norm in x, with some arguments forgotten."""

    def bug(plant: Plant) -> None:
        real = cpu.batch_norm_backward_input
        names = ("gy", "x", "y", "gamma", "mean", "inv_std", "ggamma", "gbeta", "count")

        def backward(*args: Any) -> Any:
            given = dict(zip(names, args, strict=True))
            return real(**{**given, **{k: change(given[k]) for k, change in wrong.items()}})

        plant.setattr(cpu, "batch_norm_backward_input", backward)

    return bug


def eps_outside_the_root(plant: Plant) -> None:
    real = norm.BatchNorm.finish

    def finish(self: Any, x: Any, gamma: Any, beta: Any) -> Any:
        *vectors, inv_std = real(self, x, gamma, beta)
        return *vectors, 1 / (np.sqrt(1 / inv_std**2 - self.eps) + self.eps)

    plant.setattr(norm.BatchNorm, "finish", finish)


def moments_before_the_residual(plant: Plant) -> None:
    real = cpu.norm_relu_conv2d

    def norm_relu_conv2d(x: Any, vectors: Any, w: Any, *rest: Any) -> Any:
        *others, residual, with_moments = rest
        _, moments = real(x, vectors, w, *others, None, with_moments)
        return real(x, vectors, w, *others, residual, with_moments)[0], moments

    plant.setattr(cpu, "norm_relu_conv2d", norm_relu_conv2d)


def align_corners_swapped(plant: Plant) -> None:
    """In both directions: gradient and function agree with each other, and are both wrong."""
    up, down = cpu.upsample_bilinear2d, cpu.upsample_bilinear2d_backward
    plant.setattr(cpu, "upsample_bilinear2d", lambda x, size, align: up(x, size, not align))
    plant.setattr(
        cpu, "upsample_bilinear2d_backward", lambda gy, shape, align: down(gy, shape, not align)
    )


def upsample_backward_by_resizing(plant: Plant) -> None:
    """The gradient as an interpolation to the small size, which is no adjoint."""
    plant.setattr(
        cpu,
        "upsample_bilinear2d_backward",
        lambda gy, shape, align: cpu.upsample_bilinear2d(gy, shape[1:3], align),
    )


def ties_to_the_last_maximum(plant: Plant) -> None:
    real = cpu.max_pool2d_backward

    def backward(gy: Any, x: Any, y: Any, *window: Any) -> Any:
        turned = (np.ascontiguousarray(array[:, ::-1, ::-1]) for array in (gy, x, y))
        return real(*turned, *window)[:, ::-1, ::-1]

    plant.setattr(cpu, "max_pool2d_backward", backward)


def ties_to_every_maximum(plant: Plant) -> None:
    real = cpu.max_pool2d_backward

    def backward(gy: Any, x: Any, y: Any, kernel: Any, stride: Any, padding: Any) -> Any:
        if kernel != stride:
            return real(gy, x, y, kernel, stride, padding)
        spread = [np.repeat(np.repeat(a, kernel[0], 1), kernel[1], 2) for a in (y, gy)]
        return (x == spread[0]) * spread[1]

    plant.setattr(cpu, "max_pool2d_backward", backward)


def pool_reads_zeros(plant: Plant) -> None:
    real = cpu.max_pool2d

    def max_pool2d(x: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool) -> Any:
        (p, q), none = padding, (0, 0)
        return real(np.pad(x, (none, (p, p), (q, q), none)), kernel, stride, none, ceil_mode)

    plant.setattr(cpu, "max_pool2d", max_pool2d)


def pool_rounds_down(plant: Plant) -> None:
    real = cpu.max_pool2d
    plant.setattr(cpu, "max_pool2d", lambda *args: real(*args[:4], False))


def gate_without_the_one(plant: Plant) -> None:
    real = cpu.gate
    plant.setattr(cpu, "gate", lambda mask, trunk, residual: real(mask, trunk, False))


def gate_backward_without_the_one(plant: Plant) -> None:
    plant.setattr(cpu, "gate_backward", lambda gy, mask, trunk, residual: (gy * trunk, gy * mask))


def gate_forgets_the_mask(plant: Plant) -> None:
    real = cpu.gate_backward

    def gate_backward(gy: Any, mask: Any, trunk: Any, residual: bool) -> Any:
        return np.zeros_like(mask), real(gy, mask, trunk, residual)[1]

    plant.setattr(cpu, "gate_backward", gate_backward)


def sigmoid_derivative(plant: Plant) -> None:
    plant.setattr(cpu, "sigmoid_backward", lambda gy, y: gy * y)


def relu_keeps_negatives(plant: Plant) -> None:
    plant.setattr(cpu, "relu_backward", lambda gy, y: gy * (y >= 0))


def relu_in_float64(plant: Plant) -> None:
    plant.setattr(cpu, "relu", lambda x: np.where(x > 0, x, np.float64(0)))


def attention_over_pixels(plant: Plant) -> None:
    def channel_attention(x: Any, eps: float) -> Any:
        length = np.sqrt((x * x).sum((1, 2), keepdims=True) + eps)
        return x / length, length

    plant.setattr(cpu, "channel_attention", channel_attention)


def spatial_statistics_constant(plant: Plant) -> None:
    def backward(gy: Any, x: Any, y: Any, mean: Any, inv_std: Any) -> Any:
        return gy * y * (1 - y) * inv_std

    plant.setattr(cpu, "spatial_attention_backward", backward)


def smoothing_over_the_other_classes(plant: Plant) -> None:
    def cross_entropy(logits: Tensor, labels: Any, label_smoothing: float = 0.0) -> Tensor:
        targets = np.eye(logits.shape[1])[labels]
        others = label_smoothing / (logits.shape[1] - 1)
        return loss.CrossEntropy((1 - label_smoothing) * targets + others * (1 - targets))(logits)

    plant.setattr(ops, "cross_entropy", cross_entropy)


def loss_summed(plant: Plant) -> None:
    forward, backward = cpu.cross_entropy, cpu.cross_entropy_backward

    def cross_entropy(logits: Any, targets: Any) -> Any:
        mean, log_probabilities = forward(logits, targets)
        return mean * len(logits), log_probabilities

    plant.setattr(cpu, "cross_entropy", cross_entropy)
    plant.setattr(cpu, "cross_entropy_backward", lambda gy, logp, t: backward(gy, logp, t) * len(t))


def softmax_without_mixed_terms(plant: Plant) -> None:
    plant.setattr(cpu, "softmax_backward", lambda gy, y: gy * y * (1 - y))


def broadcast_averaged(plant: Plant) -> None:
    def unbroadcast(grad: Any, shape: tuple[int, ...]) -> Any:
        added = grad.ndim - len(shape)
        stretched = [added + a for a, n in enumerate(shape) if n == 1]
        return grad.mean((*range(added), *stretched), keepdims=True).reshape(shape)

    plant.setattr(arithmetic, "_unbroadcast", unbroadcast)


def index_assigned(plant: Plant) -> None:
    def backward(self: Any, gy: Any) -> Any:
        gx = np.zeros(self.shape)
        gx[self.index] = gy
        return (gx,)

    plant.setattr(shape.Index, "backward", backward)


def concat_swapped(plant: Plant) -> None:
    plant.setattr(
        shape.Concat,
        "backward",
        lambda self, gy: tuple(np.split(gy, np.cumsum(self.sizes)[:-1], self.axis))[::-1],
    )


def transpose_not_undone(plant: Plant) -> None:
    plant.setattr(shape.Transpose, "backward", lambda self, gy: (gy.transpose(self.axes),))


def mask_reads_the_trunk(plant: Plant) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        h = self.trunk(self.before(x))
        return self.after(ops.gate(self.mask(h), h, self.learning))

    plant.setattr(AttentionModule, "forward", forward)


def gate_after_the_last_units(plant: Plant) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        u = self.before(x)
        return ops.gate(self.mask(u), self.after(self.trunk(u)), self.learning)

    plant.setattr(AttentionModule, "forward", forward)


def skip_reads_the_pooled_input(plant: Plant) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        pooled = self.pool(x)
        d = self.down(pooled)
        y = self.up(self.skip(pooled) + self.inner(d)) if self.depth > 1 else self.bottom(d)
        return self.interpolate(y, x)

    plant.setattr(Hourglass, "forward", forward)


def skip_forgotten(plant: Plant) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        d = self.down(self.pool(x))
        return self.interpolate(self.up(self.inner(d)) if self.depth > 1 else self.bottom(d), x)

    plant.setattr(Hourglass, "forward", forward)


def shortcut_reads_x(plant: Plant) -> None:
    """The projection must read relu(bn(x)), not x."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.conv1(self.norm1(x))
        y = self.conv3(self.norm3(self.conv2(self.norm2(y))))
        return y + (x if self.shortcut is None else self.shortcut(x))

    plant.setattr(FusedPreActUnit, "forward", forward)


def blocks_by_threads(plant: Plant) -> None:
    """Blocks cut by the number of threads: rounding differs from machine to machine."""
    from minran.backend.cpu import blocks

    real = blocks.block_ranges

    def block_ranges(count: int, size: int, block_bytes: int) -> Any:
        return real(count, size, block_bytes * cpu.threads() // 16)

    plant.setattr(blocks, "block_ranges", block_ranges)


def sgd_with(**wrong: Any) -> Callable[[Plant], None]:
    """SGD with some of its options ignored."""

    def bug(plant: Plant) -> None:
        real = cpu.sgd_update
        names = ("lr", "momentum", "weight_decay", "nesterov")

        def sgd_update(param: Any, grad: Any, velocity: Any, *options: Any) -> None:
            real(param, grad, velocity, **{**dict(zip(names, options, strict=True)), **wrong})

        plant.setattr(cpu, "sgd_update", sgd_update)

    return bug


def weight_decay_decoupled(plant: Plant) -> None:
    real = cpu.sgd_update

    def sgd_update(p: Any, grad: Any, v: Any, lr: float, mu: float, wd: float, n: bool) -> None:
        p *= 1 - lr * wd
        real(p, grad, v, lr, mu, 0.0, n)

    plant.setattr(cpu, "sgd_update", sgd_update)


@dataclass(frozen=True)
class Bug:
    name: str
    plant: Callable[[Plant], None]
    check: Check

    def __str__(self) -> str:
        return self.name


def zeros(array: Any) -> Any:
    return np.zeros_like(array)


BUGS = [
    Bug("convolution pads one side only", wrong_padding, parity("conv2d bias")),
    Bug(
        "weight gradient with rows and columns swapped",
        change_weight_gradient(lambda gw: gw.swapaxes(0, 1)),
        gradients("conv2d"),
    ),
    Bug(
        "weight gradient averaged over the batch",
        change_weight_gradient(lambda gw: gw / 2),
        gradients("conv2d"),
    ),
    Bug("kernel not turned in the input gradient", kernel_not_turned, adjoint("conv2d plain")),
    Bug(
        "= instead of += in the walk", gradient_assigned_in_the_walk, parity("a result used twice")
    ),
    Bug("= instead of += at a leaf", gradient_assigned_at_the_leaf, parity("x used three times")),
    Bug(
        "two leaves share one gradient array",
        gradient_array_shared,
        lambda: test_autograd.test_every_gradient_has_memory_of_its_own("a + b"),
    ),
    Bug(
        "walk in order of arrival",
        walk_in_order_of_arrival,
        test_autograd.test_old_and_new_paths_meet_in_the_right_order,
    ),
    Bug("an op refers to its output", op_keeps_its_output, graph_goes),
    Bug("biased running variance", biased_running_variance, check_running_statistics),
    Bug(
        "batch statistics as constants",
        norm_backward(count=lambda count: None),
        gradients("batch_norm"),
    ),
    Bug("variance not differentiated", norm_backward(ggamma=zeros), gradients("batch_norm")),
    Bug("mean not differentiated", norm_backward(gbeta=zeros), gradients("batch_norm")),
    Bug("gamma forgotten", norm_backward(gamma=np.ones_like), gradients("batch_norm_eval")),
    Bug(
        "relu forgotten behind the norm",
        norm_backward(y=lambda y: None),
        gradients("batch_norm_relu"),
    ),
    Bug("eps outside the root", eps_outside_the_root, parity("batch_norm training, large eps")),
    Bug("moments taken before the residual is added", moments_before_the_residual, network),
    Bug("align_corners swapped", align_corners_swapped, parity("upsample align_corners")),
    Bug(
        "interpolation instead of its adjoint",
        upsample_backward_by_resizing,
        adjoint("upsample align_corners"),
    ),
    Bug("ties go to the last maximum", ties_to_the_last_maximum, parity("max_pool2d of ties")),
    Bug("ties go to every maximum", ties_to_every_maximum, parity("max_pool2d of ties")),
    Bug("max-pool reads zeros", pool_reads_zeros, parity("max_pool2d of negatives, padded")),
    Bug("max-pool rounds down", pool_rounds_down, parity("max_pool2d ceil mode")),
    Bug("gate without the 1 +", gate_without_the_one, parity("gate")),
    Bug("gate backward without the 1 +", gate_backward_without_the_one, gradients("gate")),
    Bug("gate forgets the mask's gradient", gate_forgets_the_mask, gradients("gate_naive")),
    Bug("sigmoid's derivative", sigmoid_derivative, gradients("sigmoid")),
    Bug("relu lets all gradients through", relu_keeps_negatives, gradients("relu")),
    Bug("float64 leaks in", relu_in_float64, lambda: check_float32(BY_NAME["relu"])),
    Bug("channel attention over pixels", attention_over_pixels, parity("channel_attention")),
    Bug(
        "spatial statistics as constants",
        spatial_statistics_constant,
        gradients("spatial_attention"),
    ),
    Bug(
        "smoothing over K - 1 classes",
        smoothing_over_the_other_classes,
        parity("cross_entropy smoothed"),
    ),
    Bug("loss summed, not averaged", loss_summed, parity("cross_entropy of integers")),
    Bug("softmax without its mixed terms", softmax_without_mixed_terms, gradients("softmax")),
    Bug("broadcast averaged, not summed", broadcast_averaged, parity("a + row")),
    Bug("repeated indices overwrite", index_assigned, parity("x[rows], some twice")),
    Bug("concat hands parts back swapped", concat_swapped, parity("concat of equal widths")),
    Bug("transpose not undone", transpose_not_undone, parity("transpose tuple")),
    Bug("mask reads the trunk", mask_reads_the_trunk, check_mask_reads_no_trunk),
    Bug("gate after the last units", gate_after_the_last_units, network),
    Bug("skip reads the pooled input", skip_reads_the_pooled_input, network),
    Bug("skip forgotten", skip_forgotten, network),
    Bug("shortcut reads x", shortcut_reads_x, network),
    Bug("sums depend on the threads", blocks_by_threads, same_on_threads),
    Bug("nesterov as plain momentum", sgd_with(nesterov=False), sgd),
    Bug("weight decay missing", sgd_with(weight_decay=0.0), sgd),
    Bug("weight decay decoupled", weight_decay_decoupled, sgd),
]


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    bug.check()
    bug.plant(monkeypatch)
    with pytest.raises((AssertionError, MinranError)):
        bug.check()
