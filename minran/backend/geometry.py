"""The geometry every backend shares: sizes of outputs, and where interpolation reads.

Nothing here touches pixels: these are the small sums a paper's reader does by hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from minran.errors import expect

Pair = tuple[int, int]
"""Of rows, and of columns."""


def conv_output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """Return how many windows fit along one axis of a convolution.

        o = floor((size + 2 padding - kernel) / stride) + 1

    Raises ShapeError when the window does not fit once, or a number makes no sense.
    """
    _expect_window(size, kernel, stride, padding)
    expect(
        size + 2 * padding >= kernel,
        f"a window of {kernel} does not fit into an axis of {size} with padding {padding}",
    )
    return (size + 2 * padding - kernel) // stride + 1


def pool_output_size(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Return how many windows a pool reads along one axis.

        floor mode:  o = floor((size + 2 padding - kernel) / stride) + 1
        ceil mode:   o = ceil((size + 2 padding - kernel) / stride) + 1,
                     minus 1 if the last window would start after the last real pixel

    Raises ShapeError as `conv_output_size`, and when the padding is more than half the kernel:
    a window could then hold no real pixel, and have no maximum.
    """
    _expect_window(size, kernel, stride, padding)
    expect(
        2 * padding <= kernel,
        f"a pool's padding must be at most half its kernel ({kernel}), got {padding}",
    )
    if not ceil_mode:
        return conv_output_size(size, kernel, stride, padding)
    # -(-a // b) is ceil(a / b) in whole numbers.
    windows = -(-(size + 2 * padding - kernel) // stride) + 1
    # Counted from the left padding, the last window starts at (windows - 1) * stride.
    if (windows - 1) * stride >= size + padding:
        windows -= 1
    expect(
        windows >= 1,
        f"a window of {kernel} does not fit into an axis of {size} with padding {padding} "
        f"and stride {stride}, even with ceil_mode",
    )
    return windows


def conv_sizes(sizes: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """`conv_output_size` for the rows and for the columns."""
    rows, columns = zip(sizes, kernel, stride, padding, strict=True)
    return conv_output_size(*rows), conv_output_size(*columns)


def pool_sizes(sizes: Pair, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Pair:
    """`pool_output_size` for the rows and for the columns."""
    rows, columns = zip(sizes, kernel, stride, padding, strict=True)
    return pool_output_size(*rows, ceil_mode), pool_output_size(*columns, ceil_mode)


def _expect_window(size: int, kernel: int, stride: int, padding: int) -> None:
    expect(
        size >= 1 and kernel >= 1 and stride >= 1 and padding >= 0,
        "size, kernel and stride must be at least 1 and padding at least 0, "
        f"got size {size}, kernel {kernel}, stride {stride}, padding {padding}",
    )


def resize_matrix(source: int, target: int, align_corners: bool, dtype: DTypeLike) -> NDArray[Any]:
    """Return the (target, source) matrix R of linear interpolation: resized = R @ line.

        align_corners:  position(i) = i (source - 1) / (target - 1), 0 if target == 1
        otherwise:      position(i) = max(0, (i + 1/2) source / target - 1/2)

    Row i holds 1 - f at the pixel left of position(i) and f at the next, where f is the fraction
    after the point: every row sums to 1. Bilinear interpolation of a map X is R_h X R_w^T.

    Raises ShapeError when a size is below 1.
    """
    expect(
        source >= 1 and target >= 1,
        f"interpolation needs sizes of at least 1, got {source} -> {target}",
    )
    matrix = np.zeros((target, source), dtype=np.float64)
    for i in range(target):
        if align_corners:
            position = i * (source - 1) / (target - 1) if target > 1 else 0.0
        else:
            position = max(0.0, (i + 0.5) * source / target - 0.5)
        left = min(int(position), source - 1)
        fraction = position - left
        # Behind the last pixel there is no next one: the last pixel answers for both.
        right = min(left + 1, source - 1)
        matrix[i, left] += 1.0 - fraction
        matrix[i, right] += fraction
    return matrix.astype(dtype)
