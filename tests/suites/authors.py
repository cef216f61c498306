"""The authors' four network files, run layer by layer with PyTorch.

`authors_networks.json` holds facts read off the network descriptions that the authors published:
of each layer its type, which layers it reads (-1 is the picture) and its parameters. Nothing here
knows how minran builds a network; the files say what a layer reads, and that is all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

Layer = list[Any]
"""[type, layers read, parameters]."""

FILES: dict[str, Any] = json.loads(Path(__file__).with_name("authors_networks.json").read_text())
ABOUT = FILES.pop("about")


def run(
    layers: list[Layer],
    picture: torch.Tensor,
    weight: Callable[[str, tuple[int, ...]], torch.Tensor],
    training: bool = True,
) -> torch.Tensor:
    """The logits, (N, classes), of the network that `layers` describe, for a picture (N, 3, H, W).

    `weight(kind, shape)` is asked for every array that a layer holds, in the order of the file.
    """
    made: list[torch.Tensor] = []
    for kind, reads, options in layers:
        x, *others = (picture if index == -1 else made[index] for index in reads)
        if kind == "Convolution":
            channels, kernel, stride, padding, groups = options
            w = weight("weight", (channels, x.shape[1] // groups, kernel, kernel))
            y = F.conv2d(x, w, None, stride, padding, 1, groups)
        elif kind == "BN":
            names = ("gamma", "beta", "running_mean", "running_var")
            gamma, beta, mean, var = (weight(name, (x.shape[1],)) for name in names)
            y = F.batch_norm(x, mean, var, gamma, beta, training)
        elif kind == "ReLU":
            y = x.relu()
        elif kind == "Sigmoid":
            y = x.sigmoid()
        elif kind == "Pooling" and options[0] == "MAX":
            y = F.max_pool2d(x, *options[1:], ceil_mode=True)
        elif kind == "Pooling" and options[0] == "AVE":
            # Of a picture of 224 x 224 the window of 7 x 7 sees all there is; so it does here.
            y = F.avg_pool2d(x, min(options[1], x.shape[2]), *options[2:])
        elif kind == "Interp":
            y = F.interpolate(x, others[0].shape[2:], mode="bilinear", align_corners=True)
        elif kind == "Eltwise":
            y = x * others[0] if options == ["PROD"] else x + others[0]
        elif kind == "InnerProduct":
            x = x.flatten(1)
            w, bias = weight("weight", (options[0], x.shape[1])), weight("bias", (options[0],))
            y = F.linear(x, w, bias)
        elif kind == "Softmax":
            return x  # the logits are what it reads
        else:
            raise ValueError(f"no layer of this kind is known: {kind} {options}")
        made.append(y)
    raise ValueError("the list ends without a Softmax layer")
