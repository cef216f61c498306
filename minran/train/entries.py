"""What the entries of a recipe may be, and which of them others make useless."""

from __future__ import annotations

import math

# What a number may be: at least the first, and below the second if there is one.
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, math.inf),
    "data.train_count": (0, math.inf),
    "data.test_count": (0, math.inf),
    "data.label_noise": (0, 1),
    "augment.cutout": (0, math.inf),
    "augment.mixup": (0, math.inf),
    "optimizer.lr": (0, math.inf),
    "optimizer.momentum": (0, 1),
    "optimizer.weight_decay": (0, math.inf),
    "schedule.factor": (0, math.inf),
    "schedule.warmup": (0, 1),
    "training.epochs": (0, math.inf),
    "training.iterations": (0, math.inf),
    "training.batch_size": (1, math.inf),
    "training.label_smoothing": (0, 1),
    "training.ema": (0, 1),
    "training.test_batch_size": (1, math.inf),
    "training.test_every": (1, math.inf),
    "training.log_every": (1, math.inf),
    "training.checkpoint_every": (0, math.inf),
    "training.keep_every": (0, math.inf),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "precision": ("fp32", "tf32", "bf16"),
    "schedule.kind": ("constant", "multistep", "cosine", "one_cycle"),
}
# Entries of [schedule] that not every kind uses.
USED_BY = {
    "milestones": ("multistep",),
    "factor": ("multistep",),
    "warmup": ("one_cycle", "cosine"),
}
LENGTH = ("training.epochs", "training.iterations")
"""What may change when a run goes on: how long it trains."""
