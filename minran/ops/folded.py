"""Evaluation of a pre-activation unit with its batch norms folded into its convolutions."""

from __future__ import annotations

from collections.abc import Sequence

from minran import backend
from minran.autograd import Array, Tensor, is_recording, tensor
from minran.errors import BackendError, expect
from minran.ops.norm import inference_affine, inference_statistics

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
    are recorded or on a backend without it (`can_fold`).
    """
    expect(
        can_fold(),
        "folded_unit: works under no_grad, on the numpy backend; use the separate operations",
        BackendError,
    )
    _check(x, norms, weights, projection, stride)
    gamma, beta, running_mean, running_var, eps = norms[0]
    first = gamma.data, beta.data, *inference_statistics(running_mean, running_var, eps)
    (a2, b2), (a3, b3) = (inference_affine(*norm) for norm in norms[1:])
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


def _check(
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


def can_fold() -> bool:
    """Whether `folded_unit` can be used here: no gradients wanted, and the backend has it."""
    return not is_recording() and backend.has("folded_unit")
