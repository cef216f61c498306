"""minran's operations under PyTorch's names, with PyTorch's arguments in PyTorch's order of axes.

Each function takes what `torch.testing`'s samples hold, as Tensors. It changes the order of axes
with minran's own `transpose`, so that gradients come back in PyTorch's. An option that minran does
not have raises NotOfferedError with the option's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minran import Tensor, ops, tensor
from minran.errors import MinranError


class NotOfferedError(MinranError):
    """An option of PyTorch that minran does not have."""


def decision(error: MinranError, decisions: Iterable[str]) -> str:
    """The one of the decisions that names this refusal."""
    found = [words for words in decisions if words in str(error)]
    assert len(found) == 1, f"{len(found)} decisions for: {error}"
    return found[0]


def only(condition: bool, otherwise: str) -> None:
    if not condition:
        raise NotOfferedError(f"not offered: {otherwise}")


def nhwc(x: Tensor) -> Tensor:
    """Of other ranks as it is: to refuse those is the operation's own part."""
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def nchw(x: Tensor) -> Tensor:
    return x.transpose(0, 3, 1, 2)


def one_or_two(size: Any) -> Any:
    """PyTorch takes (2,) and [2, 3] where minran takes 2 and (2, 3)."""
    size = tuple(size) if isinstance(size, (list, tuple)) else size
    return size[0] if isinstance(size, tuple) and len(size) == 1 else size


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    only(one_or_two(dilation) in (1, (1, 1)), "dilation")
    only(not isinstance(padding, str), "padding by name")
    w = w.transpose(2, 3, 1, 0) if w.ndim == 4 else w
    return nchw(ops.conv2d(nhwc(x), w, bias, one_or_two(stride), one_or_two(padding), groups))


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """Without the indices that PyTorch returns beside the values."""
    only(one_or_two(dilation) in (1, (1, 1)), "dilation")
    sizes = (one_or_two(size) for size in (kernel_size, stride or None, padding))
    return nchw(ops.max_pool2d(nhwc(x), *sizes, ceil_mode))


def avg_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    only(not ceil_mode, "ceil_mode of an average")
    only(count_include_pad or not padding, "count_include_pad")
    only(divisor_override is None, "divisor_override")
    sizes = (one_or_two(size) for size in (kernel_size, stride or None, padding))
    return nchw(ops.avg_pool2d(nhwc(x), *sizes))


def adaptive_avg_pool2d(x, output_size):
    only(one_or_two(output_size) in (1, (1, 1)), "adaptive pooling to more than one pixel")
    y = ops.global_avg_pool(nhwc(x))
    return y.reshape(*y.shape, 1, 1)


def interpolate(x, size=None, scale_factor=None, mode="bilinear", align_corners=None, **options):
    only(not options.pop("antialias", False), "antialias")
    only(mode == "bilinear", "modes other than bilinear")
    if size is None:
        factors = np.broadcast_to(scale_factor, 2)
        size = tuple(int(np.floor(n * factor)) for n, factor in zip(x.shape[2:], factors))
        whole = all(n * factor == new for n, factor, new in zip(x.shape[2:], factors, size))
        only(
            whole or bool(align_corners) or bool(options.get("recompute_scale_factor")),
            "a scale factor other than the ratio of the sizes",
        )
    return nchw(ops.upsample_bilinear2d(nhwc(x), one_or_two(size), bool(align_corners)))


def upsample_bilinear(x, size=None, scale_factor=None):
    return interpolate(x, size, scale_factor, align_corners=True)


def batch_norm(x, mean, var, gamma=None, beta=None, training=False, momentum=0.1, eps=1e-5):
    """Without gamma and beta they are 1 and 0; running statistics that nobody wants are lost."""
    only(x.ndim in (2, 4), "batch norm of pictures of 1 or 3 dimensions")
    channels = x.shape[1]
    gamma = tensor(np.ones(channels, x.dtype)) if gamma is None else gamma
    beta = tensor(np.zeros(channels, x.dtype)) if beta is None else beta
    mean = np.zeros(channels, x.dtype) if mean is None else mean.data
    var = np.ones(channels, x.dtype) if var is None else var.data
    y = ops.batch_norm(nhwc(x), gamma, beta, mean, var, training, momentum, eps)
    return nchw(y) if y.ndim == 4 else y


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    only(weight is None, "weights of classes")
    only(not getattr(target, "requires_grad", False), "gradients of the targets")
    only(reduction == "mean", "reductions other than the mean")
    only(not np.any(data(target) == ignore_index), "ignore_index")
    return ops.cross_entropy(x, data(target), label_smoothing)


def data(value):
    return value.data if isinstance(value, Tensor) else value


def linear(x, w, bias=None):
    return ops.linear(x, w.transpose(), bias)


def normalize(x, p=2.0, dim=1, eps=1e-12, out=None):
    only(p == 2 and dim in (1, -3) and x.ndim == 4, "norms other than over the channels")
    return nchw(ops.channel_attention(nhwc(x)))


def softmax_of(op: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def softmax(x, dim, dtype=None):
        only(dtype is None, "dtype")
        only(dim in (-1, x.ndim - 1), "softmax over other axes than the last")
        return op(x)

    return softmax


def power(x, exponent):
    only(not isinstance(exponent, Tensor), "exponents that are tensors")
    return x**exponent


def reduction(name: str) -> Callable[..., Tensor]:
    def reduce(x, dim=None, keepdim=False, dtype=None):
        only(dtype is None, "dtype")
        axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
        return getattr(x, name)(None if axis == () else axis, keepdim)

    return reduce


def swap(x, first, second):
    order = list(range(x.ndim))
    if order:
        order[first], order[second] = order[second], order[first]
    return x.transpose(order)


def index(x, where):
    where = where if isinstance(where, tuple) else (where,)
    return x[tuple(data(one) for one in where)]


def select(x, dim, at):
    return x[(slice(None),) * (dim % x.ndim) + (at,)]


OPS: dict[str, Callable[..., Tensor]] = {
    "nn.functional.conv2d": conv2d,
    "nn.functional.max_pool2d": max_pool2d,
    "nn.functional.avg_pool2d": avg_pool2d,
    "nn.functional.adaptive_avg_pool2d": adaptive_avg_pool2d,
    "nn.functional.interpolate bilinear": interpolate,
    "nn.functional.upsample_bilinear": upsample_bilinear,
    "nn.functional.batch_norm": batch_norm,
    "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.linear": linear,
    "nn.functional.normalize": normalize,
    "nn.functional.relu": ops.relu,
    "sigmoid": ops.sigmoid,
    "softmax": softmax_of(ops.softmax),
    "log_softmax": softmax_of(ops.log_softmax),
    "add": lambda x, y, alpha=1: x + y * alpha if alpha != 1 else x + y,
    "sub": lambda x, y, alpha=1: x - y * alpha if alpha != 1 else x - y,
    "mul": lambda x, y: x * y,
    "div no_rounding_mode": lambda x, y, rounding_mode=None: x / y,
    "__radd__": lambda x, y: y + x,
    "__rsub__": lambda x, y: y - x,
    "__rmul__": lambda x, y: y * x,
    "__rdiv__": lambda x, y: y / x,
    "neg": lambda x: -x,
    "pow": power,
    "square": lambda x: x**2,
    "reciprocal": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / x.sqrt(),
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "mm": lambda x, y: x @ y,
    "matmul": lambda x, y: x @ y,
    "__rmatmul__": lambda x, y: y @ x,
    "sum": reduction("sum"),
    "mean": reduction("mean"),
    "amax": reduction("max"),
    "max reduction_no_dim": lambda x: x.max(),
    "reshape": lambda x, shape: x.reshape(shape),
    "view": lambda x, shape: x.reshape(shape),
    "permute": lambda x, order: x.transpose(order),
    "transpose": swap,
    "t": lambda x: x.transpose(),
    "__getitem__": index,
    "select": select,
    "cat": lambda parts, dim=0: ops.concat(parts, dim),
}
"""By the name of PyTorch's OpInfo and its variant."""
