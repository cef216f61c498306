"""The operations with weights: the fully connected layer, and convolution.

It is cross-correlation, as every network library means it.
"""

from __future__ import annotations

from minran import backend, checks
from minran.autograd import Array, Op, Tensor
from minran.checks import Size, naming, pair


class Linear(Op):
    """y = x w + bias; gx = gy w^T, gw = x^T gy, gbias = sum_n gy."""

    def forward(self, x: Array, w: Array, bias: Array | None) -> Array:
        checks.expect_linear(x, w, bias)
        self.x, self.w = x, w
        y = backend.current().linear(x, w)
        return y if bias is None else y + bias

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gx, gw = backend.current().linear_backward(gy, self.x, self.w, self.needs[0])
        return gx, gw, gy.sum(0) if self.needs[2] else None


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply by a matrix, add a vector.

        y = x w + bias

    x: (N, D); w: (D, K); bias: (K,) -> y: (N, K).

    Raises ShapeError if the sizes do not fit.

    >>> x, w = tensor([[1.0, 2.0]]), tensor([[1.0], [10.0]])
    >>> ops.linear(x, w, tensor([0.5])).numpy()
    array([[21.5]], dtype=float32)
    """
    return Linear()(x, w, bias)


class Conv2d(Op):
    """y = x * w + bias; gx and gw are the adjoints, gbias is gy summed over N, Ho, Wo."""

    def __init__(self, stride: Size, padding: Size, groups: int) -> None:
        self.stride = pair(stride, "conv2d: stride")
        self.padding = pair(padding, "conv2d: padding")
        self.groups = groups

    def forward(self, x: Array, w: Array, bias: Array | None) -> Array:
        checks.expect_conv(x, w, bias, self.groups)
        self.x, self.w = x, w
        with naming("conv2d", x=x, w=w):
            y = backend.current().conv2d(x, w, self.stride, self.padding, self.groups)
        if bias is not None:
            y += bias.astype(y.dtype, copy=False)
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gx, gw = backend.current().conv2d_backward(
            gy, self.x, self.w, self.stride, self.padding, self.groups, self.needs[0]
        )
        return gx, gw, gy.sum((0, 1, 2), dtype=gw.dtype) if self.needs[2] else None


def conv2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    groups: int = 1,
) -> Tensor:
    """Slide the kernel w over x and sum the products.

        y[n, i, j, k] = bias[k] + sum_{a, b, c} x[n, s i + a - p, s j + b - p, c] w[a, b, c, k]

    x: (N, H, W, C); w: (KH, KW, C/groups, K); bias: (K,) -> y: (N, Ho, Wo, K) with
    Ho = floor((H + 2p - KH) / s) + 1. Outside the image x is zero. With g groups, output
    channel k sees only the C/g input channels of its own group.

    Raises ShapeError if ranks, channels, groups or sizes do not fit.

    >>> x, w = tensor(np.ones((1, 4, 4, 1))), tensor(np.ones((3, 3, 1, 1)))
    >>> ops.conv2d(x, w, padding=1).numpy()[0, :, :, 0]
    array([[4., 6., 6., 4.],
           [6., 9., 9., 6.],
           [6., 9., 9., 6.],
           [4., 6., 6., 4.]])
    """
    return Conv2d(stride, padding, groups)(x, w, bias)
