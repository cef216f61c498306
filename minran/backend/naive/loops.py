"""What the kernels share: numbers in float64, and the windows of convolutions and pools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from minran.backend.geometry import Pair

Array = NDArray[Any]
Index = tuple[int, ...]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def in_float64(kernel: Kernel) -> Kernel:
    """Give `kernel` its arrays as float64, and its results back in the dtype of the first.

    A sum of many float32 numbers loses digits at every step; an oracle should not. What is
    infinite, or no number (NaN), takes its course without a warning.
    """

    @wraps(kernel)
    def wrapped(*args: Any, **options: Any) -> Any:
        given = *args, *options.values()
        dtype = next(value.dtype for value in given if isinstance(value, np.ndarray))
        wide = [v.astype(np.float64) if isinstance(v, np.ndarray) else v for v in given]
        with np.errstate(all="ignore"):
            result = kernel(*wide[: len(args)], **dict(zip(options, wide[len(args) :])))
            if isinstance(result, tuple):
                return tuple(None if part is None else np.array(part, dtype) for part in result)
            return np.array(result, dtype)

    return wrapped  # type: ignore[return-value]


def windows(
    x_shape: Index, sizes: Index, kernel: Pair, stride: Pair, padding: Pair
) -> Iterator[tuple[Index, list[tuple[Index, Index]]]]:
    """Each pixel q = (n, i, j) of an output of `sizes`, and what its window sees of x.

    That is a list of pairs, row by row: the position (a, b) in the window, and the pixel
    p = (n, i stride - padding + a, j stride - padding + b). Padding is left out.
    """
    for n, i, j in np.ndindex(x_shape[0], *sizes):
        window: list[tuple[Index, Index]] = []
        for a, b in np.ndindex(kernel):
            row = i * stride[0] - padding[0] + a
            column = j * stride[1] - padding[1] + b
            if 0 <= row < x_shape[1] and 0 <= column < x_shape[2]:
                window.append(((a, b), (n, row, column)))
        yield (n, i, j), window
