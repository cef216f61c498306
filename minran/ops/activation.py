"""ReLU, sigmoid, the paper's attention activations (Eq. 4-6), and the gate of a mask (Eq. 1, 3)."""

from __future__ import annotations

from minran import backend, checks
from minran.autograd import Array, Op, Tensor
from minran.errors import RecipeError, expect_number

LEARNING = ("residual", "naive")


class ReLU(Op):
    """y = max(x, 0); gx = gy where y > 0."""

    def forward(self, x: Array) -> Array:
        self.y = backend.current().relu(x)
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().relu_backward(gy, self.y),)


def relu(x: Tensor) -> Tensor:
    """Let what is positive through.

        y = max(x, 0)

    Element by element; the derivative at 0 is taken as 0. Any shape.

    >>> ops.relu(tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """
    return ReLU()(x)


class Sigmoid(Op):
    """y = 1 / (1 + e^-x); gx = gy y (1 - y)."""

    def forward(self, x: Array) -> Array:
        self.y = backend.current().sigmoid(x)
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().sigmoid_backward(gy, self.y),)


def sigmoid(x: Tensor) -> Tensor:
    """Squeeze every number into (0, 1): the paper's mixed attention (Eq. 4).

        f1(x) = 1 / (1 + exp(-x))

    Element by element; any shape.

    >>> ops.sigmoid(tensor([0.0, 100.0])).numpy()
    array([0.5, 1. ], dtype=float32)
    """
    return Sigmoid()(x)


class ChannelAttention(Op):
    """y = x / ||x||; gx = (gy - y <gy, y>) / ||x||."""

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, x: Array) -> Array:
        checks.expect_pictures("channel_attention", x)
        self.y, self.norm = backend.current().channel_attention(x, self.eps)
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        return (backend.current().channel_attention_backward(gy, self.y, self.norm),)


def channel_attention(x: Tensor, eps: float = 1e-12) -> Tensor:
    """The paper's f2 (Eq. 5): the channel vector at each position, scaled to length 1.

        f2(x_{i,c}) = x_{i,c} / ||x_i||,  ||x_i|| = sqrt(sum_c x_{i,c}^2 + eps)

    x: (N, H, W, C) -> y: (N, H, W, C) in [-1, 1]. `eps` keeps a position whose channels are
    all zero from dividing by zero. Raises ShapeError if x is no (N, H, W, C).

    >>> ops.channel_attention(tensor([[[[3.0, -4.0]]]])).numpy()
    array([[[[ 0.6, -0.8]]]], dtype=float32)
    """
    expect_number(eps, "channel_attention: eps")
    return ChannelAttention(eps)(x)


class SpatialAttention(Op):
    """y = sigmoid(xhat), xhat = (x - mean_c) / std_c over each map."""

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, x: Array) -> Array:
        checks.expect_pictures("spatial_attention", x)
        self.x = x
        self.y, self.mean, self.inv_std = backend.current().spatial_attention(x, self.eps)
        return self.y

    def backward(self, gy: Array) -> tuple[Array]:
        kept = self.x, self.y, self.mean, self.inv_std
        return (backend.current().spatial_attention_backward(gy, *kept),)


def spatial_attention(x: Tensor, eps: float = 1e-5) -> Tensor:
    """The paper's f3 (Eq. 6): each channel's map normalised over its pixels, then a sigmoid.

        f3(x_{i,c}) = 1 / (1 + exp(-(x_{i,c} - mean_c) / std_c)),  std_c = sqrt(var_c + eps)

    x: (N, H, W, C) -> y: (N, H, W, C) in (0, 1); mean_c and the biased var_c are taken over
    H, W of each sample. Raises ShapeError if x is no (N, H, W, C).

    >>> x = tensor(np.array([1.0, 3.0]).reshape(1, 1, 2, 1))
    >>> ops.spatial_attention(x).numpy().ravel().round(2)
    array([0.27, 0.73])
    """
    expect_number(eps, "spatial_attention: eps")
    return SpatialAttention(eps)(x)


class Gate(Op):
    """H = (1 + M) T (residual) or H = M T (naive).

    dH/dM = T, so gM = gy T in both. dH/dT = 1 + M, so gT = gy (1 + M): between gy and 2 gy for
    a sigmoid mask, it never blocks the trunk's gradient. Without the 1, gT = gy M, and the
    product of many masks below 1 lets it die (paper section 3.1, Eq. 2).
    """

    def __init__(self, residual: bool) -> None:
        self.residual = residual

    def forward(self, mask: Array, trunk: Array) -> Array:
        checks.expect_gate(mask, trunk)
        self.mask, self.trunk = mask, trunk
        return backend.current().gate(mask, trunk, self.residual)

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return backend.current().gate_backward(gy, self.mask, self.trunk, self.residual)


def gate(mask: Tensor, trunk: Tensor, learning: str = "residual") -> Tensor:
    """Let the mask M weight the trunk's features T.

        residual (Eq. 3):  H = (1 + M) T        naive (Eq. 1):  H = M T

    mask, trunk: (N, H, W, C) of one shape -> (N, H, W, C). Raises ShapeError if the shapes
    differ, RecipeError for another `learning`.

    >>> mask, trunk = tensor([[[[0.5]]]]), tensor([[[[4.0]]]])
    >>> ops.gate(mask, trunk).item(), ops.gate(mask, trunk, "naive").item()
    (6.0, 2.0)
    """
    checks.expect_one_of(learning, LEARNING, "gate: learning", RecipeError)
    return Gate(learning == "residual")(mask, trunk)
