"""The gate: how the mask acts on the trunk (Eq. 1 and Eq. 3)."""

from __future__ import annotations

from minran import backend
from minran.autograd import Array, Op, Tensor
from minran.errors import RecipeError, expect

LEARNING = ("residual", "naive")


class Gate(Op):
    """H = (1 + M) T (residual) or H = M T (naive).

    dH/dM = T, so gM = gy T in both. dH/dT = 1 + M, so gT = gy (1 + M): between gy and 2 gy for
    a sigmoid mask, it never blocks the trunk's gradient. Without the 1, gT = gy M, and the
    product of many masks below 1 lets it die (paper section 3.1, Eq. 2).
    """

    def __init__(self, residual: bool) -> None:
        self.residual = residual

    def forward(self, mask: Array, trunk: Array) -> Array:
        expect(
            mask.shape == trunk.shape,
            f"gate: mask {tuple(mask.shape)} and trunk {tuple(trunk.shape)} must have one shape",
        )
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
    expect(
        learning in LEARNING,
        f"gate: learning must be one of {LEARNING}, got {learning!r}",
        RecipeError,
    )
    return Gate(learning == "residual")(mask, trunk)
