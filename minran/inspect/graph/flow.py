"""Who made what: the ops behind a tensor, sorted into the modules that called them.

`probe.record()` notes every module call with its input and output tensors. `flow(tensor, calls)`
then walks back from the tensor through `op.inputs`. Inside one call, what lies between the
call's output and its inputs was computed by it: directly, or by calls that it made. So the
calls become a tree whose leaves are ops, without the modules knowing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from minran.autograd import Op, Tensor
from minran.errors import GradientError, expect
from minran.inspect.probe import Call
from minran.nn import Module, Parameter


@dataclass(eq=False)
class Node:
    """A box of a drawing: an op, a leaf (data or parameter), or a module with nodes inside."""

    content: Op | Tensor | Module | None
    name: str = ""
    shape: tuple[int, ...] = ()
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    closed: bool = False
    """Drawn as one box, whatever is inside."""
    title: str = ""
    """What to write instead of the last part of the name."""

    def add(self, child: Node) -> Node:
        """Put `child` into this node."""
        child.parent = self
        self.children.append(child)
        return child

    @property
    def open(self) -> bool:
        """Whether the drawing shows what is inside."""
        return bool(self.children) and not self.closed


@dataclass(frozen=True)
class Flow:
    """The tree of nodes under `root`, and which leaf of the tree feeds which."""

    root: Node
    edges: list[tuple[Node, Node]]
    last: Node
    """The op that made the tensor which was asked about."""


def flow(tensor: Tensor, calls: list[Call], names: dict[int, str], leaves: bool) -> Flow:
    """The ops behind `tensor` in the tree of the recorded calls.

    names: of modules, parameters and other leaves, by `id`. leaves: draw parameters and other
    leaf tensors too; without them only leaves that no parameter is (the pictures) are kept.

    Raises GradientError if the tensor has no graph, or backward() has freed it.
    """
    made = ops_behind(tensor)
    owners, parents = _owners(calls, made)
    root = Node(None)
    boxes: dict[Call | None, Node] = {None: root}

    def box(call: Call | None) -> Node:
        """The node of a call, with those of the calls around it."""
        if call is not None and call not in boxes:
            node = Node(call.module, names.get(id(call.module), ""), call.output.shape)
            boxes[call] = box(parents.get(call)).add(node)
        return boxes[call]

    nodes: dict[int, Node] = {}
    edges: list[tuple[Node, Node]] = []
    for op, output in made:
        node = box(owners.get(id(op))).add(Node(op, shape=output.shape))
        nodes[id(output)] = node
        for source in sources(op):
            parameter = isinstance(source, Parameter)
            if id(source) not in nodes:
                if parameter and not leaves:
                    continue
                # A leaf stands beside what it feeds; data comes from outside of all modules.
                home = (node.parent or root) if parameter else root
                leaf = Node(source, names.get(id(source), ""), source.shape)
                nodes[id(source)] = home.add(leaf)
            edges.append((nodes[id(source)], node))
    return Flow(root, edges, nodes[id(tensor)])


def sources(op: Op) -> list[Tensor]:
    """The tensors that the op read."""
    return [source for source in op.inputs or () if source is not None]


def ops_behind(tensor: Tensor) -> list[tuple[Op, Tensor]]:
    """Every op behind `tensor` with its output, oldest first; no recursion."""
    expect(
        tensor.op is not None,
        "graph: this tensor was not computed from any tensor that requires a gradient (or was "
        "computed under no_grad), so there is no graph behind it",
        GradientError,
    )
    found: dict[int, tuple[Op, Tensor]] = {}
    waiting = [tensor]
    while waiting:
        output = waiting.pop()
        op = output.op
        if op is None or id(op) in found:
            continue
        expect(
            op.__dict__.get("inputs") is not None,
            "graph: backward() has freed this graph; draw it before",
            GradientError,
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


Link = tuple[Node | None, Node | None, Node]
"""From, to, and the node where the edge starts; None is the border of the box."""


def split_at_borders(flow: Flow) -> dict[Node, list[Link]]:
    """Split every edge at the borders of the open boxes that it crosses."""
    links: dict[Node, dict[Link, None]] = defaultdict(dict)
    for source, target in flow.edges:
        above, below = _chain(source), _chain(target)
        start = above[0]
        if start is below[0]:
            continue
        while above[-2:-1] == below[-2:-1] and len(above) > 1 and len(below) > 1:
            above.pop()
            below.pop()
        # Now the last of both is the innermost box around the edge's two ends.
        links[above[-1]][above[-2], below[-2], start] = None
        for inner, box in pairwise(above[:-1]):
            links[box][inner, None, start] = None
        for inner, box in pairwise(below[:-1]):
            links[box][None, inner, start] = None
    return defaultdict(list, {box: list(found) for box, found in links.items()})


def _chain(node: Node) -> list[Node]:
    """The box that stands for `node` in the drawing, and all boxes around it, outwards."""
    chain = [node]
    while chain[-1].parent is not None:
        box = chain[-1].parent
        # What lies in a closed box is drawn as that box.
        chain = [box] if box.closed else [*chain, box]
    return chain
