"""Where the boxes go: a layered drawing, from top to bottom, of boxes within boxes.

Each open box is laid out on its own, inside first, and is then one box of the drawing around
it. Within a box (Sugiyama, Tagawa and Toda 1981): put every node on a layer below all that feed
it; let edges that pass layers go through waypoints; order each layer so that edges cross little;
move nodes towards their neighbours as far as the order allows. An edge that enters or leaves a
box goes through a port on its border, so that it runs on inside.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from minran.inspect.graph.flow import Flow, Link, Node, split_at_borders
from minran.inspect.graph.labels import Label

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
    """An edge, or its piece from one layer to the next; `source` is the node it started from."""

    start: Item
    end: Item
    source: Node


@dataclass
class Placed:
    """The drawing inside one box: sizes are of the box, places relative to its corner."""

    items: list[Item]
    segments: list[Segment]
    width: float = 0.0
    height: float = 0.0
    top: list[float] = field(default_factory=list)
    bottom: list[float] = field(default_factory=list)
    ports: dict[tuple[str, Node], float] = field(default_factory=dict)
    """Place from the left of the ports, by "in" or "out" and the node that the edge starts at."""


def layout(flow: Flow, labels: dict[Node, Label]) -> dict[Node, Placed]:
    """Place every open box of the flow; labels of all nodes but the root: they need their room."""
    links = split_at_borders(flow)
    placed: dict[Node, Placed] = {}

    def place(box: Node) -> None:
        for child in box.children:
            if child.open:
                place(child)
        placed[box] = _place(box, links[box], placed, labels)

    place(flow.root)
    return placed


def _place(
    box: Node,
    links: list[Link],
    placed: dict[Node, Placed],
    labels: dict[Node, Label],
) -> Placed:
    items: dict[Node, Item] = {}
    for child in box.children:
        inner = placed.get(child)
        width, height = (inner.width, inner.height) if inner else labels[child].size(False)
        items[child] = Item(child, width, height)
    ports: dict[tuple[str, Node], Item] = {}
    edges = [
        Segment(
            items[start] if start else ports.setdefault(("in", source), Item(port="in")),
            items[end] if end else ports.setdefault(("out", source), Item(port="out")),
            source,
        )
        for start, end, source in links
    ]
    layers = _layers(list(items.values()), list(ports.values()), edges)
    segments = _at_waypoints(edges, layers)
    _order(layers, segments)
    _move(layers, segments, placed)

    result = Placed([item for layer in layers for item in layer], segments)
    left = min((item.x - item.width / 2 for item in result.items), default=0.0)
    right = max((item.x + item.width / 2 for item in result.items), default=0.0)
    title = labels[box].size(True)[0] if box in labels else 0.0
    result.width = max(right - left + 2 * PADDING, title)
    shift = (result.width - (right - left)) / 2 - left
    for item in result.items:
        item.x += shift
    result.ports = {key: item.x for key, item in ports.items()}
    y = TITLE if box.parent is not None else 0.0
    for layer, after in pairwise([*layers, []]):
        result.top.append(y)
        y += max((item.height for item in layer), default=0.0)
        result.bottom.append(y)
        bare = all(item.port for item in layer) or all(item.port for item in after)
        y += PORT_GAP if bare else GAP_Y
    leaves = any(item.port == "out" for item in result.items)
    result.height = result.bottom[-1] + (0.0 if leaves else PADDING)
    return result


def _layers(nodes: list[Item], ports: list[Item], edges: list[Segment]) -> list[list[Item]]:
    """Every item on a layer below all that feed it; in-ports come first, out-ports last."""
    feeds: dict[Item, list[Item]] = defaultdict(list)
    fed: dict[Item, int] = defaultdict(int)
    for edge in edges:
        feeds[edge.start].append(edge.end)
        fed[edge.end] += 1
    sources = [item for item in nodes if not fed[item]]
    enters = [port for port in ports if port.port == "in"]
    for item in nodes:
        item.layer = 1 if enters else 0
    # Kahn's order: an item is ready when all that feed it have their layer.
    ready = [*enters, *sources]
    while ready:
        item = ready.pop()
        for end in feeds[item]:
            end.layer = max(end.layer, item.layer + 1)
            fed[end] -= 1
            if not fed[end]:
                ready.append(end)
    # What nothing feeds (parameters, say) stands right above the first thing that it feeds.
    for item in sources:
        if feeds[item]:
            item.layer = max(item.layer, min(end.layer or 1 for end in feeds[item]) - 1)
    last = max((item.layer for item in nodes), default=0)
    layers: list[list[Item]] = [[] for _ in range(last + 1)]
    if len(enters) < len(ports):
        layers.append([])
    for item in [*nodes, *ports]:
        if item.port == "out":
            item.layer = last + 1
        layers[item.layer].append(item)
    return layers


def _at_waypoints(edges: list[Segment], layers: list[list[Item]]) -> list[Segment]:
    """Cut edges that pass layers at waypoints; edges from one source share theirs."""
    segments: list[Segment] = []
    waypoints: dict[tuple[Item, Node, int], Item] = {}
    for edge in edges:
        at = edge.start
        for layer in range(edge.start.layer + 1, edge.end.layer):
            key = (edge.start, edge.source, layer)
            if key not in waypoints:
                waypoints[key] = Item(layer=layer)
                layers[layer].append(waypoints[key])
                segments.append(Segment(at, waypoints[key], edge.source))
            at = waypoints[key]
        segments.append(Segment(at, edge.end, edge.source))
    return segments


Near = dict[Item, list[tuple[Item, Segment]]]
"""What each item is joined to in the layer above, or in the one below."""


def _sweeps(
    layers: list[list[Item]], segments: list[Segment], times: int
) -> Iterator[tuple[list[Item], Near]]:
    """The layers downwards, each with what lies above it, then upwards with what lies below."""
    above: Near = defaultdict(list)
    below: Near = defaultdict(list)
    for segment in segments:
        above[segment.end].append((segment.start, segment))
        below[segment.start].append((segment.end, segment))
    for time in range(times):
        for layer in reversed(layers) if time % 2 else layers:
            yield layer, below if time % 2 else above


def _order(layers: list[list[Item]], segments: list[Segment]) -> None:
    """Sort each layer by the mean place of its neighbours."""
    for layer, near in _sweeps(layers, segments, 6):
        for place, item in enumerate(layer):
            item.x = place
            if near[item]:
                item.x = sum(other.x for other, _ in near[item]) / len(near[item])
        layer.sort(key=lambda item: item.x)
        for place, item in enumerate(layer):
            item.x = place


def _move(layers: list[list[Item]], segments: list[Segment], placed: dict[Node, Placed]) -> None:
    """Move items towards the mean of their neighbours, without touching in their layer."""

    def pull(item: Item, near: list[tuple[Item, Segment]]) -> tuple[float, float]:
        """Where the neighbours want the item, and how strongly (waypoints keep edges straight)."""
        if not near:
            return item.x, 0.1
        wanted = [
            other.x + port_offset(other, segment, placed) - port_offset(item, segment, placed)
            for other, segment in near
        ]
        waypoints = any(other.node is None and not other.port for other, _ in near)
        straight = 4.0 if item.node is None and waypoints else 1.0
        return sum(wanted) / len(wanted), straight * len(near)

    for layer in layers:
        x = -sum(item.width + GAP_X for item in layer) / 2
        for item in layer:
            item.x = x + item.width / 2
            x += item.width + GAP_X
    # Downwards last: what nothing pulls aside then stands in a straight column.
    for layer, near in _sweeps(layers, segments, 13):
        _settle(layer, [pull(item, near[item]) for item in layer])


def port_offset(item: Item, segment: Segment, placed: dict[Node, Placed]) -> float:
    """How far from the middle of `item` the segment touches it."""
    if item.node is None or item.node not in placed:
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
            last = pools.pop()
            pools[-1] = [a + b for a, b in zip(pools[-1], last)]
    places = [total / weights for total, weights, members in pools for _ in range(int(members))]
    for item, place, offset in zip(layer, places, offsets):
        item.x = place + offset
