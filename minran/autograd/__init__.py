"""Reverse-mode differentiation: read `tensor`, then `op`, then `walk`; `recording` is `no_grad`.

A `Tensor` is an array and the `Op` that made it. An `Op` instance is the context of one
call: `forward` keeps on `self` what `backward` will need, and the op knows its input
tensors. An op never refers to its output, so a graph has no cycles and its memory goes the
moment nobody holds the result.

The chain rule: if y = f(x) and L is a scalar made from y, then dL/dx = J_f^T dL/dy.
`Op.backward(gy)` computes that vector-Jacobian product; `Tensor.backward` calls it for every
op, newest first, and adds up what arrives at each tensor.
"""

from minran.autograd.op import Op
from minran.autograd.recording import is_recording, no_grad
from minran.autograd.tensor import Array, Axis, Tensor, as_array, tensor

__all__ = ["Array", "Axis", "Op", "Tensor", "as_array", "is_recording", "no_grad", "tensor"]
