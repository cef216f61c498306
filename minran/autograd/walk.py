"""The walk back through the graph, newest operation first."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from minran import backend
from minran.errors import GradientError, ShapeError, expect

if TYPE_CHECKING:
    from minran.autograd.op import Op
    from minran.autograd.tensor import Array, Tensor


def walk(root: Tensor, gradient: Array) -> None:
    """Visit the ops behind `root`, newest first; no recursion, so depth does not matter."""
    if root.op is None:
        _add_to_leaf(root, gradient, owned=False)
        return
    # Ops that wait, newest on top, each with its output tensor and the gradient so far.
    # `owned` says that no one else holds that gradient, so that it may be added to in place.
    heap: list[int] = []
    waiting: dict[int, tuple[Op, Tensor, Array, bool]] = {}

    def arrive(at: Tensor, grad: Array, owned: bool) -> None:
        if at.op is None:
            _add_to_leaf(at, grad, owned)
            return
        expect(
            at.op.__dict__.get("inputs") is not None,
            "backward: this graph was freed by an earlier backward(); run the forward "
            "computation again",
            GradientError,
        )
        order = at.op.order
        if order in waiting:
            op, _, earlier, earlier_owned = waiting[order]
            waiting[order] = (op, at, *_sum(earlier, earlier_owned, grad, owned))
        else:
            waiting[order] = (at.op, at, grad, owned)
            heapq.heappush(heap, -order)

    arrive(root, gradient, owned=False)
    while heap:
        op, output, gy, _ = waiting.pop(-heapq.heappop(heap))
        if output._keep_grad:
            _add_to_leaf(output, gy, owned=False)
        op.expect_unchanged()
        gradients = op.backward(gy)
        inputs = op.inputs or ()
        if not isinstance(gradients, tuple | list) or len(gradients) != len(inputs):
            raise GradientError(_wrong_number(op, gradients, len(inputs)))
        needs, name = op.needs, type(op).__name__
        op.free()
        del op, output
        for source, grad, need in zip(inputs, gradients, needs, strict=True):
            if source is None or grad is None or not need:
                continue
            fits = getattr(grad, "shape", None) == source.shape
            if not fits or (grad.dtype.kind != "f" and not backend.is_floating(grad.dtype)):
                raise ShapeError(f"{name}.backward: {_wrong_gradient(grad, source)}")
            # An op may pass on gy itself (a view of it, or to both inputs): not ours alone.
            shared = backend.current().xp.may_share_memory(grad, gy)
            arrive(source, grad, owned=not shared)
        del gradients, inputs, gy
        source = grad = None


def _wrong_number(op: Op, gradients: Any, count: int) -> str:
    many = isinstance(gradients, tuple | list)
    got = f"{len(gradients)} gradients" if many else f"no tuple but one {type(gradients).__name__}"
    return f"{type(op).__name__}.backward returned {got} for {count} inputs"


def _wrong_gradient(grad: Any, source: Tensor) -> str:
    if not hasattr(grad, "shape"):
        return f"expected an array as gradient, got a {type(grad).__name__}"
    if tuple(grad.shape) == source.shape:
        return f"a gradient must be floating-point, got dtype {grad.dtype}"
    return f"a gradient of shape {tuple(grad.shape)} came for a tensor of shape {source.shape}"


def _sum(a: Array, a_owned: bool, b: Array, b_owned: bool) -> tuple[Array, bool]:
    """a + b, in place into the one that the walk owns (NumPy makes scalars of 0-d arrays)."""
    out = None if a.ndim == 0 else a if a_owned else b if b_owned else None
    return backend.current().add(a, b, out=out), True


def _add_to_leaf(leaf: Tensor, grad: Array, owned: bool) -> None:
    """Gradients accumulate in `leaf.grad`, an array of its dtype that is the leaf's alone."""
    if grad.dtype != leaf.dtype:  # beside a tensor of another precision
        grad, owned = grad.astype(leaf.dtype), True
    if leaf.grad is None:
        leaf.grad = grad if owned else grad.copy()
    else:
        leaf.grad = backend.current().add(leaf.grad, grad)
