"""Batch norm, ReLU, convolution and addition as one operation, for speed and memory.

The plain operations (`norm`, `conv`, `+`) say what it computes and are its oracle.
"""

from __future__ import annotations

from minran import backend
from minran.autograd import Array, Op, Tensor
from minran.backend.geometry import conv_output_size
from minran.errors import BackendError, expect, expect_whole, naming
from minran.ops.norm import BatchNorm, Moments, known_moments


class NormReLUConv2d(BatchNorm):
    """y = conv2d(relu(batch_norm(x)), w) + residual.

    It keeps x and no normalised copy of it: backward normalises again, block by block. The
    moments of y are summed on the way and wait in `moments` for the norm that reads y next.
    """

    def __init__(
        self,
        running_mean: Array,
        running_var: Array,
        training: bool,
        momentum: float,
        eps: float,
        stride: int,
        padding: int,
        moments: Moments | None,
    ) -> None:
        super().__init__(running_mean, running_var, training, momentum, eps, True, moments)
        self.stride, self.padding = stride, padding

    def forward(  # type: ignore[override]
        self, x: Array, gamma: Array, beta: Array, w: Array, residual: Array | None
    ) -> Array:
        # Before the running statistics move: a call that fails must not leave a trace in them.
        _check(x, w, residual, self.stride, self.padding)
        mean, inv_std = self.statistics(x, gamma, beta)
        self.x, self.w = x, w
        self.norm = gamma, beta, mean, inv_std
        y, self.moments = backend.current().norm_relu_conv2d(
            x, self.norm, w, self.stride, self.padding, residual, self.training
        )
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        kernels = backend.current()
        g, gw, ggamma, gbeta = kernels.norm_relu_conv2d_backward(
            gy, self.x, self.norm, self.w, self.stride, self.padding
        )
        sums = self.whole(ggamma, gbeta)
        gx = kernels.norm_backward_inplace(g, self.x, self.norm, *sums, self.count)
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
) -> Tensor:
    """conv2d(batch_norm_relu(x, gamma, beta, ...), w, None, stride, padding) + residual.

    x: (N, H, W, C); w: (K, K, C, Cout); residual: (N, Ho, Wo, Cout) or None
    -> y: (N, Ho, Wo, Cout). Running statistics and errors as `batch_norm` and `conv2d`.

    Raises BackendError on a backend that has no fused kernel (see `has_fused`).
    """
    expect(
        has_fused(),
        f"norm_relu_conv2d: the {backend.current().name} backend has no fused kernel; use "
        "batch_norm_relu, conv2d and +",
        BackendError,
    )
    expect_whole(stride, "norm_relu_conv2d: stride")
    expect_whole(padding, "norm_relu_conv2d: padding", 0)
    op: Op = NormReLUConv2d(
        running_mean, running_var, training, momentum, eps, stride, padding, known_moments(x)
    )
    return op(x, gamma, beta, w, residual)


def _check(x: Array, w: Array, residual: Array | None, stride: int, padding: int) -> None:
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


def has_fused() -> bool:
    """Whether the current backend has the fused kernels."""
    return backend.has("norm_relu_conv2d")
