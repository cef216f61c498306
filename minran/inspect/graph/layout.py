"""Where the boxes go: a layered drawing, from top to bottom, of boxes within boxes.

Each open box is laid out on its own, inside first, and is then one box of the drawing around
it. Within a box (Sugiyama, Tagawa and Toda 1981): put every node on a layer below all that feed
it; let edges that pass layers go through waypoints; order each layer so that edges cross little;
move nodes towards their neighbours as far as the order allows. An edge that enters or leaves a
box goes through a port on its border, so that it runs on inside.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from minran.inspect.graph.flow import Flow, Link, Node, split_at_borders

GAP_X, GAP_Y, PORT_GAP, PADDING, TITLE = 32.0, 30.0, 14.0, 12.0, 22.0


@dataclass(eq=False)
class Item:
    """Something with a place on a layer: a node, a waypoint or a port (both without size)."""

    node: Node | None = None
    width: float = 0.0
    height: float = 0.0
    layer: int = 0
    x: float = 0.0
    port: str = ""
    """"in" or "out" for a port, else empty."""


@dataclass
class Segment:
    """A piece of an edge from one layer to the next; `source` is the node it started from."""

    start: Item
    end: Item
    source: Node


@dataclass
class Placed:
    """The drawing inside one box: sizes are of the box, places relative to its corner."""

    width: float = 0.0
    height: float = 0.0
    items: list[Item] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    top: list[float] = field(default_factory=list)
    bottom: list[float] = field(default_factory=list)
    ports: dict[tuple[str, Node], float] = field(default_factory=dict)
    """Place from the left of the ports, by "in" or "out" and the node that the edge starts at."""


def layout(flow: Flow, size: dict[Node, tuple[float, float]]) -> dict[Node, Placed]:
    """Place every open box of the flow; `size` tells width and height of the others, and the
    least width of the open ones (for their titles).
    """
    links = split_at_borders(flow)
    placed: dict[Node, Placed] = {}

    def place(box: Node) -> None:
        for child in box.children:
            if child.open:
                place(child)
        placed[box] = _place(box, links[box], placed, size)

    place(flow.root)
    return placed


def _place(
    box: Node,
    links: list[Link],
    placed: dict[Node, Placed],
    size: dict[Node, tuple[float, float]],
) -> Placed:
    items: dict[Node, Item] = {}
    for child in box.children:
        inner = placed.get(child)
        width, height = (inner.width, inner.height) if inner else size[child]
        items[child] = Item(child, width, height)
    pairs, ports = _pairs(links, items)
    count = _assign_layers(list(items.values()), ports, pairs)
    layers: list[list[Item]] = [[] for _ in range(count)]
    for item in [*items.values(), *ports.values()]:
        layers[item.layer].append(item)
    segments = _segments(pairs, layers)
    _order(layers, segments)
    _move(layers, segments, placed)

    result = Placed(segments=segments, items=[item for layer in layers for item in layer])
    left = min((item.x - item.width / 2 for item in result.items), default=0.0)
    right = max((item.x + item.width / 2 for item in result.items), default=0.0)
    result.width = max(right - left + 2 * PADDING, size[box][0])
    shift = (result.width - (right - left)) / 2 - left
    for item in result.items:
        item.x += shift
    y = TITLE if box.parent is not None else 0.0
    for index, layer in enumerate(layers):
        result.top.append(y)
        y += max((item.height for item in layer), default=0.0)
        result.bottom.append(y)
        after = layers[index + 1] if index + 1 < len(layers) else []
        bare = all(item.port for item in layer) or all(item.port for item in after)
        y += PORT_GAP if bare else GAP_Y
    result.height = result.bottom[-1] if result.bottom else y
    if not any(item.port == "out" for item in result.items):
        result.height += PADDING
    result.ports = {(port, source): item.x for (port, source), item in ports.items()}
    return result


Ports = dict[tuple[str, Node], Item]


def _pairs(
    links: list[Link], items: dict[Node, Item]
) -> tuple[list[tuple[Item, Item, Node]], Ports]:
    """The links as pairs of items; a port for every node whose edges cross the border."""
    ports: Ports = {}
    pairs = []
    for start, end, source in links:
        enters = ("in", source)
        leaves = ("out", source)
        first = items[start] if start else ports.setdefault(enters, Item(port="in"))
        last = items[end] if end else ports.setdefault(leaves, Item(port="out"))
        pairs.append((first, last, source))
    return pairs, ports


def _assign_layers(nodes: list[Item], ports: Ports, pairs: list[tuple[Item, Item, Node]]) -> int:
    """Every item below all that feed it; in-ports first, out-ports last. Returns how many."""
    feeds: dict[int, list[Item]] = defaultdict(list)
    fed: dict[int, int] = defaultdict(int)
    for start, end, _ in pairs:
        feeds[id(start)].append(end)
        fed[id(end)] += 1
    sources = {id(item) for item in nodes if not fed[id(item)]}
    lowest = 1 if any(item.port == "in" for item in ports.values()) else 0
    for item in nodes:
        item.layer = lowest
    # Kahn's order: an item is ready when all that feed it have their layer.
    ready = [*ports.values(), *(item for item in nodes if id(item) in sources)]
    ready = [item for item in ready if item.port != "out"]
    while ready:
        item = ready.pop()
        for end in feeds[id(item)]:
            end.layer = max(end.layer, item.layer + 1)
            fed[id(end)] -= 1
            if not fed[id(end)] and end.port != "out":
                ready.append(end)
    # What nothing feeds (parameters, say) stands right above the first thing that it feeds.
    for item in nodes:
        if id(item) in sources and feeds[id(item)]:
            item.layer = max(item.layer, min(end.layer or 1 for end in feeds[id(item)]) - 1)
    last = max((item.layer for item in nodes), default=0)
    outs = [item for item in ports.values() if item.port == "out"]
    for item in outs:
        item.layer = last + 1
    return last + (2 if outs else 1)


def _segments(pairs: list[tuple[Item, Item, Node]], layers: list[list[Item]]) -> list[Segment]:
    """Cut edges that pass layers at waypoints; edges from one source share theirs."""
    segments: list[Segment] = []
    waypoints: dict[tuple[int, Node, int], Item] = {}
    for start, end, source in pairs:
        at = start
        for layer in range(start.layer + 1, end.layer):
            key = (id(start), source, layer)
            if key not in waypoints:
                waypoints[key] = Item(layer=layer)
                layers[layer].append(waypoints[key])
                segments.append(Segment(at, waypoints[key], source))
            at = waypoints[key]
        segments.append(Segment(at, end, source))
    return segments


def _order(layers: list[list[Item]], segments: list[Segment], sweeps: int = 6) -> None:
    """Sort each layer by the mean place of its neighbours, downwards and upwards in turn."""
    above, below = _neighbours(segments)
    for sweep in range(sweeps):
        downwards = sweep % 2 == 0
        near = above if downwards else below
        for layer in layers if downwards else reversed(layers):
            for place, item in enumerate(layer):
                item.x = place
            places = {
                id(item): sum(other.x for other, _ in near[id(item)]) / len(near[id(item)])
                for item in layer
                if near[id(item)]
            }
            layer.sort(key=lambda item: places.get(id(item), item.x))
            for place, item in enumerate(layer):
                item.x = place


def _move(
    layers: list[list[Item]], segments: list[Segment], placed: dict[Node, Placed], sweeps: int = 12
) -> None:
    """Move items towards the mean of their neighbours, without touching in their layer."""
    above, below = _neighbours(segments)

    def pull(item: Item, near: list[tuple[Item, Segment]]) -> tuple[float, float]:
        """Where the neighbours want the item, and how strongly (waypoints keep edges straight)."""
        if not near:
            return item.x, 0.1
        wanted = [
            other.x + port_offset(other, segment, placed) - port_offset(item, segment, placed)
            for other, segment in near
        ]
        waypoints = sum(other.node is None and not other.port for other, _ in near)
        straight = 4.0 if item.node is None and waypoints else 1.0
        return sum(wanted) / len(wanted), straight * len(near)

    for layer in layers:
        x = -sum(item.width + GAP_X for item in layer) / 2
        for item in layer:
            item.x = x + item.width / 2
            x += item.width + GAP_X
    # Downwards last: what nothing pulls aside then stands in a straight column.
    for sweep in range(sweeps + 1):
        downwards = sweep % 2 == 0
        near = above if downwards else below
        for layer in layers if downwards else reversed(layers):
            _settle(layer, [pull(item, near[id(item)]) for item in layer])


def port_offset(item: Item, segment: Segment, placed: dict[Node, Placed]) -> float:
    """How far from the middle of `item` the segment touches it."""
    if item.node not in placed or item.node is None:
        return 0.0
    inner = placed[item.node]
    side = "out" if segment.start is item else "in"
    return inner.ports[side, segment.source] - inner.width / 2


def _settle(layer: list[Item], pulls: list[tuple[float, float]]) -> None:
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
            total, weights, members = pools.pop()
            pools[-1] = [pools[-1][0] + total, pools[-1][1] + weights, pools[-1][2] + members]
    places = [total / weights for total, weights, members in pools for _ in range(int(members))]
    for item, place, offset in zip(layer, places, offsets):
        item.x = place + offset


def _neighbours(
    segments: list[Segment],
) -> tuple[dict[int, list[tuple[Item, Segment]]], dict[int, list[tuple[Item, Segment]]]]:
    """What is joined to each item from above, and from below."""
    above: dict[int, list[tuple[Item, Segment]]] = defaultdict(list)
    below: dict[int, list[tuple[Item, Segment]]] = defaultdict(list)
    for segment in segments:
        above[id(segment.end)].append((segment.start, segment))
        below[id(segment.start)].append((segment.end, segment))
    return above, below
