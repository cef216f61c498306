"""Images of another size: max-pool, average-pool, global average pool, interpolation."""

from __future__ import annotations

from minran import backend, checks
from minran.autograd import Array, Op, Tensor
from minran.checks import Size, expect_pictures, naming, pair
from minran.errors import expect_bool


class Pool(Op):
    """What both pools have: a window that slides over images."""

    name: str

    def __init__(self, kernel_size: Size, stride: Size | None, padding: Size) -> None:
        self.kernel = pair(kernel_size, f"{self.name}: kernel_size")
        self.stride = self.kernel if stride is None else pair(stride, f"{self.name}: stride")
        self.padding = pair(padding, f"{self.name}: padding")
        self.window = self.kernel, self.stride, self.padding


class MaxPool2d(Pool):
    """The maximum of each window; its gradient goes to the first maximum."""

    name = "max_pool2d"

    def __init__(self, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool):
        super().__init__(kernel_size, stride, padding)
        expect_bool(ceil_mode, "max_pool2d: ceil_mode")
        self.ceil_mode = ceil_mode

    def forward(self, x: Array) -> Array:
        expect_pictures("max_pool2d", x)
        self.x = x
        with naming("max_pool2d", x=x):
            self.y = backend.current().max_pool2d(x, *self.window, self.ceil_mode)
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().max_pool2d_backward(gy, self.x, self.y, *self.window),)


def max_pool2d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest real pixel of each window, channel by channel.

        y[n, i, j, c] = max_{a, b} x[n, s i + a - p, s j + b - p, c] over pixels that exist

    x: (N, H, W, C) -> y: (N, Ho, Wo, C), Ho = floor((H + 2p - K) / s) + 1, or rounded up with
    `ceil_mode` (as the authors' Caffe nets do) where the last window may overhang. `stride` is
    the kernel size unless said. Among equal maxima the first in row-major order gets the
    gradient.

    Raises ShapeError if x is no (N, H, W, C), the window does not fit, or 2p > K.

    >>> x = tensor(np.arange(6.0).reshape(1, 1, 6, 1))
    >>> ops.max_pool2d(x, (1, 3), stride=2).numpy().ravel()
    array([2., 4.])
    >>> ops.max_pool2d(x, (1, 3), stride=2, ceil_mode=True).numpy().ravel()
    array([2., 4., 5.])
    """
    return MaxPool2d(kernel_size, stride, padding, ceil_mode)(x)


class AvgPool2d(Pool):
    """The mean of each window; its gradient is spread evenly."""

    name = "avg_pool2d"

    def forward(self, x: Array) -> Array:
        expect_pictures("avg_pool2d", x)
        self.shape = tuple(x.shape)
        with naming("avg_pool2d", x=x):
            return backend.current().avg_pool2d(x, *self.window)

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().avg_pool2d_backward(gy, self.shape, *self.window),)


def avg_pool2d(
    x: Tensor, kernel_size: Size, stride: Size | None = None, padding: Size = 0
) -> Tensor:
    """The mean of each window, zeros outside the image included.

        y[n, i, j, c] = 1/(KH KW) sum_{a, b} x[n, s i + a - p, s j + b - p, c]

    x: (N, H, W, C) -> y: (N, Ho, Wo, C), Ho = floor((H + 2p - K) / s) + 1.

    Raises ShapeError if x is no (N, H, W, C) or the window does not fit.

    >>> x = tensor(np.arange(6.0).reshape(1, 1, 6, 1))
    >>> ops.avg_pool2d(x, (1, 2)).numpy().ravel()
    array([0.5, 2.5, 4.5])
    """
    return AvgPool2d(kernel_size, stride, padding)(x)


class GlobalAvgPool(Op):
    """The mean over all pixels."""

    def forward(self, x: Array) -> Array:
        expect_pictures("global_avg_pool", x)
        self.shape = tuple(x.shape)
        return backend.current().global_avg_pool(x)

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().global_avg_pool_backward(gy, self.shape),)


def global_avg_pool(x: Tensor) -> Tensor:
    """The mean over all pixels.

        y[n, c] = 1/(H W) sum_{i, j} x[n, i, j, c]

    x: (N, H, W, C) -> y: (N, C). Raises ShapeError if x is no (N, H, W, C).

    >>> ops.global_avg_pool(tensor(np.arange(8.0).reshape(1, 2, 2, 2))).numpy()
    array([[3., 4.]])
    """
    return GlobalAvgPool()(x)


class UpsampleBilinear2d(Op):
    """Y = R_h X R_w^T; gX = R_h^T gY R_w."""

    def __init__(self, size: Size, align_corners: bool) -> None:
        self.size = pair(size, "upsample_bilinear2d: size")
        expect_bool(align_corners, "upsample_bilinear2d: align_corners")
        self.align_corners = align_corners

    def forward(self, x: Array) -> Array:
        checks.expect_resizable(x, self.size)
        self.shape = tuple(x.shape)
        return backend.current().upsample_bilinear2d(x, self.size, self.align_corners)

    def backward(self, gy: Array) -> tuple[Array]:
        gx = backend.current().upsample_bilinear2d_backward(gy, self.shape, self.align_corners)
        return (gx,)


def upsample_bilinear2d(x: Tensor, size: Size, align_corners: bool = True) -> Tensor:
    """Interpolate every channel linearly along both axes.

        Y = R_h X R_w^T,  (R_h)[i, l] = max(0, 1 - |src(i) - l|)
        src(i) = i (h - 1) / (H - 1)         with align_corners (corner pixels stay corners)
        src(i) = max(0, (i + 1/2) h/H - 1/2)  without

    x: (N, h, w, C) -> y: (N, H, W, C) with (H, W) = size. The authors' interpolation layer is
    align_corners=True. Smaller sizes than x's are allowed too.

    Raises ShapeError if x is no (N, h, w, C) or a size is below 1.

    >>> x = tensor(np.array([0.0, 1.0]).reshape(1, 1, 2, 1))
    >>> ops.upsample_bilinear2d(x, (1, 5)).numpy().ravel()
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    >>> ops.upsample_bilinear2d(x, (1, 4), align_corners=False).numpy().ravel()
    array([0.  , 0.25, 0.75, 1.  ])
    """
    return UpsampleBilinear2d(size, align_corners)(x)
