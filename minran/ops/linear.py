"""The fully connected layer."""

from __future__ import annotations

from minran import backend, checks
from minran.autograd import Array, Op, Tensor


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
