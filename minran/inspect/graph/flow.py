"""The ops that led to a tensor, sorted into the modules that called them.

`probe.record()` notes every module call with its input and output tensors. `flow(tensor, calls)`
then walks back from the tensor through `op.inputs`. Inside one call, what lies between the
call's output and its inputs was computed by it: directly, or by calls that it made. So the
calls become a tree whose leaves are ops, without the modules knowing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from minran.autograd import Op, Tensor
from minran.errors import GradientError, expect
from minran.inspect.probe import Call
from minran.nn import Module, Parameter


class Edge(NamedTuple):
    """An edge of a box's drawing, or its piece from one layer to the next.

    source: the node that it started from, perhaps outside of the box.
    """

    start: Node
    end: Node
    source: Node


@dataclass(eq=False)
class Node:
    """A box of a drawing: an op, a leaf (data or parameter), or a module with nodes inside.

    closed: drawn as one box, whatever is inside. title: written instead of the end of the name.
    `layout` finds the rest: the layer within the parent, the middle `x` and the top `y` from its
    corner, the size, what is drawn inside an open box. `kind` tells boxes from what has no size:
    waypoints ("way") of edges, and ports ("in", "out") where edges cross the border of a box.
    """

    content: Op | Tensor | Module | None = None
    name: str = ""
    shape: tuple[int, ...] = ()
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    closed: bool = False
    title: str = ""
    kind: str = "box"
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    items: list[Node] = field(default_factory=list)
    edges: dict[Edge, None] = field(default_factory=dict)
    ports: dict[tuple[str, Node], Node] = field(default_factory=dict)
    """By "in" or "out" and the source of the edges."""
    top: list[float] = field(default_factory=list)
    bottom: list[float] = field(default_factory=list)
    """Of each layer, from the corner of the box."""

    def add(self, child: Node) -> Node:
        """Put `child` into this node."""
        child.parent = self
        self.children.append(child)
        return child

    @property
    def last_name(self) -> str:
        """The last part of the dotted name."""
        return self.name.rpartition(".")[2]

    @property
    def open(self) -> bool:
        """Whether the drawing shows what is inside."""
        return bool(self.children) and not self.closed


Flow = list[tuple[Node, Node]]
"""Which leaf of the tree feeds which; the last edge enters what was asked about."""


def flow(
    tensor: Tensor, calls: list[Call], names: dict[int, str], leaves: bool
) -> tuple[Node, Flow]:
    """The ops that led to `tensor` in the tree of the recorded calls: its root, and the edges.

    names: of modules, parameters and other leaves, by `id`. leaves: draw parameters and other
    leaf tensors too; without them only leaves that no parameter is (the images) are kept.

    Raises GradientError if the tensor has no graph, or backward() has freed it.
    """
    made = ops_behind(tensor)
    owners, parents = _owners(calls, made)
    root = Node()
    boxes: dict[Call | None, Node] = {None: root}

    def box(call: Call | None) -> Node:
        """The node of a call, with those of the calls around it."""
        if call is not None and call not in boxes:
            node = Node(call.module, names.get(id(call.module), ""), call.output.shape)
            boxes[call] = box(parents.get(call)).add(node)
        return boxes[call]

    nodes: dict[int, Node] = {}
    edges: Flow = []
    for op, output in made:
        home = box(owners.get(id(op)))
        node = nodes[id(output)] = home.add(Node(op, shape=output.shape))
        for source in sources(op):
            parameter = isinstance(source, Parameter)
            if id(source) not in nodes:
                if parameter and not leaves:
                    continue
                # A leaf stands beside what it feeds; data comes from outside of all modules.
                leaf = Node(source, names.get(id(source), ""), source.shape)
                nodes[id(source)] = (home if parameter else root).add(leaf)
            edges.append((nodes[id(source)], node))
    return root, edges


def sources(op: Op) -> list[Tensor]:
    """The tensors that the op read."""
    return [source for source in op.inputs or () if source is not None]


def ops_behind(tensor: Tensor) -> list[tuple[Op, Tensor]]:
    """Every op that led to `tensor` with its output, oldest first; no recursion."""
    expect(
        tensor.op is not None,
        "graph: this tensor was not computed from any tensor that requires a gradient (or was "
        "computed under no_grad), so it has no graph",
        GradientError,
    )
    found: dict[int, tuple[Op, Tensor]] = {}
    waiting = [tensor]
    while waiting:
        output = waiting.pop()
        op = output.op
        if op is not None and id(op) not in found:
            freed = op.__dict__.get("inputs") is None
            expect(
                not freed, "graph: backward() has freed this graph; draw it before", GradientError
            )
            found[id(op)] = op, output
            waiting += sources(op)
    return sorted(found.values(), key=lambda pair: pair[0].order)


def _owners(
    calls: list[Call], made: list[tuple[Op, Tensor]]
) -> tuple[dict[int, Call], dict[Call, Call]]:
    """The innermost call of each op, by `id`, and the call around each call."""
    wanted = {id(op) for op, _ in made}
    owners: dict[int, Call] = {}
    parents: dict[Call, Call] = {}
    # The outermost finished call that put out a tensor, and those of its inputs that the tensor
    # was computed from. Children report before their parents.
    made_by: dict[int, tuple[Call, list[Tensor]]] = {}
    for call in calls:
        borders = {id(source) for source in call.inputs}
        op = call.output.op
        if id(call.output) in borders or (op is not None and id(op) not in wanted):
            continue
        reached: list[Tensor] = []
        waiting, seen = [call.output], set()
        while waiting:
            tensor = waiting.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            if id(tensor) in borders:
                reached.append(tensor)
            elif id(tensor) in made_by:
                child, below = made_by[id(tensor)]
                parents[child] = call
                waiting += below
            elif tensor.op is not None and id(tensor.op) not in owners:
                owners[id(tensor.op)] = call
                waiting += sources(tensor.op)
        made_by[id(call.output)] = call, reached
    return owners, parents
