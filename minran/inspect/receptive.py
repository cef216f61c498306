"""How far a mask sees: the pixels that change its value in the middle.

The mask of one position is made from a part of the picture only. How large a part is a
weakness that summaries of the paper name: the mask does not use global information. It can
be measured: the gradient of the middle mask value with respect to the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minran import backend
from minran.errors import expect
from minran.hints import checked
from minran.inspect.probe import Size, attention_modules, blank_picture, run_towards
from minran.nn import Module


@dataclass(frozen=True)
class Reach:
    """How far the middle of one mask sees in the picture.

    gradient: (H, W), mean over random pictures of sum_c |dM / dx|, with sum 1.
    rows, columns: extent of the pixels that have any influence: the receptive field.
    covered: rows times columns as a share of the picture.
    effective: side of the centred square that holds 90% of the influence, in pixels.
    """

    name: str
    gradient: np.ndarray
    rows: int
    columns: int
    covered: float
    effective: int

    def __str__(self) -> str:
        return (
            f"{self.name}: sees {self.rows}x{self.columns} pixels ({self.covered:.0%} of the "
            f"picture), 90% of the influence within {self.effective}x{self.effective}"
        )


@checked()
def mask_reach(
    model: Module, image_size: Size = None, pictures: int = 4, seed: int = 0
) -> list[Reach]:
    """The reach of every mask, measured on random pictures (standard normal noise).

        g[i, j] = mean over pictures of sum_c |d (sum_k M[middle, k]) / d x[i, j, c]|

    A max-pool passes a gradient to one pixel only, so one picture shows too small a field;
    several are united. Larger `pictures` come closer to the true field from below.
    """
    expect(pictures >= 1, f"mask_reach: pictures must be at least 1, got {pictures}")
    expect(seed >= 0, f"mask_reach: seed must be at least 0, got {seed}")
    found = attention_modules(model, "mask_reach")
    blank = blank_picture(model, image_size)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((pictures, *blank.shape[1:])).astype(blank.dtype)
    return [
        _reach(name, _gradient(model, module.mask, noise))
        for name, module in found
        if module.mask is not None
    ]


def _gradient(model: Module, mask: Module, pictures: np.ndarray) -> np.ndarray:
    """The influence of every pixel on the middle of the mask, (H, W)."""
    x, seen, _ = run_towards(model, pictures, mask)
    values = seen[-1]
    middle = np.zeros(values.shape, values.dtype)
    middle[:, values.shape[1] // 2, values.shape[2] // 2] = 1
    values.backward(middle)
    return np.abs(backend.to_host(x.grad)).mean(axis=0, dtype=np.float64).sum(axis=-1)


def _reach(name: str, gradient: np.ndarray) -> Reach:
    total = gradient.sum()
    expect(bool(total > 0), f"mask_reach: no pixel changes the mask of {name}")
    gradient = gradient / total
    rows, columns = (np.flatnonzero(gradient.sum(axis=axis)) for axis in (1, 0))
    height, width = gradient.shape
    seen_rows, seen_columns = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    # Distance of each pixel from the middle, as the half side of the square that reaches it.
    half = np.maximum(
        np.abs(np.arange(height) - height // 2)[:, None],
        np.abs(np.arange(width) - width // 2)[None, :],
    )
    within = np.cumsum(np.bincount(half.ravel(), weights=gradient.ravel()))
    effective = 2 * int(np.searchsorted(within, 0.9)) + 1
    covered = seen_rows * seen_columns / (height * width)
    return Reach(name, gradient, seen_rows, seen_columns, covered, min(effective, height))
