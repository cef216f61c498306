"""Drawings without graphviz: what a tensor was computed from, and how a network is put together.

`flow` finds the boxes and edges, `labels` their words, `layout` their places; `svg` draws them.
"""

from minran.inspect.graph.draw import graph, module_graph
from minran.inspect.graph.flow import Flow, Node, flow, ops_behind
from minran.inspect.graph.labels import OPS, Label
from minran.inspect.graph.layout import layout
from minran.inspect.graph.svg import Svg, render

__all__ = [
    "OPS",
    "Flow",
    "Label",
    "Node",
    "Svg",
    "flow",
    "graph",
    "layout",
    "module_graph",
    "ops_behind",
    "render",
]
