"""How strong the features are from stage to stage (paper Figure 4)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Tensor
from minran.errors import expect
from minran.hints import checked
from minran.inspect.probe import watch
from minran.models import AttentionModule
from minran.nn import Module


@checked()
def stage_responses(
    model: Module, images: Any, by: str = "stage", batch_size: int = 64
) -> dict[str, float]:
    """The mean absolute value of each stage's output, over pictures, positions and channels.

    Naive attention learning multiplies features by values below 1 at every module, so its
    responses shrink with depth; residual learning keeps them (section 4.1, Figure 4).
    images: (N, H, W, C) prepared as for training. by="stage": "stem", "stage 1", ..., "tail";
    by="module": the output of every attention module, by its name.

    Raises ShapeError for another `by`, or a model without stages.

    >>> model = minran.create_model("attention_nano")
    >>> list(inspect.stage_responses(model, np.zeros((2, 32, 32, 3), "float32")))
    ['stem', 'stage 1', 'stage 2', 'tail']
    """
    expect(
        by in ("stage", "module"), f'stage_responses: by must be "stage" or "module", got {by!r}'
    )
    wanted: dict[int, str] = {}
    for name, module in model.named_modules():
        parts = name.split(".")
        if by == "module":
            if isinstance(module, AttentionModule):
                wanted[id(module)] = name
        elif name in ("stem", "tail"):
            wanted[id(module)] = name
        elif len(parts) == 2 and parts[0] == "stages":
            wanted[id(module)] = f"stage {int(parts[1]) + 1}"
    expect(bool(wanted), f"stage_responses: {type(model).__name__} has no {by}s to measure")
    total: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)

    def measure(module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if id(module) in wanted:
            values = backend.to_host(output.data)
            total[wanted[id(module)]] += float(np.abs(values).sum(dtype=np.float64))
            count[wanted[id(module)]] += values.size

    watch(model, images, measure, "stage_responses", batch_size)
    return {name: total[name] / count[name] for name in total}
