"""Looking inside: what a network is made of, how it is put together, and where it attends.

Read `summary`, then `masks` and `figures`; `graph` is the room of the drawings. Figures come
back as matplotlib Figures, made without pyplot: show them in a notebook or `savefig` them.
"""

from minran.inspect.curves import curves_figure
from minran.inspect.figures import (
    before_after_figure,
    confusion_figure,
    gradcam_figure,
    histogram_figure,
    mask_figure,
    mask_over_epochs_figure,
    prediction_figure,
    quickstart_figure,
    quickstart_report,
    response_figure,
)
from minran.inspect.gradients import Reach, gradcam, mask_reach
from minran.inspect.graph import Svg, graph, module_graph
from minran.inspect.masks import (
    RULES,
    Attention,
    Channels,
    Scores,
    added,
    attention_maps,
    centre_map,
    channel_mean,
    choose_channels,
    overlay,
    resize_maps,
    score,
    score_attention,
    score_table,
)
from minran.inspect.memory import Memory, memory
from minran.inspect.probe import class_probabilities, record, stage_responses, surest_mistakes
from minran.inspect.summary import Row, Summary, summary

__all__ = [
    "RULES",
    "Attention",
    "Channels",
    "Memory",
    "Reach",
    "Row",
    "Scores",
    "Summary",
    "Svg",
    "added",
    "attention_maps",
    "before_after_figure",
    "centre_map",
    "channel_mean",
    "choose_channels",
    "class_probabilities",
    "confusion_figure",
    "curves_figure",
    "gradcam",
    "gradcam_figure",
    "graph",
    "histogram_figure",
    "mask_figure",
    "mask_over_epochs_figure",
    "mask_reach",
    "memory",
    "module_graph",
    "overlay",
    "prediction_figure",
    "quickstart_figure",
    "quickstart_report",
    "record",
    "resize_maps",
    "response_figure",
    "score",
    "score_attention",
    "score_table",
    "stage_responses",
    "summary",
    "surest_mistakes",
]
