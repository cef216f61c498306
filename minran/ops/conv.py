"""Convolution (cross-correlation, as every network library means it)."""

from __future__ import annotations

from minran import backend
from minran.autograd import Array, Op, Tensor
from minran.backend.geometry import expect_pictures, pair
from minran.errors import expect, naming

Size = int | tuple[int, int]


class Conv2d(Op):
    """y = x * w + bias; gx and gw are the adjoints, gbias is gy summed over N, Ho, Wo."""

    def __init__(self, stride: Size, padding: Size, groups: int) -> None:
        self.stride = pair(stride, "conv2d: stride")
        self.padding = pair(padding, "conv2d: padding")
        self.groups = groups

    def forward(self, x: Array, w: Array, bias: Array | None) -> Array:
        _check(x, w, bias, self.groups)
        self.x, self.w = x, w
        with naming("conv2d", f"x {tuple(x.shape)}, w {tuple(w.shape)}"):
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
    Ho = floor((H + 2p - KH) / s) + 1. Outside the picture x is zero. With g groups, output
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


def _check(x: Array, w: Array, bias: Array | None, groups: int) -> None:
    shapes = f"(x {tuple(x.shape)}, w {tuple(w.shape)})"
    expect_pictures("conv2d", x)
    expect(w.ndim == 4, f"conv2d: w must be (KH, KW, C/groups, K), got {tuple(w.shape)}")
    expect(
        backend.weight_dtype(x.dtype) == w.dtype,
        f"conv2d: x is {x.dtype} but w is {w.dtype}; they must agree",
    )
    expect(
        isinstance(groups, int)
        and not isinstance(groups, bool)
        and groups >= 1
        and x.shape[3] % groups == 0
        and w.shape[3] % groups == 0,
        f"conv2d: {x.shape[3]} input and {w.shape[3]} output channels do not divide into "
        f"{groups} groups {shapes}",
    )
    expect(
        x.shape[3] == w.shape[2] * groups,
        f"conv2d: x has {x.shape[3]} channels, w expects {w.shape[2] * groups} {shapes}",
    )
    if bias is not None:
        expect(
            tuple(bias.shape) == (w.shape[3],),
            f"conv2d: bias must be ({w.shape[3]},), got {tuple(bias.shape)}",
        )
