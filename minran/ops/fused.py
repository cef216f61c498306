"""Several operations as one, for speed and memory.

The plain operations (`norm`, `conv`, `+`) say what these compute and are their oracle.
"""

from __future__ import annotations

from collections.abc import Sequence

from minran import backend, checks
from minran.autograd import Array, Tensor, is_recording, tensor
from minran.backend.geometry import conv_output_size
from minran.errors import BackendError, ShapeError, expect, expect_whole
from minran.ops.activation import Gate
from minran.ops.norm import BatchNorm, Moments, running_statistics


class NormReLUConv2d(BatchNorm):
    """y = conv2d(relu(batch_norm(x)), w) + residual.

    It keeps x and no normalised copy of it: backward normalises again, block by block. The
    moments of y are summed on the way: `moments_of_y`, for the norm that reads y next.
    """

    adds_earlier = True

    def __init__(
        self,
        norm: tuple[Array, Array, bool, float, float],
        stride: int,
        padding: int,
        moments: Moments | None = None,
        first: NormReLUConv2d | None = None,
    ) -> None:
        """norm: running_mean, running_var, training, momentum and eps.

        first: another convolution of the same norm's result. The statistics are taken from there,
        the running ones move once, and no moments of y are summed.
        """
        super().__init__(*norm, True, moments)
        self.stride, self.padding, self.first = stride, padding, first

    def forward(  # type: ignore[override]
        self, x: Array, gamma: Array, beta: Array, w: Array, residual: Array | None
    ) -> Array:
        # Before the running statistics move: a call that fails must not leave a trace in them.
        _check_conv(x, w, residual, self.stride, self.padding)
        first, self.first = self.first, None
        if first is None:
            self.norm = self.finish(x, gamma, beta)
        else:
            self.norm, self.batch = first.norm, first.batch
        self.x, self.w = x, w
        with_moments = self.training and first is None
        y, self.moments_of_y = backend.current().norm_relu_conv2d(
            x, self.norm, w, self.stride, self.padding, residual, with_moments
        )
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gx, gw, ggamma, gbeta = backend.current().norm_relu_conv2d_backward(
            gy, self.x, self.norm, self.w, self.stride, self.padding, self.whole, self.earlier
        )
        return gx, ggamma, gbeta, gw, gy if self.needs[4] else None


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


class SigmoidGate(Gate):
    """H = (1 + M) T (residual) or H = M T (naive), with M = sigmoid(x), which is never stored.

    x and T: (N, H, W, C), and so is H. gx = gH T M (1 - M); gT as in `Gate`.
    """

    def forward(self, x: Array, trunk: Array) -> Array:
        checks.expect_gate(x, trunk)
        self.logits, self.trunk = x, trunk
        return backend.current().sigmoid_gate(x, trunk, self.residual)

    def backward(self, gy: Array) -> tuple[Array, Array]:
        kernel = backend.current().sigmoid_gate_backward
        return kernel(gy, self.logits, self.trunk, self.residual)  # type: ignore[no-any-return]


def _check_conv(x: Array, w: Array, residual: Array | None, stride: int, padding: int) -> None:
    op, size = "norm_relu_conv2d", w.shape[0]
    if not (x.ndim == w.ndim == 4 and size == w.shape[1] and w.shape[2] == x.shape[3]):
        got = f"x {tuple(x.shape)}, w {tuple(w.shape)}"
        raise ShapeError(f"{op}: expected x (N, H, W, C) and w (K, K, C, Cout), got {got}")
    checks.expect_same_dtype(op, x, w)
    expect(padding < size, f"{op}: padding {padding} must be below the kernel's {size}")
    with checks.naming(op, x=x, w=w):
        sides = [conv_output_size(n, size, stride, padding) for n in x.shape[1:3]]
    checks.expect_shape(residual, (x.shape[0], *sides, w.shape[3]), f"{op}: residual")


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
    Equal to the separate operations except for rounding.

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
    w1, w2 = w1 * a2.astype(w1.dtype), w2 * a3.astype(w2.dtype)
    skip = None if projection is None else projection.data
    return tensor(backend.current().folded_unit(x.data, first, w1, b2, w2, b3, w3, skip, stride))


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
    got = f"got x {tuple(x.shape)}, weights {shapes}"
    if not (len(norms) == len(weights) == 3 and x.ndim == 4):
        what = "expected x (N, H, W, C), three norms and three weights"
        raise ShapeError(f"folded_unit: {what}, {got}")
    c, inner, out = x.shape[3], shapes[0][-1], shapes[2][-1]
    widths = [tuple(norm[0].shape) for norm in norms]
    dtypes = {str(array.dtype) for array in (x, *weights)}
    if shapes != [(1, 1, c, inner), (3, 3, inner, inner), (1, 1, inner, out)]:
        form = "x (N, H, W, C) and weights (1, 1, C, D), (3, 3, D, D), (1, 1, D, Cout)"
        wrong = f"expected {form}, {got}"
    elif widths != [(c,), (inner,), (inner,)]:
        wrong = f"expected norms of {c}, {inner} and {inner} channels, got {widths}"
    elif projection is None and (c != out or stride != 1):
        got = f"got {out} channels with stride {stride}"
        wrong = f"without a projection {c} channels must stay {c} with stride 1, {got}"
    elif projection is not None and tuple(projection.shape) != (1, 1, c, out):
        wrong = f"expected a projection {(1, 1, c, out)}, got {tuple(projection.shape)}"
    elif len(dtypes) > 1:
        wrong = f"x and weights must have one dtype, got {dtypes}"
    else:
        return
    raise ShapeError(f"folded_unit: {wrong}")
