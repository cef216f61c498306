"""What gradients say: where a class is seen (Grad-CAM), and how far a mask sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Tensor
from minran.errors import GradientError, ShapeError, expect
from minran.hints import checked
from minran.inspect import probe
from minran.models import AttentionModule
from minran.nn import BatchNormReLU, Module
from minran.nn.module import evaluating


@checked()
def gradcam(
    model: Module,
    images: Any,
    classes: Sequence[int] | np.ndarray | int | None = None,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Which positions of a layer speak for a class: Grad-CAM (Selvaraju et al. 2017).

        a[n, c] = mean over positions of dz[n, k] / dA[n, i, j, c]
        map[n, i, j] = max(sum_c a[n, c] A[n, i, j, c], 0)

    z: the logits (N, K); A: the layer's output (N, h, w, C) -> maps (N, h, w). images: (N, H, W,
    C) prepared as for training. classes: k for each image, one for all, or None for the class
    that the model predicts. layer: a module's name; None takes the last attention module, or the
    last batch norm of a network without one. The model is left as it was, its gradients too.
    Raises ShapeError for an unknown layer or class, or a layer whose output is no maps.

    >>> model = minran.create_model("attention_nano")
    >>> inspect.gradcam(model, np.zeros((2, 32, 32, 3), "float32"), classes=3).shape
    (2, 8, 8)
    """
    array = probe.as_pictures(model, images, "gradcam")
    target = _layer(model, layer)
    given = np.asarray(classes)
    fits = given.shape in ((), (1,), (len(array),))
    expect(fits, f"gradcam: classes must be one or {len(array)}, got {given.shape}")
    parts = probe.batches(len(array), batch_size, "gradcam")
    asked = np.broadcast_to(given, len(array))  # of None, if none is given
    maps = []
    for part in parts:
        _, features, logits = _run(model, array[part], target)
        shape, known = features.shape, logits.shape[1]
        expect(len(shape) == 4, f"gradcam: the layer must output maps (N, h, w, C), got {shape}")
        features.retain_grad()
        wanted = logits.numpy().argmax(axis=1) if classes is None else asked[part]
        good = bool(((wanted >= 0) & (wanted < known)).all())
        expect(good, f"gradcam: classes must be from 0 to {known - 1}, got {wanted.tolist()}")
        chosen = np.zeros(logits.shape, logits.dtype)
        chosen[np.arange(len(wanted)), wanted] = 1
        logits.backward(chosen)
        lost = features.grad is None
        expect(not lost, "gradcam: the logits do not depend on the layer", GradientError)
        weights = backend.to_host(features.grad).mean(axis=(1, 2))
        maps.append(np.maximum(np.einsum("nhwc,nc->nhw", features.numpy(), weights), 0))
    return np.concatenate(maps)


def _run(model: Module, images: np.ndarray, target: Module) -> tuple[Tensor, Tensor, Tensor]:
    """Run `images` in evaluation mode; returns them, the last output of `target`, and the logits.

    Gradients reach the images; the parameters need none, so those they have stay as they are.
    """
    x = Tensor(backend.to_device(images), requires_grad=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad = False
        with evaluating(model), probe.record() as calls:
            logits = model(x)
    finally:
        for parameter in trained:
            parameter.requires_grad = True
    seen = [call.output for call in calls if call.module is target]
    expect(bool(seen), "gradcam: the model did not call the layer")
    return x, seen[-1], logits


def _layer(model: Module, name: str | None) -> Module:
    modules = dict(model.named_modules())
    if name is not None:
        if name not in modules:
            raise ShapeError(f"gradcam: {type(model).__name__} has no module called {name!r}")
        return modules[name]
    for kind in (AttentionModule, BatchNormReLU):
        for module in reversed(modules.values()):
            if isinstance(module, kind):
                return module
    raise ShapeError("gradcam: name the layer; this model has no attention module or batch norm")


@dataclass(frozen=True)
class Reach:
    """How far the middle of one mask sees in the image.

    gradient: (H, W), mean over random images of sum_c |dM / dx|, with sum 1.
    rows, columns: extent of the pixels that have any influence: the receptive field.
    covered: rows times columns as a share of the image.
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
            f"image), 90% of the influence within {self.effective}x{self.effective}"
        )


@checked(pictures=1, seed=0)
def mask_reach(
    model: Module, image_size: probe.Size = None, pictures: int = 4, seed: int = 0
) -> list[Reach]:
    """The reach of every mask, measured on random images (standard normal noise).

        g[i, j] = mean over images of sum_c |d (sum_k M[middle, k]) / d x[i, j, c]|

    The mask of one position is made from a part of the image only. A max-pool passes a gradient
    to one pixel, so one image shows too small a field; several are united. Larger `pictures`
    come closer to the true field from below.
    """
    found = probe.attention_modules(model, "mask_reach")
    blank = probe.blank_picture(model, image_size)
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((pictures, *blank.shape[1:])).astype(blank.dtype)
    return [_reach(name, model, module.mask, noise) for name, module in found]


def _reach(name: str, model: Module, mask: Any, pictures: np.ndarray) -> Reach:
    x, values, _ = _run(model, pictures, mask)
    middle = np.zeros(values.shape, values.dtype)
    middle[:, values.shape[1] // 2, values.shape[2] // 2] = 1
    values.backward(middle)
    gradient = np.abs(backend.to_host(x.grad)).mean(axis=0, dtype=np.float64).sum(axis=-1)
    total = gradient.sum()
    expect(bool(total > 0), f"mask_reach: no pixel changes the mask of {name}")
    gradient = gradient / total
    rows, columns = (int(np.ptp(np.flatnonzero(gradient.sum(axis=axis)))) + 1 for axis in (1, 0))
    height, width = gradient.shape
    sides, within = influence(gradient)
    effective = min(int(sides[np.searchsorted(within, 0.9)]), height)
    return Reach(name, gradient, rows, columns, rows * columns / (height * width), effective)


def influence(gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sides of centred squares, and the share of `gradient` (H, W) that lies within each."""
    # Distance of each pixel from the middle, as the half side of the square that reaches it.
    down, along = (np.abs(np.arange(size) - size // 2) for size in gradient.shape)
    half = np.maximum(down[:, None], along)
    within = np.cumsum(np.bincount(half.ravel(), weights=gradient.ravel())) / gradient.sum()
    return 2 * np.arange(len(within)) + 1, within
