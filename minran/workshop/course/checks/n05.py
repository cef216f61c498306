"""The checks of notebook 05: windows of a pool, its gradient, the gradient of interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import ops, tensor
from minran.backend.geometry import conv_output_size, pool_output_size
from minran.errors import ShapeError
from minran.workshop.course.checking import Wrong, compare, expect_function, generator


def check_5_1(answer: Any) -> None:
    """Judge the number of windows, for every pool that makes sense on a short line."""
    expect_function("pool_size", answer)
    grid = np.ndindex(14, 4, 4, 3, 2)
    for size, kernel, stride, padding, ceil_mode in (
        (a + 1, b + 1, c + 1, d, e) for a, b, c, d, e in grid
    ):
        try:
            expected = pool_output_size(size, kernel, stride, padding, bool(ceil_mode))
            floor = conv_output_size(size, kernel, stride, padding)
        except ShapeError:
            continue
        got = answer(size, kernel, stride, padding, bool(ceil_mode))
        if isinstance(got, (int, np.integer)) and got == expected:
            continue
        mode = "ceil" if ceil_mode else "floor"
        where = f"{size} pixels, kernel {kernel}, stride {stride}, padding {padding}, {mode} mode"
        hint = _size_hint(got, expected, floor, size, stride, padding, bool(ceil_mode))
        if not isinstance(got, (int, np.integer)):
            raise Wrong(f"pool_size returned {got!r}, expected a whole number", where, hint)
        raise Wrong(f"pool_size returned {got}, expected {expected}", where, hint)


def _size_hint(
    got: Any, expected: int, floor: int, size: int, stride: int, padding: int, ceil_mode: bool
) -> str:
    if not isinstance(got, (int, np.integer)):
        return "// divides whole numbers and rounds down; -(-a // b) rounds up, without floats"
    if ceil_mode and got == expected + 1 and stride * (got - 1) >= size + padding:
        return (
            f"your last window starts at padded place {stride * (int(got) - 1)}, the last real "
            f"pixel is at {size + padding - 1}: the condition of (5.3)"
        )
    if ceil_mode and got == floor != expected:
        return "this is floor mode: in ceil mode a window may overhang"
    return "(5.2): how often does the stride fit into size + 2 padding - kernel? Then one more"


def check_5_2(answer: Any) -> None:
    """Judge the routing of a max-pool's gradient: overlaps, edges, ties."""
    expect_function("max_pool_backward", answer)
    rng = generator(52)
    cases = (
        ("no overlap", rng.standard_normal((6, 6)), 2, 2),
        ("a window overhangs the edge", rng.standard_normal((5, 7)), 2, 2),
        ("windows overlap", rng.standard_normal((8, 7)), 3, 2),
        ("all values negative", -1 - rng.random((6, 6)), 3, 2),
        ("equal maxima in a window", rng.integers(0, 3, (8, 8)).astype(float), 3, 2),
    )
    for where, x, kernel, stride in cases:
        leaf = tensor(x[None, :, :, None].copy(), requires_grad=True)
        y = ops.max_pool2d(leaf, kernel, stride, ceil_mode=True)
        gy = rng.uniform(1, 2, y.shape[1:3])
        y.backward(gy[None, :, :, None])
        got = answer(gy.copy(), x.copy(), kernel, stride)
        hint = "the winner of window (i, j) is pixel (i stride + a, j stride + b)"
        if where == "windows overlap":
            hint = "a pixel can win several windows, and then gets the sum of what they send (5.5)"
        elif where == "equal maxima in a window":
            hint = "of equal maxima only the first, row by row, gets the gradient"
        compare("gx", got, np.asarray(leaf.grad)[0, :, :, 0], hint, where=f"{where}, x {x.shape}")


def check_5_3(answer: Any) -> None:
    """Judge the adjoint of interpolation, and that it is one."""
    expect_function("upsample_backward", answer)
    rng = generator(53)
    cases = (
        ((2, 3, 3, 2), (6, 6)),
        ((1, 2, 5, 3), (7, 9)),
        ((2, 6, 4, 1), (3, 8)),
        ((1, 1, 1, 2), (4, 3)),
    )
    for align_corners in (True, False):
        for shape, size in cases:
            x = tensor(rng.standard_normal(shape), requires_grad=True)
            y = ops.upsample_bilinear2d(x, size, align_corners)
            gy = rng.standard_normal(y.shape)
            y.backward(gy)
            got = answer(gy.copy(), shape, align_corners)
            where = f"{shape[1:3]} -> {size}, align_corners={align_corners}"
            compare(
                "gx", got, np.asarray(x.grad), _adjoint_hint(got, np.asarray(x.grad)), where=where
            )


def _adjoint_hint(got: Any, right: np.ndarray) -> str:
    if isinstance(got, np.ndarray) and got.shape == right.shape:
        factor = right.sum() / got.sum() if got.sum() else 0
        if factor > 1.5:
            return (
                "the adjoint sums, it does not average: what arrives in gx adds up to what there "
                "is in gy, for the rows of R add up to 1"
            )
    return "(5.12): R_h transposed along the rows of gy, R_w transposed along its columns"
