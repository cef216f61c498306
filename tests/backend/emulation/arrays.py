"""Arrays that behave as CuPy's where CuPy's differ from NumPy's.

They do not turn into NumPy arrays unless asked (`get`), do not mix with them, and a reduction
gives an array, never a number. Code that passes with these has kept host and device apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from emulation.graph import compute, forbid

IN_PLACE = {"fill", "sort", "partition", "put", "copyto", "__setitem__"}
"""Methods and functions that write to their first argument."""


def launch(function: Any, name: str, args: Any, options: Any) -> Any:
    """Call a function of NumPy on device arrays: carried out now or, in a recording, later."""
    in_place = name in IN_PLACE or options.get("out") is not None
    return _wrap(compute(function, _unwrap(args), _unwrap(options), in_place))


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """A NumPy array that plays to be far away; `waits` counts how often someone read from it."""

    waits = 0

    def __init__(self, host: np.ndarray) -> None:
        self.host = host

    def __array__(self, *args: Any, **options: Any) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use get()")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        call = ufunc if method == "__call__" else getattr(ufunc, method)
        if "out" in options:
            # NumPy hands the one output over in a tuple.
            (options["out"],) = options["out"]
        result = launch(call, ufunc.__name__, inputs, options)
        return options.get("out", result)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return launch(function, function.__name__, args, options)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.host, name)
        if not callable(value):
            return _wrap(value) if isinstance(value, np.ndarray) else value

        def method(host: Any, *args: Any, **options: Any) -> Any:
            return getattr(host, name)(*args, **options)

        return lambda *args, **options: launch(method, name, (self, *args), options)

    def __getitem__(self, index: Any) -> DeviceArray:
        return launch(lambda host, index: host[index], "__getitem__", (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        def assign(host: Any, index: Any, value: Any) -> None:
            host[index] = value

        launch(assign, "__setitem__", (self, index, value), {})

    def __len__(self) -> int:
        return len(self.host)

    def get(self) -> np.ndarray:
        """A copy on the host; this waits for the device."""
        forbid("cudaMemcpy to the host")
        DeviceArray.waits += 1
        return self.host.copy()

    def item(self) -> Any:
        """The one element as a Python number; this waits for the device."""
        return self.get().item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __repr__(self) -> str:
        return f"DeviceArray({self.get()!r})"


class Library:
    """NumPy's functions on device arrays: what `import cupy as xp` gives."""

    copies = 0
    """How many arrays came from the host."""

    def asarray(self, array: Any, dtype: Any = None, order: Any = None) -> DeviceArray:
        """To the device, the same object if it is there already and needs no change."""
        if isinstance(array, DeviceArray):
            if np.asarray(array.host, dtype, order=order) is array.host:
                return array
            return launch(np.asarray, "asarray", (array, dtype), {"order": order})
        forbid("cudaMemcpy from the host")
        Library.copies += 1
        return DeviceArray(np.array(array, dtype, order=order or "C"))

    array = asarray

    def __getattr__(self, name: str) -> Any:
        return _Function(getattr(np, name)) if callable(getattr(np, name)) else getattr(np, name)


class _Function:
    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, *args: Any, **options: Any) -> Any:
        return launch(self.function, self.function.__name__, args, options)

    def __getattr__(self, name: str) -> Any:  # np.add.at, np.add.reduce
        return _Function(getattr(self.function, name))


def _unwrap(value: Any) -> Any:
    if isinstance(value, DeviceArray):
        return value.host
    if isinstance(value, (tuple, list)):
        return type(value)(_unwrap(part) for part in value)
    if isinstance(value, dict):
        return {key: _unwrap(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: it is not on the device")
    return value


def _wrap(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return DeviceArray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(_wrap(part) for part in value)
    return value
