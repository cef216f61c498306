"""Drawings without graphviz: what a tensor was computed from, and how a network is put together.

`flow` finds the boxes and edges, `labels` their words, `layout` their places; `svg` draws them.
"""

from __future__ import annotations

from collections.abc import Collection

from minran.autograd import Tensor
from minran.errors import MinranError, expect
from minran.hints import checked
from minran.inspect.graph.flow import Flow, Node, flow
from minran.inspect.graph.labels import label
from minran.inspect.graph.layout import layout
from minran.inspect.graph.svg import Svg, render
from minran.inspect.probe import Call, Size, blank_picture, names_by_id, record
from minran.models.units import UNITS
from minran.nn import Module, Sequential
from minran.nn.module import evaluating

MOST_BOXES = 3000
UNIT_NAMES = tuple(unit.__name__ for unit in UNITS.values())


@checked(depth=0)
def graph(
    tensor: Tensor,
    calls: list[Call] | None = None,
    model: Module | None = None,
    depth: int | None = None,
    collapse: Collection[str] = (),
) -> Svg:
    """Draw the autograd graph that led to `tensor`: ops, parameters and data, shapes on the edges.

    calls: module calls noted by `record()` around the computation; ops are then grouped in the
    modules that ran them. model: gives names to the modules and parameters. depth: modules
    nested deeper are drawn as one box each (0: the outermost ones). collapse: names
    ("stages.0.1.mask") or kinds ("PreActUnit") of modules to draw as one box. Raises
    GradientError if there is no graph or backward() freed it, MinranError if the drawing would
    have more than 3,000 boxes: group and collapse then.

    >>> model = Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.GlobalAvgPool())
    >>> with record() as calls:
    ...     y = model(tensor(np.zeros((1, 8, 8, 3), "float32")))
    >>> graph(y, calls, model, depth=1).text.startswith("<svg")
    True
    """
    names = {} if model is None else names_by_id(model)
    root, edges = flow(tensor, calls or [], names, leaves=True)
    return _draw(root, edges, depth, collapse, skip=0, title="autograd graph")


@checked(depth=0)
def module_graph(
    model: Module,
    image_size: Size = None,
    depth: int | None = None,
    collapse: Collection[str] | None = None,
) -> Svg:
    """Draw how a network (or one attention module) is put together, with shapes on the edges.

    One image of zeros is run through it; shapes are of one image, H x W x C. image_size,
    depth and collapse are as in `summary` and `graph`; collapse=None closes the residual units,
    collapse=() opens everything. Clicking a title in a browser folds its box.

    >>> drawing = inspect.module_graph(minran.create_model("attention_nano"), depth=1)
    >>> drawing.text.startswith("<svg")
    True
    """
    x = blank_picture(model, image_size, requires_grad=True)
    with evaluating(model), record() as calls:
        y = model(x)
    names = names_by_id(model) | {id(x): "image" if x.shape[3] <= 4 else "input"}
    root, edges = flow(y, calls, names, leaves=False)
    end = root.add(Node(y, "logits" if y.ndim == 2 else "output", y.shape))
    edges.append((edges[-1][1], end))
    _simplify(root)
    closed = UNIT_NAMES if collapse is None else collapse
    return _draw(root, edges, depth, closed, skip=1, title=type(model).__name__)


def _simplify(node: Node) -> None:
    """Draw a layer as one box, whatever ops it runs, and a sequence of one module as that one."""
    for index, child in enumerate(node.children):
        _simplify(child)
        if isinstance(child.content, Module) and not any(True for _ in child.content.children()):
            child.closed = True
        if isinstance(child.content, Sequential) and child.name and len(child.children) == 1:
            only = child.children[0]
            if isinstance(only.content, Module):
                only.title = f"{child.last_name}.{only.title or only.last_name}"
                only.parent, node.children[index] = node, only


def _draw(
    root: Node, edges: Flow, depth: int | None, collapse: Collection[str], skip: int, title: str
) -> Svg:
    """Close the boxes that `collapse` names, and those at `depth`, and draw what is left to see."""
    # The root is around the model's own box, which has level 0.
    boxes, waiting = [], [(child, 0) for child in root.children]
    while waiting:
        node, level = waiting.pop()
        boxes.append(node)
        if isinstance(node.content, Module):
            named = node.name in collapse or type(node.content).__name__ in collapse
            node.closed |= named or (depth is not None and level >= depth)
        if node.open:
            waiting.extend((child, level + 1) for child in node.children)
    expect(
        len(boxes) <= MOST_BOXES,
        f"graph: {len(boxes):,} boxes would be too many to read (at most {MOST_BOXES:,}); record "
        "the module calls and give depth or collapse",
        MinranError,
    )
    labels = {node: label(node, skip) for node in boxes}
    layout(root, edges, labels)
    return render(root, labels, title)
