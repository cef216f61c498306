"""Plausible wrong answers to the tasks of notebook 00."""

from __future__ import annotations

RIGHT = {
    "mask of the second stage": "stages.1.1.mask",
    "trunk of the third stage": "stages.2.1.trunk",
    "first max-pool of the first stage's mask": "stages.0.1.mask.body.pool",
    "logits": "fc",
}

WRONG = {
    "00.1": [
        ("counts stages from 1", RIGHT | {"mask of the second stage": "stages.2.1.mask"}),
        ("takes the stage's first unit", RIGHT | {"trunk of the third stage": "stages.2.0.trunk"}),
        ("takes the stem's pool", RIGHT | {"first max-pool of the first stage's mask": "stem.1"}),
        ("forgets one", {key: name for key, name in RIGHT.items() if key != "logits"}),
    ],
    "00.2": [
        ("naive attention", lambda M, T: M * T),
        ("1 in the wrong place", lambda M, T: 1 + M * T),
        ("adds the mask", lambda M, T: M + T),
    ],
}
