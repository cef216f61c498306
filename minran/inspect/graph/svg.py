"""Drawing the placed boxes as SVG text: nothing but strings, readable in light and dark.

Colours are set twice: as attributes, which every viewer knows, and as a style sheet, which
follows the reader's light or dark mode. A click on the title of a box folds it and unfolds it
again (declarative animation, no script) where the viewer lets images be clicked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape as escape_html
from pathlib import Path
from zlib import crc32

from minran.errors import DataError
from minran.files import expect_ending, write_atomically
from minran.inspect.graph.flow import Edge, Node
from minran.inspect.graph.labels import Label
from minran.inspect.graph.layout import port_offset
from minran.inspect.themes import BOX_COLOURS, DARK, LIGHT, Theme
from minran.streams import visible

FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
MARGIN = 14.0
# Text that an edge may cross is drawn with a rim in the colour of the paper.
HALO = f'stroke="{LIGHT.paper}" stroke-width="3" stroke-opacity="0.8" paint-order="stroke"'


def escape(text: str) -> str:
    """Text for an SVG: its signs escaped, and letters that XML cannot hold shown as escapes."""
    return escape_html(visible(text))


@dataclass(frozen=True)
class Svg:
    """A drawing as SVG text; a notebook shows it, `save` writes it."""

    text: str

    def save(self, path: str | Path) -> Path:
        """Write the drawing to a .svg file; returns the path. Raises DataError if that fails."""
        target = expect_ending(path, (".svg",), "the file of a drawing")
        write_atomically(target, self.text, DataError)
        return target

    def _repr_svg_(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text


def render(root: Node, labels: dict[Node, Label], title: str) -> Svg:
    """The whole drawing of what `layout` placed. labels: what each node says, in which colour."""
    # Several drawings may stand in one page: their names must differ.
    page = f"minran{crc32(repr(list(labels.values())).encode()):08x}"
    width, height = root.width + 2 * MARGIN, root.height + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}" font-size="12" role="img" '
        f'class="{page}">',
        f"<title>{escape(title)}</title>",
        # Light mode's colours, for viewers that prefer the style sheet, and dark mode's.
        f"<style>{_rules(page, LIGHT)}.{page} .fold{{cursor:pointer}}"
        f"@media (prefers-color-scheme:dark){{{_rules(page, DARK)}}}</style>",
        f'<defs><marker id="{page}tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path class="tip" d="M0,0.5 L8,4 L0,7.5 z" '
        f'fill="{LIGHT.faint}"/></marker></defs>',
        f'<rect class="paper" width="100%" height="100%" fill="{LIGHT.paper}"/>',
        *_Drawing(labels, page).inside(root, MARGIN, MARGIN),
        "</svg>",
    ]
    return Svg("\n".join(lines) + "\n")


def _rules(page: str, colours: Theme) -> str:
    """The style sheet of one theme."""
    return "".join(
        f".{page} .{kind}{{{paint}:{colour}}}"
        for kind, paint, colour in (
            ("paper", "fill", colours.paper),
            ("text", "fill", colours.text),
            ("faint", "fill", colours.faint),
            ("tip", "fill", colours.faint),
            ("edge", "stroke", colours.faint),
            ("halo", "stroke", colours.paper),
        )
    )


class _Drawing:
    """Lines of SVG; (x, y) is a corner: of the box in `inside`, else of the item itself."""

    def __init__(self, labels: dict[Node, Label], page: str) -> None:
        self.labels, self.page, self.count = labels, page, 0

    def inside(self, box: Node, x: float, y: float) -> Iterator[str]:
        """What is in an open box: edges first, words above them."""
        for edge in box.edges:
            yield self.edge(box, edge, x, y)
        # One shape for all edges that start at the same tensor, beside the first one.
        first: dict[Node, Edge] = {}
        for edge in box.edges:
            if edge.start.kind == "box" and edge.end.kind in ("box", "way"):
                first.setdefault(edge.source, edge)
        for edge in first.values():
            at = x + edge.start.x + port_offset(edge.start, edge)
            below = y + edge.start.y + edge.start.height
            shape = self.labels[edge.source].shape
            yield _text("faint halo", at + 5, below + 12, 'font-size="10" ', shape)
        for item in box.items:
            if item.kind == "box":
                draw = self.frame if item.open else self.leaf
                yield from draw(item, x + item.x - item.width / 2, y + item.y)

    def frame(self, node: Node, x: float, y: float) -> Iterator[str]:
        """An open box: its outline, its title, which folds it, and what is inside."""
        label = self.labels[node]
        self.count += 1
        fold, cover = f"{self.page}fold{self.count}", f"{self.page}cover{self.count}"
        rect, colour = _rect(node, x, y, 7), BOX_COLOURS[label.colour]
        words = (
            f'<tspan font-weight="600">{escape(label.first)}</tspan>'
            f'<tspan class="faint" fill="{LIGHT.faint}" dx="6" font-size="11">'
            f"{escape(label.second)}</tspan>"
        )
        title = _text("text halo", x + 9, y + 15, "", words)
        clicks = f'begin="{fold}.click" end="{cover}.click"'
        yield "<g>"
        look = f'fill="{colour}" fill-opacity="0.05" stroke="{colour}" stroke-opacity="0.65"'
        yield f"{rect} {look}/>"
        yield f'<g><set attributeName="display" to="none" {clicks}/>'
        yield from self.inside(node, x, y)
        yield "</g>"
        yield f'<g id="{fold}" class="fold"><title>{escape(label.hint)}</title>{title}</g>'
        yield (
            f'<g id="{cover}" class="fold" display="none">'
            f'<set attributeName="display" to="inline" {clicks}/>'
            f'{rect} fill="{colour}" fill-opacity="0.2"/>{title}</g>'
        )
        yield "</g>"

    def leaf(self, node: Node, x: float, y: float) -> Iterator[str]:
        """A closed box with one or two lines of text."""
        label = self.labels[node]
        colour = BOX_COLOURS[label.colour]
        middle, first = x + node.width / 2, y + (16 if label.second else 18)
        rect = _rect(node, x, y, 14 if label.colour == "leaf" else 5)
        yield f"<g><title>{escape(label.hint)}</title>"
        yield f'{rect} fill="{colour}" fill-opacity="0.2" stroke="{colour}"/>'
        look = 'text-anchor="middle" font-weight="600" '
        yield _text("text", middle, first, look, escape(label.first))
        if label.second:
            look = 'text-anchor="middle" font-size="11" '
            yield _text("faint", middle, y + 30, look, escape(label.second))
        yield "</g>"

    def edge(self, box: Node, edge: Edge, x: float, y: float) -> str:
        """Straight out of the layer, a curve across the gap, straight to the end."""
        start, end, _ = edge
        x1 = x + start.x + port_offset(start, edge)
        x2 = x + end.x + port_offset(end, edge)
        leave, arrive = y + box.bottom[start.layer], y + box.top[end.layer]
        y1 = {"in": y, "way": y + box.top[start.layer]}.get(start.kind, y + start.y + start.height)
        y2 = y + box.height if end.kind == "out" else y + end.y
        tip = ""
        if end.kind == "box" and not end.open:
            tip = f' marker-end="url(#{self.page}tip)"'
            # An arrowhead points along the last line, which must have a length.
            arrive = min(arrive, y2 - 6)
        path = f"M{x1:.1f},{y1:.1f} V{leave:.1f} "
        if abs(x1 - x2) > 0.05:
            middle = (leave + arrive) / 2
            path += f"C{x1:.1f},{middle:.1f} {x2:.1f},{middle:.1f} {x2:.1f},{arrive:.1f} "
        return (
            f'<path class="edge" d="{path}V{y2:.1f}" fill="none" stroke="{LIGHT.faint}" '
            f'stroke-width="1.3"{tip}/>'
        )


def _text(kind: str, x: float, y: float, look: str, words: str) -> str:
    """Words of a kind ("text" or "faint"); "halo" after it gives them a rim."""
    colour = LIGHT.text if kind.startswith("text") else LIGHT.faint
    rim = f" {HALO}" if kind.endswith("halo") else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" {look}fill="{colour}"{rim}>{words}</text>'


def _rect(node: Node, x: float, y: float, radius: int) -> str:
    """The beginning of a box: the colours follow."""
    size = f'width="{node.width:.1f}" height="{node.height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} rx="{radius}"'
