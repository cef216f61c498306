"""Let the loops calculate in float64, whatever dtype the caller works in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def in_float64(kernel: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Give `kernel` its arrays as float64, and its results back in the dtype of the first.

    A sum of many float32 numbers loses digits at every step; an oracle should not.
    """

    @wraps(kernel)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        dtype = next(a.dtype for a in (*args, *kwargs.values()) if isinstance(a, np.ndarray))
        result: Any = kernel(
            *(_as(np.float64, arg) for arg in args),  # type: ignore[arg-type]
            **{key: _as(np.float64, arg) for key, arg in kwargs.items()},  # type: ignore[arg-type]
        )
        if isinstance(result, tuple):
            return tuple(_as(dtype, part) for part in result)  # type: ignore[return-value]
        return _as(dtype, result)  # type: ignore[no-any-return]

    return wrapped


def _as(dtype: Any, value: Any) -> Any:
    with np.errstate(over="ignore", under="ignore"):  # what is beyond float32 becomes inf, or 0
        return value.astype(dtype) if isinstance(value, np.ndarray) else value
