"""Where the boxes go: a layered drawing, from top to bottom, of boxes within boxes.

Each open box is laid out on its own, inside first, and is then one box of the drawing around
it. Within a box (Sugiyama, Tagawa and Toda 1981): put every node on a layer below all that feed
it; let edges that pass layers go through waypoints; order each layer so that edges cross little;
move nodes towards their neighbours as far as the order allows. An edge that enters or leaves a
box goes through a port on its border, so that it runs on inside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

from minran.inspect.graph.flow import Edge, Flow, Node
from minran.inspect.graph.labels import Label

GAP_X, GAP_Y, PORT_GAP, PADDING, TITLE = 32.0, 30.0, 14.0, 12.0, 22.0


def layout(root: Node, edges: Flow, labels: dict[Node, Label]) -> None:
    """Place every open box; labels of all nodes but the root: they need their room."""
    split_at_borders(edges)
    _place(root, labels)


def split_at_borders(edges: Flow) -> None:
    """Split every edge at the borders of the open boxes that it crosses: pieces within each."""

    def link(box: Node, start: Node | None, end: Node | None, source: Node) -> None:
        """An edge from a child of the box, or its border (None), to another."""
        start = start or box.ports.setdefault(("in", source), Node(kind="in"))
        end = end or box.ports.setdefault(("out", source), Node(kind="out"))
        box.edges[Edge(start, end, source)] = None

    for source, target in edges:
        above, below = _around(source), _around(target)
        start = above[0]
        if start is below[0]:
            continue
        while above[-2:-1] == below[-2:-1] and len(above) > 1 and len(below) > 1:
            above.pop()
            below.pop()
        # Now the last of both is the innermost box around the edge's two ends.
        link(above[-1], above[-2], below[-2], start)
        for inner, box in pairwise(above[:-1]):
            link(box, inner, None, start)
        for inner, box in pairwise(below[:-1]):
            link(box, None, inner, start)


def _around(node: Node) -> list[Node]:
    """The box that stands for `node` in the drawing, and all boxes around it, outwards."""
    found = [node]
    while (box := found[-1].parent) is not None:
        # What lies in a closed box is drawn as that box.
        found = [box] if box.closed else [*found, box]
    return found


def _place(box: Node, labels: dict[Node, Label]) -> None:
    """Place what is in the box, and in the boxes in it; find its size."""
    for child in box.children:
        if child.open:
            _place(child, labels)
        else:
            child.width, child.height = labels[child].size(False)
    layers = _layers(box)
    box.edges = _at_waypoints(box.edges, layers)
    _order(layers, box.edges)
    _move(layers, box.edges)

    box.items = list(chain(*layers))
    left = min((item.x - item.width / 2 for item in box.items), default=0.0)
    right = max((item.x + item.width / 2 for item in box.items), default=0.0)
    title = labels[box].size(True)[0] if box in labels else 0.0
    box.width = max(right - left + 2 * PADDING, title)
    shift = (box.width - (right - left)) / 2 - left
    for item in box.items:
        item.x += shift
    y = TITLE if box.parent is not None else 0.0
    for layer, after in pairwise([*layers, []]):
        box.top.append(y)
        y += max((item.height for item in layer), default=0.0)
        box.bottom.append(y)
        for item in layer:  # in the middle of their layer
            item.y = (box.top[-1] + y - item.height) / 2
        bare = any(all(item.kind in ("in", "out") for item in row) for row in (layer, after))
        y += PORT_GAP if bare else GAP_Y
    box.height = box.bottom[-1] + (0.0 if any(side == "out" for side, _ in box.ports) else PADDING)


def _layers(box: Node) -> list[list[Node]]:
    """Every item on a layer below all that feed it; in-ports come first, out-ports last."""
    feeds: dict[Node, list[Node]] = defaultdict(list)
    for edge in box.edges:
        feeds[edge.start].append(edge.end)
    fed = {edge.end for edge in box.edges}
    sources = [item for item in box.children if item not in fed]
    enters = [port for port in box.ports.values() if port.kind == "in"]
    for item in box.children:
        item.layer = 1 if enters else 0
    # Children stand as they were made: but for sources, an item comes after all that feed it.
    for item in (*enters, *sources, *box.children):
        for end in feeds[item]:
            end.layer = max(end.layer, item.layer + 1)
    # What nothing feeds (parameters, say) stands right above the first thing that it feeds.
    for item in sources:
        if feeds[item]:
            item.layer = max(item.layer, min(end.layer or 1 for end in feeds[item]) - 1)
    last = max((item.layer for item in box.children), default=0)
    layers: list[list[Node]] = [[] for _ in range(last + 1)]
    if len(enters) < len(box.ports):
        layers.append([])
    for item in (*box.children, *box.ports.values()):
        if item.kind == "out":
            item.layer = last + 1
        layers[item.layer].append(item)
    return layers


def _at_waypoints(edges: Iterable[Edge], layers: list[list[Node]]) -> dict[Edge, None]:
    """Cut edges that pass layers at waypoints; edges from one source share theirs."""
    pieces: dict[Edge, None] = {}
    waypoints: dict[tuple[Node, Node, int], Node] = {}
    for start, end, source in edges:
        at = start
        for layer in range(start.layer + 1, end.layer):
            key = (start, source, layer)
            if key not in waypoints:
                waypoints[key] = Node(kind="way", layer=layer)
                layers[layer].append(waypoints[key])
            pieces[Edge(at, waypoints[key], source)] = None
            at = waypoints[key]
        pieces[Edge(at, end, source)] = None
    return pieces


Near = dict[Node, list[tuple[Node, Edge]]]
"""What each item is joined to in the layer above, or in the one below."""


def _sweeps(
    layers: list[list[Node]], edges: Iterable[Edge], times: int
) -> Iterator[tuple[list[Node], Near]]:
    """The layers downwards, each with what lies above it, then upwards with what lies below."""
    above: Near = defaultdict(list)
    below: Near = defaultdict(list)
    for edge in edges:
        above[edge.end].append((edge.start, edge))
        below[edge.start].append((edge.end, edge))
    for time in range(times):
        for layer in reversed(layers) if time % 2 else layers:
            yield layer, below if time % 2 else above


def _order(layers: list[list[Node]], edges: Iterable[Edge]) -> None:
    """Sort each layer by the mean place of its neighbours."""
    for layer, near in _sweeps(layers, edges, 6):
        for place, item in enumerate(layer):
            places = [other.x for other, _ in near[item]] or [place]
            item.x = sum(places) / len(places)
        layer.sort(key=lambda item: item.x)
        for place, item in enumerate(layer):
            item.x = place


def _move(layers: list[list[Node]], edges: Iterable[Edge]) -> None:
    """Move items towards the mean of their neighbours, without touching in their layer."""

    def pull(item: Node, near: list[tuple[Node, Edge]]) -> tuple[float, float]:
        """Where the neighbours want the item, and how strongly (waypoints keep edges straight)."""
        if not near:
            return item.x, 0.1
        wanted = [
            other.x + port_offset(other, edge) - port_offset(item, edge) for other, edge in near
        ]
        straight = item.kind != "box" and any(other.kind == "way" for other, _ in near)
        return sum(wanted) / len(wanted), (4.0 if straight else 1.0) * len(near)

    for layer in layers:
        x = -sum(item.width + GAP_X for item in layer) / 2
        for item in layer:
            item.x = x + item.width / 2
            x += item.width + GAP_X
    # Downwards last: what nothing pulls aside then stands in a straight column.
    for layer, near in _sweeps(layers, edges, 13):
        _settle(layer, [pull(item, near[item]) for item in layer])


def port_offset(item: Node, edge: Edge) -> float:
    """How far from the middle of `item` the edge touches it."""
    port = item.ports.get(("out" if edge.start is item else "in", edge.source))
    return port.x - item.width / 2 if port else 0.0


def _settle(layer: list[Node], pulls: list[tuple[float, float]]) -> None:
    """Least weighted squared distance from the wanted places, keeping order and gaps.

    With the gaps subtracted this is isotonic regression: neighbours that would pass each other
    are pooled at their common mean.
    """
    offsets = [0.0]
    for a, b in pairwise(layer):
        offsets.append(offsets[-1] + (a.width + b.width) / 2 + GAP_X)
    pools: list[list[float]] = []  # sum of weight times place, sum of weights, members
    for (wanted, weight), offset in zip(pulls, offsets):
        pools.append([weight * (wanted - offset), weight, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last)]
    places = [total / weights for total, weights, members in pools for _ in range(int(members))]
    for item, place, offset in zip(layer, places, offsets):
        item.x = place + offset
