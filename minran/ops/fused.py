"""Several operations as one, for speed and memory.

The plain operations (`norm`, `conv`, `+`) say what these compute and are their oracle.
"""

from __future__ import annotations

from collections.abc import Sequence

from minran import backend
from minran.autograd import Array, Tensor, is_recording, tensor
from minran.backend.geometry import conv_output_size
from minran.checks import naming
from minran.errors import BackendError, expect, expect_whole
from minran.ops.norm import BatchNorm, Moments, running_statistics


class NormReLUConv2d(BatchNorm):
    """y = conv2d(relu(batch_norm(x)), w) + residual.

    It keeps x and no normalised copy of it: backward normalises again, block by block. The
    moments of y are summed on the way: `moments_of_y`, for the norm that reads y next.
    """

    def __init__(
        self,
        norm: tuple[Array, Array, bool, float, float],
        stride: int,
        padding: int,
        moments: Moments | None = None,
    ) -> None:
        """norm: running_mean, running_var, training, momentum and eps."""
        super().__init__(*norm, True, moments)
        self.stride, self.padding = stride, padding

    def forward(  # type: ignore[override]
        self, x: Array, gamma: Array, beta: Array, w: Array, residual: Array | None
    ) -> Array:
        # Before the running statistics move: a call that fails must not leave a trace in them.
        _check_conv(x, w, residual, self.stride, self.padding)
        mean, inv_std = self.statistics(x, gamma, beta)
        self.x, self.w = x, w
        self.norm = gamma, beta, mean, inv_std
        y, self.moments_of_y = backend.current().norm_relu_conv2d(
            x, self.norm, w, self.stride, self.padding, residual, self.training
        )
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gx, gw, ggamma, gbeta = backend.current().norm_relu_conv2d_backward(
            gy, self.x, self.norm, self.w, self.stride, self.padding, self.whole
        )
        dtype = self.w.dtype
        return gx, ggamma.astype(dtype), gbeta.astype(dtype), gw, gy if self.needs[4] else None


def norm_relu_conv2d(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Array,
    running_var: Array,
    training: bool,
    w: Tensor,
    stride: int = 1,
    padding: int = 0,
    residual: Tensor | None = None,
    momentum: float = 0.1,
    eps: float = 1e-5,
    moments: Moments | None = None,
) -> Tensor:
    """conv2d(batch_norm_relu(x, gamma, beta, ...), w, None, stride, padding) + residual.

    x: (N, H, W, C); w: (K, K, C, Cout); residual: (N, Ho, Wo, Cout) or None
    -> y: (N, Ho, Wo, Cout). Running statistics, `moments` and errors as `batch_norm` and `conv2d`.

    Raises BackendError on a backend without it (`backend.has("norm_relu_conv2d")`).
    """
    expect(
        backend.has("norm_relu_conv2d"),
        f"norm_relu_conv2d: the {backend.current().name} backend has no fused kernel; use "
        "batch_norm_relu, conv2d and +",
        BackendError,
    )
    expect_whole(stride, "norm_relu_conv2d: stride")
    expect_whole(padding, "norm_relu_conv2d: padding", 0)
    norm = running_mean, running_var, training, momentum, eps
    return NormReLUConv2d(norm, stride, padding, moments)(x, gamma, beta, w, residual)


def _check_conv(x: Array, w: Array, residual: Array | None, stride: int, padding: int) -> None:
    shapes = f"x {tuple(x.shape)}, w {tuple(w.shape)}"
    expect(
        x.ndim == w.ndim == 4 and w.shape[0] == w.shape[1] and w.shape[2] == x.shape[3],
        f"norm_relu_conv2d: expected x (N, H, W, C) and w (K, K, C, Cout), got {shapes}",
    )
    expect(
        backend.weight_dtype(x.dtype) == w.dtype,
        f"norm_relu_conv2d: x is {x.dtype} but w is {w.dtype}; they must agree",
    )
    expect(
        padding < w.shape[0],
        f"norm_relu_conv2d: padding {padding} must be below the kernel's {w.shape[0]}",
    )
    with naming("norm_relu_conv2d", shapes):
        size = [conv_output_size(n, w.shape[0], stride, padding) for n in x.shape[1:3]]
    expected = (x.shape[0], *size, w.shape[3])
    expect(
        residual is None or tuple(residual.shape) == expected,
        f"norm_relu_conv2d: residual must be {expected}, got "
        f"{residual is not None and tuple(residual.shape)}",
    )


Norm = tuple[Tensor, Tensor, Array, Array, float]
"""gamma, beta, running_mean, running_var (C,) each, and eps."""


def folded_unit(
    x: Tensor,
    norms: Sequence[Norm],
    weights: Sequence[Tensor],
    projection: Tensor | None = None,
    stride: int = 1,
) -> Tensor:
    """A pre-activation bottleneck in evaluation, as one operation without a gradient.

        p = relu(bn1(x));  u = relu(bn2(conv1x1(p)));  v = relu(bn3(conv3x3(u), stride))
        y = conv1x1(v) + (conv1x1(p, stride) or x)

    With the running statistics a norm is a x + b, so bn(conv(z, w)) = conv(z, a w) + b. The
    weights are folded in each call (a million multiplications for Attention-56), so no folded
    copy can be out of date.

    x (N, H, W, C); norms of C, D and D channels; weights (1, 1, C, D), (3, 3, D, D) and
    (1, 1, D, Cout); projection (1, 1, C, Cout) or None -> (N, H/stride, W/stride, Cout).
    Equal to the separate operations but for rounding.

    Raises ShapeError if shapes or dtypes do not fit, BackendError where gradients
    are recorded or on a backend without it (`backend.has("folded_unit")`).
    """
    expect(
        not is_recording() and backend.has("folded_unit"),
        "folded_unit: works under no_grad, on the numpy backend; use the separate operations",
        BackendError,
    )
    _check_unit(x, norms, weights, projection, stride)
    gamma, beta, running_mean, running_var, eps = norms[0]
    first = gamma.data, beta.data, *running_statistics(running_mean, running_var, eps)
    (a2, b2), (a3, b3) = (_scale_and_shift(*norm) for norm in norms[1:])
    w1, w2, w3 = (weight.data for weight in weights)
    dtype = w1.dtype
    y = backend.current().folded_unit(
        x.data,
        first,
        w1 * a2.astype(dtype),
        b2,
        w2 * a3.astype(dtype),
        b3,
        w3,
        None if projection is None else projection.data,
        stride,
    )
    return tensor(y)


def _scale_and_shift(
    gamma: Tensor, beta: Tensor, running_mean: Array, running_var: Array, eps: float
) -> tuple[Array, Array]:
    """Batch norm in evaluation as a x + b: a = gamma / sqrt(var + eps), b = beta - a mean."""
    mean, inv_std = running_statistics(running_mean, running_var, eps)
    a = gamma.data * inv_std
    return a, beta.data - a * mean


def _check_unit(
    x: Tensor,
    norms: Sequence[Norm],
    weights: Sequence[Tensor],
    projection: Tensor | None,
    stride: int,
) -> None:
    shapes = [tuple(weight.shape) for weight in weights]
    got = f"x {tuple(x.shape)}, weights {shapes}"
    expect(
        len(norms) == len(weights) == 3 and x.ndim == 4,
        f"folded_unit: expected x (N, H, W, C), three norms and three weights, got {got}",
    )
    c, inner, out = x.shape[3], shapes[0][-1], shapes[2][-1]
    expect(
        shapes == [(1, 1, c, inner), (3, 3, inner, inner), (1, 1, inner, out)],
        "folded_unit: expected x (N, H, W, C) and weights (1, 1, C, D), (3, 3, D, D), "
        f"(1, 1, D, Cout), got {got}",
    )
    widths = [tuple(norm[0].shape) for norm in norms]
    expect(
        widths == [(c,), (inner,), (inner,)],
        f"folded_unit: expected norms of {c}, {inner} and {inner} channels, got {widths}",
    )
    expect(
        projection is not None or (c == out and stride == 1),
        f"folded_unit: without a projection {c} channels must stay {c} with stride 1, got {out} "
        f"channels with stride {stride}",
    )
    expect(
        projection is None or tuple(projection.shape) == (1, 1, c, out),
        f"folded_unit: expected a projection {(1, 1, c, out)}, got "
        f"{projection is not None and tuple(projection.shape)}",
    )
    dtypes = {str(array.dtype) for array in (x, *weights)}
    expect(len(dtypes) == 1, f"folded_unit: x and weights must have one dtype, got {dtypes}")
