"""Bilinear interpolation."""

from __future__ import annotations

from minran import backend, checks
from minran.autograd import Array, Op, Tensor
from minran.checks import Size, pair
from minran.errors import expect_bool


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
