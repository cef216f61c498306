"""Grad-CAM (Selvaraju et al. 2017): where a class is seen, to set beside the masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minran import backend
from minran.errors import GradientError, ShapeError, expect, expect_whole
from minran.hints import checked
from minran.inspect.probe import as_pictures, run_towards
from minran.models import AttentionModule
from minran.nn import BatchNormReLU, Module


@checked()
def gradcam(
    model: Module,
    images: Any,
    classes: Sequence[int] | np.ndarray | int | None = None,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Which positions of a layer speak for a class.

        a[n, c] = mean over positions of dz[n, k] / dA[n, i, j, c]
        map[n, i, j] = max(sum_c a[n, c] A[n, i, j, c], 0)

    z: the logits (N, K); A: the layer's output (N, h, w, C) -> maps (N, h, w). images: (N, H, W,
    C) prepared as for training. classes: k for each picture, one for all, or None for the class
    that the model predicts. layer: a module's name; None takes the last attention module, or the
    last batch norm of a network without one. The model is left as it was, its gradients too.

    Raises ShapeError for an unknown layer or class, or a layer that puts out no maps.

    >>> model = minran.create_model("attention_nano")
    >>> inspect.gradcam(model, np.zeros((2, 32, 32, 3), "float32"), classes=3).shape
    (2, 8, 8)
    """
    array = as_pictures(model, images, "gradcam")
    target = _layer(model, layer)
    expect_whole(batch_size, "gradcam: batch_size")
    given = np.asarray(classes)
    expect(
        classes is None or given.shape in ((), (1,), (len(array),)),
        f"gradcam: classes must be one or {len(array)}, got {given.shape}",
    )
    expect(len(array) > 0, "gradcam: there are no pictures")
    wanted = None if classes is None else np.broadcast_to(given, len(array))
    parts = [slice(start, start + batch_size) for start in range(0, len(array), batch_size)]
    maps = [
        _maps(model, target, array[part], None if wanted is None else wanted[part])
        for part in parts
    ]
    return np.concatenate(maps)


def _maps(
    model: Module, target: Module, images: np.ndarray, classes: np.ndarray | None
) -> np.ndarray:
    _, seen, logits = run_towards(model, images, target)
    expect(bool(seen), "gradcam: the model did not call the layer")
    features = seen[-1]
    expect(
        features.ndim == 4,
        f"gradcam: the layer must put out maps (N, h, w, C), got {features.shape}",
    )
    features.retain_grad()
    if classes is None:
        classes = logits.numpy().argmax(axis=1)
    known = logits.shape[1]
    expect(
        bool(((classes >= 0) & (classes < known)).all()),
        f"gradcam: classes must be from 0 to {known - 1}, got {classes.tolist()}",
    )
    chosen = np.zeros(logits.shape, logits.dtype)
    chosen[np.arange(len(images)), classes] = 1
    logits.backward(chosen)
    expect(
        features.grad is not None, "gradcam: the logits do not depend on the layer", GradientError
    )
    weights = backend.to_host(features.grad).mean(axis=(1, 2))
    return np.maximum(np.einsum("nhwc,nc->nhw", features.numpy(), weights), 0)


def _layer(model: Module, name: str | None) -> Module:
    modules = dict(model.named_modules())
    if name is not None:
        if name not in modules:
            raise ShapeError(f"gradcam: {type(model).__name__} has no module called {name!r}")
        return modules[name]
    for kind in (AttentionModule, BatchNormReLU):
        found = [module for module in modules.values() if isinstance(module, kind)]
        if found:
            return found[-1]
    raise ShapeError("gradcam: name the layer; this model has no attention module or batch norm")
