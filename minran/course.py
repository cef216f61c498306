"""The course: all that its notebooks import, from `minran.workshop.course`.

`check`, `show_source`, `frames` and `explore` stand in most notebooks; the comparisons are what
checks are made of. What single notebooks use besides is loaded when it is first asked for.
"""

import importlib
from typing import Any

from minran.workshop.course.checking import (
    Wrong,
    check,
    compare,
    compare_gradients,
    expect_function,
    unpack,
)
from minran.workshop.course.show import explore, frames, show_source

__all__ = [
    "Wrong",
    "check",
    "compare",
    "compare_gradients",
    "expect_function",
    "explore",
    "frames",
    "show_source",
    "unpack",
]

_LATE = {
    "clinic": ("BUGS", "features", "features_for", "healthy", "patient", "shape_trace", "trace"),
    "figures": (
        *("bars_figure", "hourglass_figure", "influence_figure", "owners_figure"),
        *("reach_figure", "roofline_figure", "time_figure", "tree_figure"),
    ),
    "first_hour": ("framed_signs",),
    "gate_runs": ("GATES", "gate_options", "gate_runs", "measure_gates", "put_gates"),
    "gates": ("SqueezeExciteParts", "cost", "replace_masks"),
    "kernels": ("Spent", "passes_and_bytes", "run_block", "seconds_of", "timed_kernels"),
    "label_filter": ("filtered_shares", "label_filter"),
    "mask_scores": (
        *("PARTS", "REPLACEMENTS", "SHARES", "border_colour", "curve_maps", "eight_channels"),
        *("inside_outside", "mask_scores", "network_maps", "pixel_curves", "random_network"),
        *("replaced_masks", "right_answers", "variance_parts"),
    ),
    "on_paper": ("paper_frames",),
    "train_mine": ("train_mine",),
    "planted": ("InterpolationOtherCorners", "SoftmaxSameForAll", "planted"),
    "shipped": ("ablation",),
    "show": ("show_kernel",),
    "steps": ("backward_steps",),
    "walk": ("walk_frames", "walk_through"),
}


def __getattr__(name: str) -> Any:
    for module, names in _LATE.items():
        if name in names:
            return getattr(importlib.import_module(f"minran.workshop.course.{module}"), name)
    raise AttributeError(f"module 'minran.course' has no attribute {name!r}")
