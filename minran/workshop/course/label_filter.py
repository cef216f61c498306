"""Notebook 15's test of Eq. 2: do masks weigh the gradients of wrong labels less?

    python -m minran.workshop.course.label_filter docs/results/label-filter

trains the runs that are missing in that folder, one file each, with some labels wrong, and writes
`logs/label_filter.json` next to this file anew from all of them.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from minran import ops
from minran.autograd import Tensor, tensor
from minran.inspect.probe import hearing
from minran.models import AttentionModule
from minran.nn import Module, observe
from minran.nn.module import evaluating
from minran.train import build, environment, load_recipe
from minran.train.setup import load_data
from minran.workshop.course.gate_runs import SEEDS, by_epoch, gate_recipe, make

LOG = Path(__file__).with_name("logs") / "label_filter.json"
KINDS = ("residual", "naive", "no mask")
NOISE, EPOCHS, IMAGES, SINGLE = 0.3, 8, 400, 100
"""Share of wrong labels; images whose gradients are measured; of these, one by one."""


def label_filter() -> list[dict[str, Any]]:
    """The shipped log: kind and seed of each run, and its rows by epoch, from before on."""
    return json.loads(LOG.read_text(encoding="utf-8"))


def share(gradients: np.ndarray, wrong: np.ndarray) -> float:
    """Of the lengths of all images' gradients (N, ...), the share that wrong labels have."""
    lengths = np.sqrt((gradients.reshape(len(gradients), -1).astype(np.float64) ** 2).sum(axis=1))
    return float(lengths[wrong].sum() / lengths.sum())


def filtered_shares(
    model: Module, images: np.ndarray, labels: np.ndarray, wrong: np.ndarray
) -> dict[str, list[float]]:
    """The share of gradient that comes from wrong labels, of every attention module in order.

    before: of g_H, which comes to the gate; after: of g_T, what the gate passes on to the trunk;
    other: the same with the mask of the next image; update_before, update_after: of the trunk's
    parameters for single images (dT/dphi applied to g_H and to g_T, Eq. 2). Without a mask all
    are the same. In evaluation mode, where images do not mix.
    """
    modules = [m for _, m in model.named_modules() if isinstance(m, AttentionModule)]
    keep, seen = hearing(modules, Tensor.retain_grad)
    with evaluating(model):
        with observe(keep):
            loss = ops.cross_entropy(model(tensor(images)), labels)
        entries = [seen[id(m.before)].numpy() for m in modules]
        loss.backward()
        found: dict[str, list[float]] = {key: [] for key in ("before", "after", "other")}
        found |= {"update_before": [], "update_after": []}
        for module, u in zip(modules, entries):
            arrives, passed = (np.asarray(seen[id(m)].grad) for m in (module.after, module.trunk))
            swapped = arrives
            if module.mask is not None:
                factor = seen[id(module.mask)].numpy() + (module.learning == "residual")
                swapped = arrives * np.roll(factor, 1, axis=0)
            for key, each in (("before", arrives), ("after", passed), ("other", swapped)):
                found[key].append(share(each, wrong))
            for key, each in (("update_before", arrives), ("update_after", passed)):
                updates = np.array([_update(module.trunk, u[n], each[n]) for n in range(SINGLE)])
                found[key].append(share(updates, wrong[:SINGLE]))
    model.zero_grad()
    return found


def _update(trunk: Module, u: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """dL/dphi of one image, as one vector: what dL/dT makes of the trunk's parameters."""
    trunk.zero_grad()
    trunk(tensor(u[None])).backward(gradient[None])
    return np.concatenate([np.asarray(p.grad).ravel() for p in trunk.parameters()])


def run(kind: str, seed: int) -> dict[str, Any]:
    """Train one network on labels of which some are wrong; its shares by epoch."""
    changes = f"seed={seed}", f"data.label_noise={NOISE}", f"training.epochs={EPOCHS}"
    parts = build(gate_recipe(kind, *changes))
    true = load_data(load_recipe("ablation-nano"))[0].labels[:IMAGES]
    given = parts.train.dataset
    images = parts.preprocess(np.asarray(given.images[:IMAGES]))
    labels = given.labels[:IMAGES]
    rows = by_epoch(parts, lambda: filtered_shares(parts.model, images, labels, labels != true))
    wrong = float(np.mean(labels != true))
    return {"kind": kind, "seed": seed, "wrong": wrong, "rows": rows, "made": environment()}


def names() -> dict[str, tuple[str, int]]:
    """Every run by the name of its file."""
    return {f"{k.replace(' ', '-')}-seed-{s}.json": (k, s) for k, s in product(KINDS, SEEDS)}


if __name__ == "__main__":
    make(Path(sys.argv[1]), LOG, names(), run)
